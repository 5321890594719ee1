package emulator

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// entry is one record of a log, encoded as ReadRecords and GetStreamRecord
// answer it: their field of records, tag and length included. It begins where
// the entry before ends if that lies in the same chunk, or else at the chunk's
// beginning.
type entry struct {
	timestamp int64  // microseconds since the epoch
	chunk     uint32 // its chunk's number, counted from the log's first
	end       uint32 // where it ends in the chunk
}

// changeLog is a partition's changes, in the order in which they were
// written. Its table's lock guards it. The bytes of what has been written
// never change or move: a reader takes the pieces it wants under the lock and
// reads them without.
type changeLog struct {
	first   int   // number of the first entry that is kept; those before it have expired
	trimmed int64 // the time of the last entry that has expired, microseconds; 0: none has
	entries []entry
	last    plainbuffer.Sequence // of the last entry
	newest  int64                // the latest time of any entry so far

	chunks     [][]byte // full, but for the last one; a chunk's capacity is its size
	firstChunk uint32   // number of the first one that is kept
	begin      uint32   // where the first entry that is kept begins in it

	row, origin []byte // scratch
}

// Chunks double in size, so that a log of a few records takes little and a
// page of a long one is a few pieces.
const (
	minChunkBytes = 4 << 10
	maxChunkBytes = 1 << 20
)

// append adds a record, at the position that its stamp gives it, and sets the
// row's sequence. origin is the row as it was, nil if the record does not carry
// it.
func (l *changeLog) append(action tunnelpb.ActionType, r, origin *plainbuffer.Row, s stamp) {
	l.last = s.position(l.last, l.newest, l.end())
	l.newest = max(l.newest, l.last.Timestamp)
	r.HasSequence, r.Sequence = true, l.last

	l.row, l.origin = plainbuffer.Append(l.row[:0], r), l.origin[:0]
	if s.WrongChecksums {
		spoil(l.row)
	}
	if origin != nil {
		l.origin = plainbuffer.Append(l.origin, origin)
	}
	last := l.room(recordSize(action, l.row, l.origin))
	l.chunks[last] = appendRecord(l.chunks[last], action, l.row, l.origin)
	l.added(last)
}

// room gives the index of the last chunk, which has room for so many bytes.
func (l *changeLog) room(size int) int {
	last := len(l.chunks) - 1
	if last < 0 || cap(l.chunks[last])-len(l.chunks[last]) < size {
		bytes := minChunkBytes
		if last >= 0 {
			bytes = min(maxChunkBytes, 2*cap(l.chunks[last]))
		}
		l.chunks = append(l.chunks, make([]byte, 0, max(bytes, size)))
		last++
	}
	return last
}

// added makes an entry of what has been added to the last chunk.
func (l *changeLog) added(last int) {
	l.entries = append(l.entries, entry{
		timestamp: l.last.Timestamp,
		chunk:     l.firstChunk + uint32(last),
		end:       uint32(len(l.chunks[last])),
	})
}

// spoil makes an encoded row's checksum, its last byte, a wrong one.
func spoil(row []byte) { row[len(row)-1] ^= 0xff }

// end is the number that the next entry will have. Numbers count from 0, and
// an entry keeps its own for good.
func (l *changeLog) end() int { return l.first + len(l.entries) }

// timestamp of an entry that is kept.
func (l *changeLog) timestamp(i int) int64 { return l.entries[i-l.first].timestamp }

// before is the time of the entry before the place at, 0 if there is none.
func (l *changeLog) before(at int) int64 {
	if at <= l.first {
		return l.trimmed
	}
	return l.timestamp(at - 1)
}

// since is the number of the first entry that is not older than t
// (microseconds), the log's end if there is none.
func (l *changeLog) since(t int64) int { return l.seek(l.first, t) }

// seek is since, from the entry from on. Times need not rise.
func (l *changeLog) seek(from int, t int64) int {
	i := slices.IndexFunc(l.entries[from-l.first:], func(e entry) bool { return e.timestamp >= t })
	if i < 0 {
		return l.end()
	}
	return from + i
}

// begins is where an entry that is kept, or the next one, begins, as a chunk's
// index and a place in it.
func (l *changeLog) begins(i int) (chunk int, at uint32) {
	before := entry{chunk: l.firstChunk, end: l.begin}
	if i > l.first {
		before = l.entries[i-l.first-1]
	}
	if i < l.end() {
		if here := l.entries[i-l.first].chunk; here != before.chunk {
			return int(here - l.firstChunk), 0
		}
	}
	return int(before.chunk - l.firstChunk), before.end
}

