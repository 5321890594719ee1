package plainbuffer

import (
	"encoding/binary"
	"math/bits"
)

// The format's checksum is CRC-8 with the polynomial P = x⁸+x²+x+1 (0x07),
// most significant bit first, starting from 0, with no final XOR: the bytes
// that it covers, read as one polynomial over GF(2), times x⁸, modulo P.
//
// P divides x¹²⁷+1, so x¹²⁸ ≡ x: to move a polynomial up by 128 bits is to
// move it up by one. And x⁶⁴ ≡ x⁴+x+1, x³² ≡ x⁴+x²+x, x¹⁶ ≡ x⁴+x²+1. Eight
// bytes thus cost a few instructions, where the usual table costs eight
// look-ups, each waiting for the one before.

// residue is what has been covered so far, reduced modulo P far enough to fit
// into 128 bits.
type residue struct{ high, low uint64 }

// word continues r over eight bytes, the first in the highest bits.
func (r residue) word(w uint64) residue {
	return residue{high: r.low ^ r.high>>63, low: r.high<<1 ^ w}
}

// littleEndian continues r over the eight bytes of v, lowest first.
func (r residue) littleEndian(v uint64) residue { return r.word(bits.ReverseBytes64(v)) }

// part continues r over 1 to 7 bytes, the n lowest of w; the others are 0.
func (r residue) part(w uint64, n int) residue {
	up, over := 8*n&63, (64-8*n)&63
	return residue{
		high: r.high<<up ^ r.low>>over,
		low:  r.low<<up ^ r.high>>over<<1 ^ w,
	}
}

// octet continues r over one byte.
func (r residue) octet(b byte) residue { return r.part(uint64(b), 1) }

// bytes continues r over p. It may read, and ignore, bytes behind p up to its
// capacity.
func (r residue) bytes(p []byte) residue {
	for ; len(p) >= 8; p = p[8:] {
		r = r.word(binary.BigEndian.Uint64(p))
	}
	if n := len(p); n > 0 {
		var w uint64
		if cap(p) >= 8 {
			w = binary.BigEndian.Uint64(p[:8]) >> ((64 - 8*n) & 63)
		} else {
			for _, b := range p {
				w = w<<8 | uint64(b)
			}
		}
		r = r.part(w, n)
	}
	return r
}

// folded is a residue in 64 bits. It is a type of its own so that both steps to
// the checksum are short enough to be inlined.
type folded uint64

func (r residue) fold() folded {
	up := r.high >> 32
	high := r.high&(1<<32-1) ^ up<<1 ^ up<<2 ^ up<<4 // 36 bits, so that nothing is pushed out
	return folded(r.low ^ high ^ high<<1 ^ high<<4)
}

// sum is the checksum of what the residue covers.
func (f folded) sum() byte {
	up := f >> 32
	f = f&(1<<32-1) ^ up<<1 ^ up<<2 ^ up<<4 // 36 bits are left
	up = f >> 16
	f = f&(1<<16-1) ^ up ^ up<<2 ^ up<<4 // 24
	return crcTables[2][byte(f>>16)] ^ crcTables[1][byte(f>>8)] ^ crcTables[0][byte(f)]
}

// checksumByte continues the checksum crc over b.
func checksumByte(crc, b byte) byte { return crcTables[0][crc^b] }

// crcTables hold the checksum of each single byte, followed by as many zeros
// as the table's number.
var crcTables = func() (t [3][256]byte) {
	for b := range t[0] {
		crc := byte(b)
		for range 8 {
			carry := crc >> 7
			crc = crc<<1 ^ carry*0x07
		}
		t[0][b] = crc
	}
	for b := range t[0] {
		t[1][b] = t[0][t[0][b]]
		t[2][b] = t[0][t[1][b]]
	}
	return t
}()
