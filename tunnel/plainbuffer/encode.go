package plainbuffer

import (
	"encoding/binary"
	"math"
)

// Append appends a buffer that holds r alone: the header and the row.
//
// What Append, [AppendHeader] and [AppendRow] write, decoding gives back:
// fields that are said not to count (a Timestamp without HasTimestamp, a
// Sequence without HasSequence) are left out, and so are the operations and
// timestamps of key cells. A cell that the format cannot carry has no
// encoding: a type or operation that is none of this package's, a key cell
// without a value, a name, string or blob of 2 GiB or more. In its place
// stands a byte that every reader refuses, so that the mistake shows as
// [ErrMalformed] and never as another row. The limits of the service, such as
// 255 bytes for a name, are the service's to enforce.
func Append(dst []byte, r *Row) []byte {
	return AppendRow(AppendHeader(dst), r)
}

// AppendHeader begins a buffer of rows, which [AppendRow] continues.
func AppendHeader(dst []byte) []byte {
	return binary.LittleEndian.AppendUint32(dst, header)
}

// AppendRow appends r without a header. See [Append].
func AppendRow(dst []byte, r *Row) []byte {
	var sum byte
	dst = append(dst, tagKey)
	for i := range r.Key {
		c := Cell{Name: r.Key[i].Name, Value: r.Key[i].Value}
		if c.Value.typ == None {
			dst = append(dst, unencodable)
			continue
		}
		dst, sum = appendCell(dst, &c, sum)
	}
	if len(r.Columns) > 0 {
		dst = append(dst, tagData)
		for i := range r.Columns {
			dst, sum = appendCell(dst, &r.Columns[i], sum)
		}
	}
	if r.Deleted {
		dst = append(dst, tagDeleteMarker)
	}
	if r.HasSequence {
		dst = appendExtension(dst, &r.Sequence)
	}
	return append(dst, tagRowChecksum, checksumByte(sum, marker(r.Deleted)))
}

// unencodable is no tag.
const unencodable = 0x00

// appendCell appends c and adds its checksum to the row's.
func appendCell(dst []byte, c *Cell, rowSum byte) ([]byte, byte) {
	if !c.encodable() {
		return append(dst, unencodable), rowSum
	}
	dst = append(dst, tagCell, tagName)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(c.Name)))
	dst = append(dst, c.Name...)
	covered := residue{}.bytes(dst[len(dst)-len(c.Name):])

	if c.Value.typ != None {
		dst = append(dst, tagValue, 0, 0, 0, 0)
		start := len(dst)
		dst = appendValue(dst, c.Value)
		binary.LittleEndian.PutUint32(dst[start-4:], uint32(len(dst)-start))
		covered = covered.bytes(dst[start:])
	}
	if c.Op != Put {
		dst = append(dst, tagOp, byte(c.Op))
	}
	if c.HasTimestamp {
		dst = append(dst, tagTimestamp)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(c.Timestamp))
		covered = covered.littleEndian(uint64(c.Timestamp))
	}
	if c.Op != Put {
		covered = covered.octet(byte(c.Op))
	}
	sum := covered.fold().sum()
	return append(dst, tagCellChecksum, sum), checksumByte(rowSum, sum)
}

// encodable says whether the format has a form for c.
func (c *Cell) encodable() bool {
	// The official readers take lengths as signed; a value's is 5 more than
	// its content's.
	const longest = math.MaxInt32 - 5
	switch c.Op {
	case Put, DeleteAllVersions, DeleteOneVersion, Increment:
	default:
		return false
	}
	switch c.Value.typ {
	case Integer, Double, Boolean, String, Blob, InfMin, InfMax, AutoIncrement, None:
	default:
		return false
	}
	return len(c.Name) <= longest && len(c.Value.data) <= longest
}

// AppendValue appends v alone, as [DecodeValue] takes it. A value of type None
// has no form: what stands in its place is refused by every reader.
func AppendValue(dst []byte, v Value) []byte { return appendValue(dst, v) }

func appendValue(dst []byte, v Value) []byte {
	dst = append(dst, byte(v.typ))
	switch v.typ {
	case Integer, Double:
		dst = binary.LittleEndian.AppendUint64(dst, v.bits)
	case Boolean:
		dst = append(dst, byte(v.bits))
	case String, Blob:
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(v.data)))
		dst = append(dst, v.data...)
	}
	return dst
}

func appendExtension(dst []byte, s *Sequence) []byte {
	dst = append(dst, tagExtension)
	dst = binary.LittleEndian.AppendUint32(dst, prefixSize+sequenceSize)
	dst = append(dst, tagSequence)
	dst = binary.LittleEndian.AppendUint32(dst, sequenceSize)
	dst = append(dst, tagEpoch)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(s.Epoch))
	dst = append(dst, tagSequenceTime)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.Timestamp))
	dst = append(dst, tagRowIndex)
	return binary.LittleEndian.AppendUint32(dst, uint32(s.RowIndex))
}
