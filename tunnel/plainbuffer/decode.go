package plainbuffer

import "encoding/binary"

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
	if i < len(b) && (err == nil || err.Kind == ErrChecksum) {
		err = malformed(i, "%d bytes after the row", len(b)-i)
	}
	if err == nil {
		return nil
	}
	if err.Kind != ErrChecksum {
		r.reset()
	}
	return err
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
	switch {
	case err == nil:
		d.i = i
		return true, nil
	case err.Kind == ErrChecksum:
		d.i = i
		return true, err
	}
	d.err = err
	r.reset()
	return false, err
}

func (r *Row) reset() {
	*r = Row{Key: r.Key[:0], Columns: r.Columns[:0]}
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
	if i >= len(b) {
		return i, truncated(i, "a row")
	}
	if b[i] != tagKey {
		return i, malformed(i, "tag %#x where a row begins", b[i])
	}
	i++

	var sum byte       // of the row
	var differs *Error // the first checksum that does
	start := i
	for i < len(b) && b[i] == tagCell {
		r.Key = grow(r.Key)
		next, err := decodeCell(b, i+1, &r.Key[len(r.Key)-1], &sum, &differs)
		if err != nil {
			return i, err
		}
		if c := &r.Key[len(r.Key)-1]; c.Op != Put || c.HasTimestamp || c.Value.typ == None {
			return i, malformed(i, "a key cell without a value, or with an operation or a timestamp")
		}
		i = next
	}
	r.KeyBytes = b[start:i:i]

	if i < len(b) && b[i] == tagData {
		i++
		for i < len(b) && b[i] == tagCell {
			r.Columns = grow(r.Columns)
			next, err := decodeCell(b, i+1, &r.Columns[len(r.Columns)-1], &sum, &differs)
			if err != nil {
				return i, err
			}
			i = next
		}
	}

	if i < len(b) && b[i] == tagDeleteMarker {
		r.Deleted = true
		i++
	}
	if i < len(b) && b[i] == tagExtension {
		next, err := r.decodeExtension(b, i)
		if err != nil {
			return i, err
		}
		i = next
	}

	if i < len(b) && b[i] != tagRowChecksum {
		return i, malformed(i, "tag %#x inside a row", b[i])
	}
	if len(b)-i < 2 {
		return i, truncated(len(b), "a row")
	}
	sum = checksumByte(sum, marker(r.Deleted))
	if sum != b[i+1] && differs == nil {
		differs = mismatch(i+1, "row", b[i+1], sum)
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

// grow makes room for one more cell, whose content is what an earlier row
// left there.
func grow(cells []Cell) []Cell {
	if len(cells) < cap(cells) {
		return cells[:len(cells)+1]
	}
	return append(cells, Cell{})
}

// decodeCell decodes the cell whose content begins at b[i] into c, all of it,
// adds its checksum to the row's, and gives the offset behind it.
func decodeCell(b []byte, i int, c *Cell, rowSum *byte, differs **Error) (int, *Error) {
	if i < len(b) && b[i] != tagName {
		return i, malformed(i, "tag %#x where a cell's name begins", b[i])
	}
	if len(b)-i < prefixSize {
		return i, truncated(len(b), "a cell's name")
	}
	n := int(binary.LittleEndian.Uint32(b[i+1:]))
	i += prefixSize
	// As unsigned numbers: on 32-bit machines n may have become negative.
	// The name is followed by a tag and a byte at least.
	if uint(n) > uint(len(b)-i) || len(b)-i-n < 2 {
		return i, truncated(i, "a cell's name")
	}
	c.Name = b[i : i+n : i+n]
	sum := checksum(0, c.Name)
	i += n

	c.Value = Value{typ: None}
	if b[i] == tagValue {
		if len(b)-i < prefixSize {
			return i, truncated(len(b), "a cell's value")
		}
		n := int(binary.LittleEndian.Uint32(b[i+1:]))
		i += prefixSize
		if uint(n) > uint(len(b)-i) || len(b)-i-n < 2 {
			return i, truncated(i, "a cell's value")
		}
		v := b[i : i+n : i+n]
		if err := decodeValue(v, i, &c.Value); err != nil {
			return i, err
		}
		sum = checksum(sum, v)
		i += n
	}

	c.Op = Put
	if b[i] == tagOp {
		c.Op = Op(b[i+1])
		if c.Op != DeleteAllVersions && c.Op != DeleteOneVersion && c.Op != Increment {
			return i, malformed(i+1, "unknown cell type %#x", byte(c.Op))
		}
		i += 2
		if len(b)-i < 2 {
			return i, truncated(len(b), "a cell")
		}
	}

	c.HasTimestamp = b[i] == tagTimestamp
	c.Timestamp = 0
	if c.HasTimestamp {
		if len(b)-i < 1+8+2 {
			return i, truncated(len(b), "a cell's timestamp")
		}
		c.Timestamp = int64(binary.LittleEndian.Uint64(b[i+1:]))
		sum = checksum(sum, b[i+1:i+1+8])
		i += 1 + 8
	}
	if c.Op != Put {
		sum = checksumByte(sum, byte(c.Op))
	}

	if b[i] != tagCellChecksum {
		return i, malformed(i, "tag %#x inside a cell", b[i])
	}
	if sum != b[i+1] && *differs == nil {
		*differs = mismatch(i+1, "cell", b[i+1], sum)
	}
	*rowSum = checksumByte(*rowSum, sum)
	return i + 2, nil
}

// decodeValue decodes b, which is a value from its type to its end and stands
// at offset, into v.
func decodeValue(b []byte, offset int, v *Value) *Error {
	if len(b) == 0 {
		return malformed(offset, "a value without a type")
	}
	t := Type(b[0])
	switch t {
	case Integer, Double:
		if len(b) != 1+8 {
			return malformed(offset, "a value of type %#x in %d bytes", byte(t), len(b))
		}
		*v = Value{typ: t, bits: binary.LittleEndian.Uint64(b[1:])}
	case String, Blob:
		if len(b) < 1+4 || uint64(binary.LittleEndian.Uint32(b[1:])) != uint64(len(b)-1-4) {
			return malformed(offset, "a value of type %#x whose lengths disagree", byte(t))
		}
		*v = Value{typ: t, data: b[1+4:]}
	case Boolean:
		if len(b) != 1+1 {
			return malformed(offset, "a boolean in %d bytes", len(b))
		}
		*v = BooleanValue(b[1] != 0)
	case InfMin, InfMax, AutoIncrement:
		if len(b) != 1 {
			return malformed(offset, "a value of type %#x in %d bytes", byte(t), len(b))
		}
		*v = Value{typ: t}
	default:
		return malformed(offset, "unknown value type %#x", byte(t))
	}
	return nil
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
