package event

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

const tailJSON = `]}`

func appendHeadJSON(dst []byte, h Header) []byte {
	dst = append(dst, `{"Version":"Sync-v1","Batch":{"Id":`...)
	dst = appendStringJSON(dst, h.BatchID)
	dst = append(dst, `,"Attempt":`...)
	dst = strconv.AppendInt(dst, int64(h.Attempt), 10)
	dst = append(dst, `,"Trigger":`...)
	dst = appendStringJSON(dst, h.Trigger)
	dst = append(dst, `,"Tunnel":`...)
	dst = appendStringJSON(dst, h.Tunnel)
	dst = append(dst, `,"Channel":`...)
	dst = appendStringJSON(dst, h.Channel)
	dst = append(dst, `,"Lane":`...)
	dst = strconv.AppendInt(dst, int64(h.Lane), 10)
	return append(dst, `},"Records":[`...)
}

func appendRecordJSON(dst []byte, action tunnel.Action, row, origin *plainbuffer.Row, id string) []byte {
	dst = append(dst, `{"Id":`...)
	dst = appendStringJSON(dst, id)
	dst = append(dst, `,"Type":`...)
	dst = appendStringJSON(dst, action.String())
	dst = append(dst, `,"Info":{"Timestamp":`...)
	dst = strconv.AppendInt(dst, timestamp(row), 10)
	dst = append(dst, `},"PrimaryKey":[`...)
	for i := range row.Key {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"ColumnName":`...)
		dst = appendStringJSON(dst, row.Key[i].Name)
		dst = append(dst, `,"Value":`...)
		dst = appendValueJSON(dst, row.Key[i].Value)
		dst = append(dst, '}')
	}
	dst = append(dst, `],"Columns":`...)
	dst = appendColumnsJSON(dst, row.Columns)
	if origin != nil {
		dst = append(dst, `,"OldColumns":`...)
		dst = appendColumnsJSON(dst, origin.Columns)
	}
	return append(dst, '}')
}

func appendColumnsJSON(dst []byte, cells []plainbuffer.Cell) []byte {
	dst = append(dst, '[')
	for i := range cells {
		cell := &cells[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		kind, value := change(cell)
		dst = append(dst, `{"Type":"`...)
		dst = append(dst, kind...)
		dst = append(dst, `","ColumnName":`...)
		dst = appendStringJSON(dst, cell.Name)
		dst = append(dst, `,"Value":`...)
		dst = appendValueJSON(dst, value)
		dst = append(dst, `,"Timestamp":`...)
		dst = strconv.AppendInt(dst, version(cell), 10)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendValueJSON(dst []byte, v plainbuffer.Value) []byte {
	switch v.Type() {
	case plainbuffer.Integer:
		return strconv.AppendInt(dst, v.Integer(), 10)
	case plainbuffer.Double:
		return appendDoubleJSON(dst, v.Double())
	case plainbuffer.Boolean:
		return strconv.AppendBool(dst, v.Boolean())
	case plainbuffer.String:
		return appendStringJSON(dst, v.Bytes())
	case plainbuffer.Blob:
		dst = append(dst, `{"Base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, v.Bytes())
		return append(dst, `"}`...)
	}
	return append(dst, `null`...)
}

// appendDoubleJSON writes the shortest digits that read back as v.
func appendDoubleJSON(dst []byte, v float64) []byte {
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

func appendStringJSON[T string | []byte](dst []byte, s T) []byte {
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
