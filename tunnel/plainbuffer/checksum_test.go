package plainbuffer

import (
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
	if got := checksum(0, []byte("123456789")); got != 0xF4 {
		t.Errorf("got %#x, want 0xf4", got)
	}
}

func TestTheChecksumIsTheSlowOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "bytes")
		from := rapid.IntRange(0, len(p)).Draw(t, "from")
		to := rapid.IntRange(from, len(p)).Draw(t, "to")
		crc := rapid.Byte().Draw(t, "crc")
		want := slowChecksum(crc, p[from:to])
		if got := checksum(crc, p[from:to]); got != want {
			t.Errorf("got %#x, want %#x", got, want)
		}
		if got := checksum(crc, p[from:to:to]); got != want {
			t.Errorf("without room behind: got %#x, want %#x", got, want)
		}
	})
}