// upTo says where a page ends that begins at an entry that is kept, and not
// beyond limit. With nothing up to the limit, at need not be kept.
func (l *changeLog) upTo(at, limit int, page pageSize) int {
	if at >= limit {
		return at // the limit may lie before what has expired
	}
	chunk, begin := l.begins(at)
	to, size := at, 0
	for ; to < limit && to-at < page.records && size < page.bytes; to++ {
		e := l.entries[to-l.first]
		if c := int(e.chunk - l.firstChunk); c != chunk {
			chunk, begin = c, 0
		}
		size += int(e.end - begin)
		begin = e.end
	}
	return to
}

// pieces are the bytes of the entries from at to to.
func (l *changeLog) pieces(at, to int) [][]byte {
	if at >= to {
		return nil
	}
	chunk, begin := l.begins(at)
	last := l.entries[to-1-l.first]
	var pieces [][]byte
	for ; chunk < int(last.chunk-l.firstChunk); chunk, begin = chunk+1, 0 {
		if b := l.chunks[chunk][begin:]; len(b) > 0 {
			pieces = append(pieces, b)
		}
	}
	return append(pieces, l.chunks[chunk][begin:last.end:last.end])
}

// trim drops the entries from the first on that are older than t
// (microseconds), and the chunks that they alone were in.
func (l *changeLog) trim(t int64) {
	n := 0
	for n < len(l.entries) && l.entries[n].timestamp < t {
		n++
	}
	l.drop(n)
}

// drop drops the first n entries.
func (l *changeLog) drop(n int) {
	if n == 0 {
		return
	}
	chunk, begin := l.begins(l.first + n)
	l.trimmed = l.entries[n-1].timestamp
	l.first += n
	l.entries = l.entries[n:]
	clear(l.chunks[:chunk])
	l.chunks, l.firstChunk, l.begin = l.chunks[chunk:], l.firstChunk+uint32(chunk), begin
	if len(l.entries) == 0 {
		// A chunk that nothing is left in goes too.
		l.chunks, l.firstChunk, l.begin = nil, l.firstChunk+uint32(len(l.chunks)), 0
		l.entries, l.row, l.origin = nil, nil, nil
	}
}

// Fields of ReadRecordsResponse, GetStreamRecordResponse and Record: see
// tunnel.proto and table.proto. The two answers have their records alike.
const (
	fieldRecords   = 1
	fieldNextToken = 2
	fieldMayMore   = 3
	fieldAction    = 1
	fieldRecord    = 2
	fieldOrigin    = 3
)

// recordSize is how many bytes appendRecord appends.
func recordSize(action tunnelpb.ActionType, row, origin []byte) int {
	return protowire.SizeTag(fieldRecords) + protowire.SizeBytes(contentSize(action, row, origin))
}

func contentSize(action tunnelpb.ActionType, row, origin []byte) int {
	n := protowire.SizeTag(fieldAction) + protowire.SizeVarint(uint64(action)) +
		protowire.SizeTag(fieldRecord) + protowire.SizeBytes(len(row))
	if len(origin) > 0 {
		n += protowire.SizeTag(fieldOrigin) + protowire.SizeBytes(len(origin))
	}
	return n
}

// appendRecord appends a record as a field of ReadRecordsResponse. origin is
// empty if it carries none.
func appendRecord(dst []byte, action tunnelpb.ActionType, row, origin []byte) []byte {
	dst = protowire.AppendTag(dst, fieldRecords, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(contentSize(action, row, origin)))
	dst = protowire.AppendTag(dst, fieldAction, protowire.VarintType)
	dst = protowire.AppendVarint(dst, uint64(action))
	dst = protowire.AppendTag(dst, fieldRecord, protowire.BytesType)
	dst = protowire.AppendBytes(dst, row)
	if len(origin) > 0 {
		dst = protowire.AppendTag(dst, fieldOrigin, protowire.BytesType)
		dst = protowire.AppendBytes(dst, origin)
	}
	return dst
}

// appendPageEnd appends what follows the records in an answer to ReadRecords.
func appendPageEnd(dst []byte, next string, more bool) []byte {
	dst = protowire.AppendTag(dst, fieldNextToken, protowire.BytesType)
	dst = protowire.AppendString(dst, next)
	dst = protowire.AppendTag(dst, fieldMayMore, protowire.VarintType)
	return protowire.AppendVarint(dst, protowire.EncodeBool(more))
}
