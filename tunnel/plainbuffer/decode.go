package plainbuffer

import (
	"cmp"
	"encoding/binary"
)

// Decode decodes a buffer that holds exactly one row. It overwrites all of r,
// reuses r's slices, and lets r alias b.
//
// Errors are of type *[Error]. On [ErrChecksum] r is complete and usable, and
// the error names the first checksum that differs; on any other error r is
// empty.
func (r *Row) Decode(b []byte) error {
	i, err := decodeHeader(b)
	if err != nil {
		r.reset()
		return err
	}
	i, err = r.decode(b, i)
	if i < len(b) && !err.fatal() {
		err = malformed(i, "%d bytes after the row", len(b)-i)
	}
	if err.fatal() {
		r.reset()
	}
	if err != nil {
		return err
	}
	return nil
}

// DecodeValue decodes a value that stands alone, from its type to its end,
// with no length in front, as filters hold it. The value aliases b. Errors are
// of type *[Error].
func DecodeValue(b []byte) (Value, error) {
	var v Value
	if _, err := v.decode(b, 0, residue{}); err != nil {
		return Value{}, err
	}
	return v, nil
}

// Decoder decodes a buffer of any number of rows, as GetRange answers with.
type Decoder struct {
	b   []byte
	i   int
	err *Error
}

// NewDecoder makes a decoder of b. An empty b holds no rows; any other begins
// with the header.
func NewDecoder(b []byte) Decoder { return Decoder{b: b} }

// Next decodes the next row as [Row.Decode] would. It says whether there was
// one: true with [ErrChecksum] too, after which Next may go on. Any other
// error ends the decoding and is returned again from then on.
func (d *Decoder) Next(r *Row) (bool, error) {
	if d.i == 0 && d.err == nil && len(d.b) > 0 {
		d.i, d.err = decodeHeader(d.b)
	}
	if d.err != nil {
		r.reset()
		return false, d.err
	}
	if d.i == len(d.b) {
		r.reset()
		return false, nil
	}
	i, err := r.decode(d.b, d.i)
	if err.fatal() {
		d.err = err
		r.reset()
		return false, err
	}
	d.i = i
	if err != nil {
		return true, err
	}
	return true, nil
}

func (r *Row) reset() {
	r.Key = r.Key[:0]
	r.Columns = r.Columns[:0]
	r.Sequence = Sequence{}
	r.HasSequence = false
	r.Deleted = false
	r.KeyBytes = nil
}

func decodeHeader(b []byte) (int, *Error) {
	if len(b) < headerSize {
		return 0, truncated(len(b), "the header")
	}
	if h := binary.LittleEndian.Uint32(b); h != header {
		return 0, malformed(0, "the header is %#x, not %#x", h, header)
	}
	return headerSize, nil
}

// decode decodes the row at b[i:] and gives the offset behind it, also with
// an ErrChecksum.
func (r *Row) decode(b []byte, i int) (int, *Error) {
	r.reset()
	b = b[:len(b):len(b)] // checksums may read behind what they cover
	if i >= len(b) {
		return i, truncated(i, "a row")
	}
	if b[i] != tagKey {
		return i, malformed(i, "tag %#x where a row begins", b[i])
	}
	start := i + 1
	var sum byte
	var differs, err *Error
	r.Key, i, sum, differs = decodeCells(b, start, r.Key, 0)
	if differs.fatal() {
		return i, differs
	}
	r.KeyBytes = b[start:i:i]
	for k := range r.Key {
		if c := &r.Key[k]; c.Op != Put || c.HasTimestamp || c.Value.typ == None {
			return i, malformed(start, "key column %d has no value, or has an operation or a timestamp", k)
		}
	}

	if i < len(b) && b[i] == tagData {
		r.Columns, i, sum, err = decodeCells(b, i+1, r.Columns, sum)
		if err.fatal() {
			return i, err
		}
		differs = cmp.Or(differs, err)
	}
	if i < len(b) && b[i] == tagDeleteMarker {
		r.Deleted = true
		i++
	}
	if i < len(b) && b[i] == tagExtension {
		if i, err = r.decodeExtension(b, i); err != nil {
			return i, err
		}
	}

	if i < len(b) && b[i] != tagRowChecksum {
		return i, malformed(i, "tag %#x inside a row", b[i])
	}
	if len(b)-i < 2 {
		return i, truncated(len(b), "a row")
	}
	sum = checksumByte(sum, marker(r.Deleted))
	if sum != b[i+1] {
		differs = cmp.Or(differs, mismatch(i+1, "row", b[i+1], sum))
	}
	return i + 2, differs
}

// marker is what a row's checksum covers for the delete marker.
func marker(deleted bool) byte {
	if deleted {
		return 1
	}
	return 0
}

// decodeCells decodes the cells at b[i:] into cells, whose content it
// overwrites, and continues the row's checksum over theirs. It gives the
// offset behind the last one, also with an ErrChecksum.
func decodeCells(b []byte, i int, cells []Cell, sum byte) (_ []Cell, next int, _ byte, _ *Error) {
	var differs *Error
	cells = cells[:0]
	for i < len(b) && b[i] == tagCell {
		if len(cells) < cap(cells) {
			cells = cells[:len(cells)+1]
		} else {
			cells = append(cells, Cell{})
		}
		c := &cells[len(cells)-1]
		next, cellSum, ok := decodePut(b, i, c)
		if !ok {
			var err *Error
			if next, cellSum, err = decodeCell(b, i+1, c); err != nil {
				return cells, next, sum, err
			}
		}
		if stored := b[next-1]; stored != cellSum && differs == nil {
			differs = mismatch(next-1, "cell", stored, cellSum)
		}
		sum = checksumByte(sum, cellSum)
		i = next
	}
	return cells, i, sum, differs
}

