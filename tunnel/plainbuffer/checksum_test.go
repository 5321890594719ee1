package plainbuffer

import (
	"encoding/binary"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// slowChecksum divides by the polynomial, bit by bit.
func slowChecksum(crc byte, p []byte) byte {
	for _, b := range p {
		crc ^= b
		for range 8 {
			carry := crc & 0x80
			crc <<= 1
			if carry != 0 {
				crc ^= 0x07
			}
		}
	}
	return crc
}

func TestTheChecksumIsCRC8(t *testing.T) {
	// The check value of the catalogues for this CRC.
	if got := (residue{}).bytes([]byte("123456789")).fold().sum(); got != 0xF4 {
		t.Errorf("got %#x, want 0xf4", got)
	}
}

func TestTheChecksumIsTheSlowOneHoweverItIsCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var whole []byte
		var r residue
		for _, p := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 40), 0, 6).Draw(t, "pieces") {
			whole = append(whole, p...)
			switch {
			case rapid.Bool().Draw(t, "without room behind"):
				r = r.bytes(p[:len(p):len(p)])
			case len(p) == 1:
				r = r.octet(p[0])
			case len(p) == 8:
				r = r.littleEndian(binary.LittleEndian.Uint64(p))
			default:
				r = r.bytes(append(slices.Clone(p), 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE)[:len(p)])
			}
		}
		if got, want := r.fold().sum(), slowChecksum(0, whole); got != want {
			t.Errorf("got %#x, want %#x", got, want)
		}
	})
}
