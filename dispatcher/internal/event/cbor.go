package event

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// The major types of RFC 8949, in the high three bits of a head.
const (
	unsigned = 0 << 5
	negative = 1 << 5
	blob     = 2 << 5
	text     = 3 << 5
	list     = 4 << 5
	pairs    = 5 << 5
)

// Simple values and the head of a double.
const (
	falseCBOR  = 0xf4
	trueCBOR   = 0xf5
	nullCBOR   = 0xf6
	doubleCBOR = 0xfb
)

// The names below are written with their heads: text, or'ed with the length.

func appendHeadCBOR(dst []byte, h Header) []byte {
	dst = append(dst, pairs|3)
	dst = append(dst, "\x67Version\x67Sync-v1\x65Batch"...)
	dst = append(dst, pairs|6)
	dst = append(dst, "\x62Id"...)
	dst = appendText(dst, h.BatchID)
	dst = append(dst, "\x67Attempt"...)
	dst = appendInteger(dst, int64(h.Attempt))
	dst = append(dst, "\x67Trigger"...)
	dst = appendText(dst, h.Trigger)
	dst = append(dst, "\x66Tunnel"...)
	dst = appendText(dst, h.Tunnel)
	dst = append(dst, "\x67Channel"...)
	dst = appendText(dst, h.Channel)
	dst = append(dst, "\x64Lane"...)
	dst = appendInteger(dst, int64(h.Lane))
	return append(dst, "\x67Records"...)
}

func appendListHead(dst []byte, n int) []byte { return appendHead(dst, list, uint64(n)) }

func appendRecordCBOR(dst []byte, action tunnel.Action, row, origin *plainbuffer.Row, id string) []byte {
	if origin != nil {
		dst = append(dst, pairs|6)
	} else {
		dst = append(dst, pairs|5)
	}
	dst = append(dst, "\x62Id"...)
	dst = appendText(dst, id)
	dst = append(dst, "\x64Type"...)
	dst = appendText(dst, action.String())
	dst = append(dst, "\x64Info"...)
	dst = append(dst, pairs|1)
	dst = append(dst, "\x69Timestamp"...)
	dst = appendInteger(dst, timestamp(row))
	dst = append(dst, "\x6aPrimaryKey"...)
	dst = appendListHead(dst, len(row.Key))
	for i := range row.Key {
		dst = append(dst, pairs|2)
		dst = append(dst, "\x6aColumnName"...)
		dst = appendText(dst, row.Key[i].Name)
		dst = append(dst, "\x65Value"...)
		dst = appendValueCBOR(dst, row.Key[i].Value)
	}
	dst = append(dst, "\x67Columns"...)
	dst = appendColumnsCBOR(dst, row.Columns)
	if origin != nil {
		dst = append(dst, "\x6aOldColumns"...)
		dst = appendColumnsCBOR(dst, origin.Columns)
	}
	return dst
}

func appendColumnsCBOR(dst []byte, cells []plainbuffer.Cell) []byte {
	dst = appendListHead(dst, len(cells))
	for i := range cells {
		cell := &cells[i]
		kind, value := change(cell)
		dst = append(dst, pairs|4)
		dst = append(dst, "\x64Type"...)
		dst = appendText(dst, kind)
		dst = append(dst, "\x6aColumnName"...)
		dst = appendText(dst, cell.Name)
		dst = append(dst, "\x65Value"...)
		dst = appendValueCBOR(dst, value)
		dst = append(dst, "\x69Timestamp"...)
		dst = appendInteger(dst, version(cell))
	}
	return dst
}

func appendValueCBOR(dst []byte, v plainbuffer.Value) []byte {
	switch v.Type() {
	case plainbuffer.Integer:
		return appendInteger(dst, v.Integer())
	case plainbuffer.Double:
		dst = append(dst, doubleCBOR)
		return binary.BigEndian.AppendUint64(dst, math.Float64bits(v.Double()))
	case plainbuffer.Boolean:
		if v.Boolean() {
			return append(dst, trueCBOR)
		}
		return append(dst, falseCBOR)
	case plainbuffer.String:
		return appendText(dst, v.Bytes())
	case plainbuffer.Blob:
		dst = appendHead(dst, blob, uint64(len(v.Bytes())))
		return append(dst, v.Bytes()...)
	}
	return append(dst, nullCBOR)
}

func appendInteger(dst []byte, v int64) []byte {
	if v < 0 {
		return appendHead(dst, negative, uint64(^v)) // -1-v
	}
	return appendHead(dst, unsigned, uint64(v))
}

// appendText writes a text string. Its length comes first, so that text which
// turns out not to be UTF-8 is written anew.
func appendText[T string | []byte](dst []byte, s T) []byte {
	from := len(dst)
	dst = appendHead(dst, text, uint64(len(s)))
	head := len(dst) - from
	dst = append(dst, s...)
	if utf8.Valid(dst[from+head:]) {
		return dst
	}
	length := 0
	for i := 0; i < len(s); {
		r, size := decodeRune(s[i:])
		length += utf8.RuneLen(r) // of U+FFFD, if there is none
		i += size
	}
	dst = appendHead(dst[:from], text, uint64(length))
	for i := 0; i < len(s); {
		r, size := decodeRune(s[i:])
		dst = utf8.AppendRune(dst, r)
		i += size
	}
	return dst
}

// appendHead writes a major type and its argument in the fewest bytes.
func appendHead(dst []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n <= math.MaxUint8:
		return append(dst, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|27), n)
}
