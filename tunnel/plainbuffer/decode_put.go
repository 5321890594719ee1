package plainbuffer

import "encoding/binary"

// room is how many bytes decodePut wants to see behind a length, so that it
// may load what follows without asking again.
const room = 32

// decodePut decodes what nearly every cell is, a value and perhaps a
// timestamp, with as few questions as that allows; decoding spends most of its
// time here. It does what decodeCell does, but begins at the cell's tag. Where
// it says no, the cell is of another kind, near the end of b, or malformed: c
// is then undefined, and decodeCell has to look.
func decodePut(b []byte, i int, c *Cell) (next int, sum byte, ok bool) {
	p := b[i:]
	if len(p) < 8 {
		return 0, 0, false
	}
	head := binary.LittleEndian.Uint64((*[8]byte)(p)[:]) // the tags of cell and name, the name's length
	n := uint(uint32(head >> 16))
	if byte(head>>8) != tagName || n > 255 || uint(len(p)) < 1+prefixSize+n+room {
		return 0, 0, false
	}
	name := p[1+prefixSize:]
	rest := name[n:]
	v := (*[room]byte)(rest)
	value := binary.LittleEndian.Uint64(v[:8]) // the value's tag, length and type
	if byte(value) != tagValue {
		return 0, 0, false
	}
	size, typ := uint(uint32(value>>8)), Type(value>>40)

	var covered residue
	front := (*[16]byte)(name)
	switch w := binary.BigEndian.Uint64(front[:8]); {
	case n <= 8:
		covered = residue{low: w >> (64 - 8*n)}
	case n < 16:
		covered = residue{low: w}.part(binary.BigEndian.Uint64(front[8:])>>(64-8*(n-8)), int(n-8))
	default:
		covered = residue{}.bytes(name[:n])
	}

	c.Name = name[:n:n]
	c.Value.typ = typ
	switch typ {
	case Integer, Double:
		if size != 1+8 {
			return 0, 0, false
		}
		n := binary.LittleEndian.Uint64(v[6:14])
		c.Value.data, c.Value.bits = nil, n
		covered = covered.octet(byte(typ)).littleEndian(n)
	case Boolean:
		if size != 1+1 {
			return 0, 0, false
		}
		c.Value = BooleanValue(v[6] != 0)
		covered = covered.part(uint64(typ)<<8|uint64(v[6]), 2)
	case String, Blob:
		length := binary.LittleEndian.Uint32(v[6:10])
		if uint64(size) != 1+4+uint64(length) || uint64(len(rest)) < uint64(size)+room {
			return 0, 0, false
		}
		end := 5 + size
		c.Value.data, c.Value.bits = rest[10:end:end], 0
		covered = covered.bytes(rest[5:end])
	default:
		return 0, 0, false
	}

	rest = rest[prefixSize+size:]
	if len(rest) < 11 {
		return 0, 0, false
	}
	t := (*[11]byte)(rest)
	end := len(b) - len(rest) + 2
	tag := t[0]
	c.Op, c.HasTimestamp, c.Timestamp = Put, false, 0
	if tag == tagTimestamp {
		ms := binary.LittleEndian.Uint64(t[1:9])
		c.HasTimestamp, c.Timestamp = true, int64(ms)
		covered = covered.littleEndian(ms)
		end += 9
		tag = t[9]
	}
	if tag != tagCellChecksum {
		return 0, 0, false
	}
	return end, covered.fold().sum(), true
}
