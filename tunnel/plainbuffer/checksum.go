package plainbuffer

import (
	"encoding/binary"
	"math/bits"
)

// The format's checksum is CRC-8 with the polynomial P = x⁸+x²+x+1 (0x07),
// most significant bit first, starting from 0, with no final XOR: the bytes
// that it covers, read as one polynomial over GF(2), times x⁸, modulo P.
//
// P has few terms, and squaring keeps it so: x⁸ ≡ x²+x+1, so x¹⁶ ≡ x⁴+x²+1,
// x³² ≡ x⁸+x⁴+1 and x⁶⁴ ≡ x¹⁶+x⁸+1. To move a polynomial up by 64 bits is thus
// to add two shifted copies of it: eight bytes cost a dozen instructions, where
// the usual table costs eight look-ups, each waiting for the one before.

// residue is what has been covered so far, reduced modulo P far enough to fit.
type residue uint64

// word continues r over eight bytes, the first in the highest bits.
func (r residue) word(w uint64) residue {
	// What the shifts push out at the top stands for x⁶⁴ and above.
	over := r>>56 ^ r>>48
	return r ^ r<<8 ^ r<<16 ^ over ^ over<<8 ^ over<<16 ^ residue(w)
}

// words continues r over sixteen bytes, as word twice would, but what waits for
// r is half as much: x¹²⁸ ≡ x³²+x¹⁶+1.
func (r residue) words(w, v uint64) residue {
	over := r>>48 ^ r>>32 ^ residue(w>>56^w>>48)
	return r ^ r<<16 ^ r<<32 ^ over ^ over<<8 ^ over<<16 ^ residue(w^w<<8^w<<16^v)
}

// littleEndian continues r over the eight bytes of v, lowest first.
func (r residue) littleEndian(v uint64) residue { return r.word(bits.ReverseBytes64(v)) }

// part continues r over 1 to 7 bytes, the n lowest of w; the others are 0.
func (r residue) part(w uint64, n int) residue {
	// 40 bits are few enough for what is pushed out to fit when it comes back.
	r = r&(1<<32-1) ^ r>>32 ^ r>>32<<4 ^ r>>32<<8
	over := r >> (64 - 8*n)
	return r<<(8*n) ^ over ^ over<<8 ^ over<<16 ^ residue(w)
}

// octet continues r over one byte.
func (r residue) octet(b byte) residue { return r.part(uint64(b), 1) }

// bytes continues r over p. It may read, and ignore, bytes behind p up to its
// capacity.
func (r residue) bytes(p []byte) residue {
	n := len(p) % 8
	if n > 0 {
		var w uint64
		if cap(p) >= 8 {
			w = binary.BigEndian.Uint64(p[:8]) >> (64 - 8*n)
		} else {
			for _, b := range p {
				w = w<<8 | uint64(b)
			}
		}
		r = r.part(w, n)
	}
	p = p[n:]
	if len(p)%16 != 0 {
		r = r.word(binary.BigEndian.Uint64(p))
		p = p[8:]
	}
	for ; len(p) >= 16; p = p[16:] {
		r = r.words(binary.BigEndian.Uint64(p), binary.BigEndian.Uint64(p[8:]))
	}
	return r
}

// sum is the checksum of what r covers.
func (r residue) sum() byte {
	r = r&(1<<32-1) ^ r>>32 ^ r>>32<<4 ^ r>>32<<8 // 40 bits are left
	r = r&(1<<16-1) ^ r>>16 ^ r>>16<<2 ^ r>>16<<4 // 28
	r = r&(1<<16-1) ^ r>>16 ^ r>>16<<2 ^ r>>16<<4 // 16
	return checksumByte(crcTable[r>>8], byte(r))
}

// checksumByte continues the checksum crc over b.
func checksumByte(crc, b byte) byte { return crcTable[crc^b] }

// crcTable holds the checksum of each single byte.
var crcTable = func() (t [256]byte) {
	for b := range t {
		crc := byte(b)
		for range 8 {
			carry := crc >> 7
			crc = crc<<1 ^ carry*0x07
		}
		t[b] = crc
	}
	return t
}()
