package plainbuffer

// The format's checksum is CRC-8 with the polynomial x⁸+x²+x+1 (0x07), most
// significant bit first, starting from 0, with no final XOR.

var crcTable = func() (t [256]byte) {
	for i := range t {
		crc := byte(i)
		for range 8 {
			if crc&0x80 != 0 {
				crc = crc<<1 ^ 0x07
			} else {
				crc <<= 1
			}
		}
		t[i] = crc
	}
	return t
}()

func checksumByte(crc, b byte) byte { return crcTable[crc^b] }

func checksum(crc byte, p []byte) byte {
	for _, b := range p {
		crc = crcTable[crc^b]
	}
	return crc
}
