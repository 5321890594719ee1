// Package event encodes records as the payload that functions receive. It
// goes straight from PlainBuffer's cells to JSON, appending to one buffer.
//
// The shape is that of Function Compute's native Tablestore trigger
// (Sync-v1); see the package functions, which decodes it.
package event

import "strconv"

// Header is what a payload says about its batch.
type Header struct {
	BatchID string
	Attempt int // 1 and up
	Trigger string
	Tunnel  string // the tunnel's id
	Channel string // the channel's id
	Lane    int
}

// ContentType is the media type of a payload.
const ContentType = "application/json"

// AppendPayload appends the payload of a batch whose records were encoded
// with [AppendRecord], in their order. The records are copied, so that the
// caller can keep them and make the payload of the next attempt from the
// same bytes, into the same buffer.
func AppendPayload(dst []byte, h Header, records [][]byte) []byte {
	dst = appendHead(dst, h)
	for i, record := range records {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, record...)
	}
	return append(dst, tail...)
}

// Overhead is the length in bytes of a payload without records. With n
// records it is that, their bytes, and n-1 commas. It grows with the digits
// of the attempt: who cuts batches at a byte limit before the attempts are
// known sets Attempt to math.MaxInt, and BatchID to any text of the length
// of an id.
func Overhead(h Header) int {
	var space [512]byte
	return len(appendHead(space[:0], h)) + len(tail)
}

const tail = `]}`

func appendHead(dst []byte, h Header) []byte {
	dst = append(dst, `{"Version":"Sync-v1","Batch":{"Id":`...)
	dst = appendString(dst, h.BatchID)
	dst = append(dst, `,"Attempt":`...)
	dst = strconv.AppendInt(dst, int64(h.Attempt), 10)
	dst = append(dst, `,"Trigger":`...)
	dst = appendString(dst, h.Trigger)
	dst = append(dst, `,"Tunnel":`...)
	dst = appendString(dst, h.Tunnel)
	dst = append(dst, `,"Channel":`...)
	dst = appendString(dst, h.Channel)
	dst = append(dst, `,"Lane":`...)
	dst = strconv.AppendInt(dst, int64(h.Lane), 10)
	return append(dst, `},"Records":[`...)
}
