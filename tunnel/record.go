package tunnel

import (
	"fmt"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// Action says what happened to a row. The numbers are the service's.
type Action uint8

const (
	PutRow    Action = 1
	UpdateRow Action = 2
	DeleteRow Action = 3
)

// String is the action's name as events write it: PutRow, UpdateRow,
// DeleteRow.
func (a Action) String() string {
	switch a {
	case PutRow:
		return "PutRow"
	case UpdateRow:
		return "UpdateRow"
	case DeleteRow:
		return "DeleteRow"
	}
	return fmt.Sprintf("Action(%d)", uint8(a))
}

// Record is one change as the tunnel delivers it, still encoded. Row and
// Origin alias the page's buffer.
type Record struct {
	Action Action
	Row    []byte // PlainBuffer
	Origin []byte // PlainBuffer of the row before the change; nil when the tunnel does not carry it
}

// Decode decodes the row into row, which it may have been decoded into
// before. On [plainbuffer.ErrChecksum] the row is complete and usable: the
// bytes are well-formed and only a checksum differs.
func (r Record) Decode(row *plainbuffer.Row) error { return row.Decode(r.Row) }

// Finished is the token of a channel that has been read to its end.
const Finished = "finished"

// Page is what one ReadRecords call brought. Its records alias one buffer,
// which lives as long as any of them is referenced.
type Page struct {
	Records   []Record
	NextToken string // Finished at the channel's end
	More      bool   // the service's hint that the next read will be full too
	Size      int    // bytes of the response body
}
