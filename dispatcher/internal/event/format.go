// Package event encodes records as the payload that functions receive. It
// goes straight from PlainBuffer's cells to JSON or CBOR, appending to one
// buffer.
//
// The shape is that of Function Compute's native Tablestore trigger
// (Sync-v1); see the package functions, which decodes it.
package event

import (
	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// Format is an encoding of events. Both have the same names in the same
// order, and carry the same values.
type Format uint8

const (
	// JSON writes an integer with all its digits, a double with a point or an
	// exponent (so that 1.0 stays a double), or as {"Double":"NaN"} where JSON
	// has no number for it, a blob as {"Base64":"…"}, and null for no value.
	JSON Format = iota
	// CBOR is RFC 8949 with definite lengths and the shortest heads: an integer
	// is an integer, a double a float of 64 bits, whatever its value, a blob a
	// byte string, and no value null.
	CBOR
)

// FormatOf is the format that a configuration names: json or cbor.
func FormatOf(name string) (f Format, ok bool) {
	switch name {
	case "json":
		return JSON, true
	case "cbor":
		return CBOR, true
	}
	return 0, false
}

// ContentType is the media type of a payload.
func (f Format) ContentType() string {
	if f == CBOR {
		return "application/cbor"
	}
	return "application/json"
}

// Header is what a payload says about its batch.
type Header struct {
	BatchID string
	Attempt int // 1 and up
	Trigger string
	Tunnel  string // the tunnel's id
	Channel string // the channel's id
	Lane    int    // 0 and up
}

// AppendPayload appends the payload of a batch whose records were encoded
// with [Format.AppendRecord], in their order. The records are copied, so that
// the caller can keep them and make the payload of the next attempt, or of
// some of them, from the same bytes and into the same buffer.
func (f Format) AppendPayload(dst []byte, h Header, records [][]byte) []byte {
	if f == CBOR {
		dst = appendListHead(appendHeadCBOR(dst, h), len(records))
		for _, record := range records {
			dst = append(dst, record...)
		}
		return dst
	}
	dst = appendHeadJSON(dst, h)
	for i, record := range records {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, record...)
	}
	return append(dst, tailJSON...)
}

// Overhead is the length in bytes of a payload without records. It grows with
// the digits of the attempt: who cuts batches at a byte limit before the
// attempts are known sets Attempt to math.MaxInt, and BatchID to any text of
// the length of an id. With n records, a payload has Overhead, their bytes,
// and [Format.Joints].
func (f Format) Overhead(h Header) int {
	var space [512]byte
	if f == CBOR {
		return len(appendListHead(appendHeadCBOR(space[:0], h), 0))
	}
	return len(appendHeadJSON(space[:0], h)) + len(tailJSON)
}

// Joints is how many bytes the list of n records has more than its records
// and the empty list: commas in JSON, a longer head in CBOR.
func (f Format) Joints(n int) int {
	if f == CBOR {
		var space [9]byte
		return len(appendListHead(space[:0], n)) - 1
	}
	return max(n-1, 0)
}

// AppendRecord appends one record. origin is the row before the change, nil
// when the tunnel does not carry it: without it there is no OldColumns. id
// names the record; see batch.RecordID.
//
// Info.Timestamp is the sequence's, in microseconds, and 0 for base data. A
// column's Timestamp is its version in milliseconds, 0 when the cell has
// none. A cell that deletes has the Value null, whatever the cell carries.
//
// Text is UTF-8 in both formats: each byte that is not part of it becomes
// U+FFFD. Tablestore's strings are UTF-8, so that this happens only to what a
// client wrote in breach of it.
func (f Format) AppendRecord(dst []byte, action tunnel.Action, row, origin *plainbuffer.Row, id string) []byte {
	if f == CBOR {
		return appendRecordCBOR(dst, action, row, origin, id)
	}
	return appendRecordJSON(dst, action, row, origin, id)
}

// timestamp is the time of a change as events have it.
func timestamp(row *plainbuffer.Row) int64 {
	if row.HasSequence {
		return row.Sequence.Timestamp
	}
	return 0
}

// version is the time of a cell as events have it.
func version(cell *plainbuffer.Cell) int64 {
	if cell.HasTimestamp {
		return cell.Timestamp
	}
	return 0
}

// change is what a cell does to its column, and the value that it does it
// with.
func change(cell *plainbuffer.Cell) (kind string, value plainbuffer.Value) {
	switch cell.Op {
	case plainbuffer.DeleteAllVersions:
		return "DeleteAllVersions", plainbuffer.NoValue()
	case plainbuffer.DeleteOneVersion:
		return "DeleteOneVersion", plainbuffer.NoValue()
	case plainbuffer.Increment:
		// Nobody has seen a tunnel deliver one. If it does, its value is not
		// the column's, so it must not look like a put.
		return "Increment", cell.Value
	}
	return "Put", cell.Value
}
