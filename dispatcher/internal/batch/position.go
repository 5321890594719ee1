// Package batch names records and batches, and says which lane a record
// belongs to. Everything here is a fixed function of what the tunnel
// delivered: another process, or the same one after a restart, that is given
// the same records computes the same names.
package batch

import (
	"encoding/base64"
	"strconv"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// Position says where a record stands in its channel's log, as text: for a
// stream record `%08x:%016x:%08x` of epoch, timestamp and row index, as the
// official SDK writes it (negative numbers in two's complement); for base
// data the unpadded URL base64 of the encoded primary key. No text is the
// position of both, since base64 has no colon. Positions are only ever
// compared for equality.
func Position(row *plainbuffer.Row) string {
	if !row.HasSequence {
		return base64.RawURLEncoding.EncodeToString(row.KeyBytes)
	}
	var text [8 + 1 + 16 + 1 + 8]byte
	return string(AppendSequence(text[:0], row.Sequence))
}

// AppendSequence appends the position of a stream record.
func AppendSequence(dst []byte, s plainbuffer.Sequence) []byte {
	dst = AppendHex(dst, uint64(uint32(s.Epoch)), 8)
	dst = append(dst, ':')
	dst = AppendHex(dst, uint64(s.Timestamp), 16)
	dst = append(dst, ':')
	return AppendHex(dst, uint64(uint32(s.RowIndex)), 8)
}

// AppendHex appends v in lower-case hexadecimal, padded with zeros to digits.
func AppendHex(dst []byte, v uint64, digits int) []byte {
	var text [16]byte
	significant := strconv.AppendUint(text[:0], v, 16)
	for range digits - len(significant) {
		dst = append(dst, '0')
	}
	return append(dst, significant...)
}

// RecordID names a record to handlers: its position if it comes from the
// stream, else `base:` and the 16 hexadecimal digits of its fingerprint.
func RecordID(row *plainbuffer.Row, fingerprint uint64) string {
	if row.HasSequence {
		return Position(row)
	}
	var text [5 + 16]byte
	return string(AppendHex(append(text[:0], "base:"...), fingerprint, 16))
}
