package event

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// appendValue writes an integer with all its digits, a double with a point
// or an exponent (so that 1.0 stays a double), or as {"Double":"NaN"} where
// JSON has no number for it, a blob as {"Base64":"…"}, and null for anything
// without a value.
func appendValue(dst []byte, v plainbuffer.Value) []byte {
	switch v.Type() {
	case plainbuffer.Integer:
		return strconv.AppendInt(dst, v.Integer(), 10)
	case plainbuffer.Double:
		return appendDouble(dst, v.Double())
	case plainbuffer.Boolean:
		return strconv.AppendBool(dst, v.Boolean())
	case plainbuffer.String:
		return appendString(dst, v.Bytes())
	case plainbuffer.Blob:
		dst = append(dst, `{"Base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, v.Bytes())
		return append(dst, `"}`...)
	}
	return append(dst, `null`...)
}

// appendDouble writes the shortest digits that read back as v.
func appendDouble(dst []byte, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, `{"Double":"NaN"}`...)
	case math.IsInf(v, 1):
		return append(dst, `{"Double":"Infinity"}`...)
	case math.IsInf(v, -1):
		return append(dst, `{"Double":"-Infinity"}`...)
	}
	if size := math.Abs(v); size != 0 && (size < 1e-6 || size >= 1e21) {
		return strconv.AppendFloat(dst, v, 'e', -1, 64)
	}
	from := len(dst)
	dst = strconv.AppendFloat(dst, v, 'f', -1, 64)
	if bytes.IndexByte(dst[from:], '.') < 0 {
		dst = append(dst, '.', '0')
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string. JSON must be UTF-8: each byte that is
// not part of it becomes U+FFFD. Tablestore's strings are UTF-8, so that this
// happens only to what a client wrote in breach of it.
func appendString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	plain := 0 // s[plain:i] needs no escape and is not yet copied
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			if r, size := decodeRune(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		} else if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[plain:i]...)
		i++
		plain = i
		switch {
		case c >= utf8.RuneSelf:
			dst = append(dst, "\uFFFD"...)
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xF])
		}
	}
	dst = append(dst, s[plain:]...)
	return append(dst, '"')
}

// decodeRune decodes the first rune of s. The conversion is of four bytes at
// most, which stay on the stack.
func decodeRune[T string | []byte](s T) (rune, int) {
	return utf8.DecodeRuneInString(string(s[:min(len(s), utf8.UTFMax)]))
}
