package plainbuffer

import (
	"encoding/binary"
	"math/bits"
)

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
	if len(p) < 1+prefixSize {
		return 0, 0, false
	}
	n := uint(binary.LittleEndian.Uint32(p[2:]))
	if p[1] != tagName || n > 255 || uint(len(p)) < 1+prefixSize+n+room {
		return 0, 0, false
	}
	name := p[1+prefixSize:]
	v := name[n:]
	head := binary.LittleEndian.Uint64(v) // the value's tag, length and type
	if byte(head) != tagValue {
		return 0, 0, false
	}
	size, typ := uint(uint32(head>>8)), Type(head>>40)

	// The name, up to eight bytes of it at once, and the type.
	var covered residue
	switch w := binary.BigEndian.Uint64(name); {
	case n < 8:
		covered = residue(w>>(64-8*n)<<8 | uint64(typ))
	case n < 15:
		rest := binary.BigEndian.Uint64(name[8:]) >> (64 - 8*(n-8))
		covered = residue(w).part(rest<<8|uint64(typ), int(n-7))
	default:
		covered = residue(0).bytes(name[:n]).octet(byte(typ))
	}

	c.Name = name[:n:n]
	c.Value.typ, c.Value.data, c.Value.bits = typ, nil, 0
	switch typ {
	case Integer, Double:
		if size != 1+8 {
			return 0, 0, false
		}
		c.Value.bits = binary.LittleEndian.Uint64(v[6:])
		covered = covered.littleEndian(c.Value.bits)
	case Boolean:
		if size != 1+1 {
			return 0, 0, false
		}
		if v[6] != 0 {
			c.Value.bits = 1
		}
		covered = covered.octet(v[6])
	case String, Blob:
		length := binary.LittleEndian.Uint32(v[6:])
		if uint64(size) != 1+4+uint64(length) || uint64(len(v)) < uint64(size)+room {
			return 0, 0, false
		}
		c.Value.data = v[10 : 10+length : 10+length]
		covered = covered.part(uint64(bits.ReverseBytes32(length)), 4).bytes(v[10 : 10+length])
	default:
		return 0, 0, false
	}

	t := v[prefixSize+size:]
	c.Op, c.HasTimestamp, c.Timestamp = Put, false, 0
	if len(t) >= 1+8 && t[0] == tagTimestamp {
		ms := binary.LittleEndian.Uint64(t[1:])
		c.HasTimestamp, c.Timestamp = true, int64(ms)
		covered = covered.littleEndian(ms)
		t = t[1+8:]
	}
	if len(t) < 2 || t[0] != tagCellChecksum {
		return 0, 0, false
	}
	return len(b) - len(t) + 2, covered.sum(), true
}
