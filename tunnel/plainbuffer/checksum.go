package plainbuffer

import "encoding/binary"

// The format's checksum is CRC-8 with the polynomial x⁸+x²+x+1 (0x07), most
// significant bit first, starting from 0, with no final XOR.
//
// crcTable[k][b] is the checksum of b followed by k zero bytes. A checksum is
// linear: that of eight bytes is the XOR of what each contributes by itself,
// so eight independent look-ups replace eight that wait for each other.
var crcTable = func() (t [8][256]byte) {
	for b := range 256 {
		crc := byte(b)
		for k := range t {
			for range 8 {
				if crc&0x80 != 0 {
					crc = crc<<1 ^ 0x07
				} else {
					crc <<= 1
				}
			}
			t[k][b] = crc
		}
	}
	return t
}()

// checksumByte continues crc over b.
func checksumByte(crc, b byte) byte { return crcTable[0][crc^b] }

// checksumWord continues crc over the eight bytes of w, lowest first.
func checksumWord(crc byte, w uint64) byte {
	t := &crcTable
	return t[0][byte(w>>56)] ^ t[1][byte(w>>48)] ^ t[2][byte(w>>40)] ^ t[3][byte(w>>32)] ^
		t[4][byte(w>>24)] ^ t[5][byte(w>>16)] ^ t[6][byte(w>>8)] ^ t[7][byte(w)^crc]
}

// checksum continues crc over p. It may read, and ignore, bytes behind p up to
// its capacity.
func checksum(crc byte, p []byte) byte {
	for len(p) >= 8 {
		crc = checksumWord(crc, binary.LittleEndian.Uint64(p))
		p = p[8:]
	}
	if len(p) > 0 && cap(p) >= 8 {
		// Zeros in front of all else change nothing.
		w := binary.LittleEndian.Uint64(p[:8]) ^ uint64(crc)
		return checksumWord(0, w<<(64-8*len(p)))
	}
	for _, b := range p {
		crc = checksumByte(crc, b)
	}
	return crc
}