// decodeCell decodes the cell whose content begins at b[i] into c, all of
// which it overwrites. It gives the offset behind the cell and the checksum of
// its content; the one stored is the cell's last byte.
func decodeCell(b []byte, i int, c *Cell) (next int, sum byte, _ *Error) {
	if i < len(b) && b[i] != tagName {
		return i, 0, malformed(i, "tag %#x where a cell's name begins", b[i])
	}
	if len(b)-i < prefixSize {
		return i, 0, truncated(len(b), "a cell's name")
	}
	n := int(binary.LittleEndian.Uint32(b[i+1:]))
	i += prefixSize
	if !holds(b, i, n) {
		return i, 0, truncated(i, "a cell's name")
	}
	c.Name = b[i : i+n : i+n]
	covered := residue{}.bytes(b[i : i+n])
	i += n

	if b[i] == tagValue {
		if len(b)-i < prefixSize {
			return i, 0, truncated(len(b), "a cell's value")
		}
		n := int(binary.LittleEndian.Uint32(b[i+1:]))
		i += prefixSize
		if !holds(b, i, n) {
			return i, 0, truncated(i, "a cell's value")
		}
		var err *Error
		if covered, err = c.Value.decode(b[i:i+n], i, covered); err != nil {
			return i, 0, err
		}
		i += n
	} else {
		c.Value = Value{typ: None}
	}

	c.Op = Put
	if b[i] == tagOp {
		c.Op = Op(b[i+1])
		if c.Op != DeleteAllVersions && c.Op != DeleteOneVersion && c.Op != Increment {
			return i, 0, malformed(i+1, "unknown cell type %#x", byte(c.Op))
		}
		i += 2
		if len(b)-i < 2 {
			return i, 0, truncated(len(b), "a cell")
		}
	}

	c.HasTimestamp = b[i] == tagTimestamp
	c.Timestamp = 0
	if c.HasTimestamp {
		if len(b)-i < 1+8+2 {
			return i, 0, truncated(len(b), "a cell's timestamp")
		}
		ms := binary.LittleEndian.Uint64(b[i+1:])
		c.Timestamp = int64(ms)
		covered = covered.littleEndian(ms)
		i += 1 + 8
	}
	if c.Op != Put {
		covered = covered.octet(byte(c.Op))
	}

	if b[i] != tagCellChecksum {
		return i, 0, malformed(i, "tag %#x inside a cell", b[i])
	}
	return i + 2, covered.fold().sum(), nil
}

// holds says whether n bytes are at b[i:], and behind them the two that no
// cell can do without. A length that a 32-bit machine takes for negative is
// too long as well.
func holds(b []byte, i, n int) bool {
	return uint(n) <= uint(len(b)-i) && len(b)-i-n >= 2
}

// decode decodes b, a value from its type to its end, which stands at offset,
// into all of v, and continues covered over it.
func (v *Value) decode(b []byte, offset int, covered residue) (residue, *Error) {
	if len(b) == 0 {
		return residue{}, malformed(offset, "a value without a type")
	}
	switch t := Type(b[0]); t {
	case Integer, Double:
		if len(b) != 1+8 {
			return residue{}, misfit(offset, b)
		}
		n := binary.LittleEndian.Uint64(b[1:])
		v.data, v.bits, v.typ = nil, n, t
		return covered.octet(byte(t)).littleEndian(n), nil
	case String, Blob:
		if len(b) < 1+4 || int(binary.LittleEndian.Uint32(b[1:])) != len(b)-1-4 {
			return residue{}, misfit(offset, b)
		}
		v.data, v.bits, v.typ = b[1+4:len(b):len(b)], 0, t
	case Boolean:
		if len(b) != 1+1 {
			return residue{}, misfit(offset, b)
		}
		*v = BooleanValue(b[1] != 0)
	case InfMin, InfMax, AutoIncrement:
		if len(b) != 1 {
			return residue{}, misfit(offset, b)
		}
		*v = Value{typ: t}
	default:
		return residue{}, malformed(offset, "unknown value type %#x", byte(t))
	}
	return covered.bytes(b), nil
}

func misfit(offset int, value []byte) *Error {
	return malformed(offset, "%d bytes do not fit a value of type %#x", len(value)-1, value[0])
}

// decodeExtension decodes the extension at b[i:], skips the entries that it
// does not know, and gives the offset behind it.
func (r *Row) decodeExtension(b []byte, i int) (int, *Error) {
	if len(b)-i < prefixSize {
		return i, truncated(len(b), "an extension")
	}
	n := int(binary.LittleEndian.Uint32(b[i+1:]))
	i += prefixSize
	if uint(n) > uint(len(b)-i) {
		return i, truncated(i, "an extension")
	}
	end := i + n
	for i < end {
		if end-i < prefixSize {
			return i, malformed(i, "an extension's entry in %d bytes", end-i)
		}
		tag := b[i]
		n := int(binary.LittleEndian.Uint32(b[i+1:]))
		i += prefixSize
		if uint(n) > uint(end-i) {
			return i, malformed(i, "an entry that is longer than its extension")
		}
		if tag == tagSequence {
			s := b[i : i+n]
			if n < sequenceSize || s[0] != tagEpoch || s[5] != tagSequenceTime || s[14] != tagRowIndex {
				return i, malformed(i, "a sequence that is not epoch, timestamp, row index")
			}
			r.HasSequence = true
			r.Sequence = Sequence{
				Epoch:     int32(binary.LittleEndian.Uint32(s[1:])),
				Timestamp: int64(binary.LittleEndian.Uint64(s[6:])),
				RowIndex:  int32(binary.LittleEndian.Uint32(s[15:])),
			}
		}
		i += n
	}
	return end, nil
}
