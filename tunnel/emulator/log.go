package emulator

import (
	"encoding/binary"
	"sort"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// entry is one record of a log, encoded as ReadRecords answers it: a field
// "records" of the answer, tag and length included. Reading is joining
// entries.
type entry struct {
	data      []byte
	timestamp int64 // microseconds since the epoch
}

// changeLog is a partition's changes, in the order in which they were
// written. Its table's lock guards it. What has been written never changes
// or moves: a reader takes the entries it wants under the lock and reads them
// without.
type changeLog struct {
	first   int // number of the first entry that is kept; those before it have expired
	entries []entry
	last    plainbuffer.Sequence // of the last entry
	chunk   []byte               // the free rest of the buffer that entries are written to
	scratch []byte
}

const chunkBytes = 256 << 10

// append adds a record at now (microseconds), or at the time of the record
// before it if that is later. Positions rise and no two are equal. It sets
// the row's sequence.
func (l *changeLog) append(action tunnelpb.ActionType, r *plainbuffer.Row, now int64) {
	if len(l.entries) > 0 && now <= l.last.Timestamp {
		l.last.RowIndex++
	} else {
		l.last = plainbuffer.Sequence{Timestamp: now}
	}
	r.HasSequence, r.Sequence = true, l.last

	l.scratch = appendRecord(l.scratch[:0], action, r)
	n := len(l.scratch)
	if n > len(l.chunk) {
		l.chunk = make([]byte, max(chunkBytes, n))
	}
	copy(l.chunk, l.scratch)
	l.entries = append(l.entries, entry{data: l.chunk[:n:n], timestamp: l.last.Timestamp})
	l.chunk = l.chunk[n:]
}

// end is the number that the next entry will have. Numbers count from 0, and
// an entry keeps its own for good.
func (l *changeLog) end() int { return l.first + len(l.entries) }

// from gives the entries from the number at on, which is one of first to end.
func (l *changeLog) from(at int) []entry { return l.entries[at-l.first:] }

// before is the time of the entry before the place at, 0 if there is none.
func (l *changeLog) before(at int) int64 {
	if at == l.first {
		return 0
	}
	return l.entries[at-l.first-1].timestamp
}

// since is the number of the first entry that is not older than t
// (microseconds).
func (l *changeLog) since(t int64) int {
	return l.first + sort.Search(len(l.entries), func(i int) bool { return l.entries[i].timestamp >= t })
}

// Fields of ReadRecordsResponse and of Record: see tunnel.proto.
const (
	fieldRecords   = 1
	fieldNextToken = 2
	fieldMayMore   = 3
	fieldAction    = 1
	fieldRecord    = 2
)

// appendRecord appends a record as a field of ReadRecordsResponse.
func appendRecord(dst []byte, action tunnelpb.ActionType, r *plainbuffer.Row) []byte {
	// The row's length is in front of it twice, as a varint: leave room for
	// the longest head, then move the head up against the row.
	const room = 1 + binary.MaxVarintLen32 + 2 + 1 + binary.MaxVarintLen32
	start := len(dst)
	dst = append(dst, make([]byte, room)...)
	dst = plainbuffer.Append(dst, r)
	size := len(dst) - start - room

	var buffer [room]byte
	record := protowire.AppendTag(buffer[:0], fieldAction, protowire.VarintType)
	record = protowire.AppendVarint(record, uint64(action))
	record = protowire.AppendTag(record, fieldRecord, protowire.BytesType)
	record = protowire.AppendVarint(record, uint64(size))

	head := protowire.AppendTag(dst[start:start], fieldRecords, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(record)+size))
	head = append(head, record...)
	copy(dst[start+len(head):], dst[start+room:])
	return dst[:start+len(head)+size]
}

// appendPageEnd appends what follows the records in an answer to ReadRecords.
func appendPageEnd(dst []byte, next string, more bool) []byte {
	dst = protowire.AppendTag(dst, fieldNextToken, protowire.BytesType)
	dst = protowire.AppendString(dst, next)
	dst = protowire.AppendTag(dst, fieldMayMore, protowire.VarintType)
	return protowire.AppendVarint(dst, protowire.EncodeBool(more))
}
