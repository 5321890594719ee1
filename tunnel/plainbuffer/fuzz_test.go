package plainbuffer

import (
	"bytes"
	"errors"
	"testing"
)

func addShapes(f *testing.F, add func(b []byte)) {
	for _, s := range shapes {
		add(unhex(f, s.bytes))
	}
	add(Append(nil, orderRow()))
}

// What decodes encodes to a buffer that decodes to the same row, and that is
// the input again if the input was written as we write.
func FuzzDecode(f *testing.F) {
	addShapes(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Row
		err := r.Decode(b)
		if err != nil && !errors.Is(err, ErrChecksum) {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v is of no kind", err)
			}
			return
		}
		again := Append(nil, &r)
		var r2 Row
		if err := r2.Decode(again); err != nil {
			t.Fatalf("what was encoded again: %v", err)
		}
		if diff := diffRows(&r, &r2); diff != "" {
			t.Fatal(diff)
		}
		if third := Append(nil, &r2); !bytes.Equal(third, again) {
			t.Fatalf("encoded a third time: %x, was %x", third, again)
		}
		if err != nil || len(again) != len(b) {
			return // a checksum differed, or the input had parts that are never written
		}
		for i := range b {
			if b[i] == again[i] {
				continue
			}
			// A true may be any byte but 0; we write 1.
			if i > 6 && b[i] > 1 && again[i] == 1 && Type(b[i-1]) == Boolean && b[i-6] == tagValue {
				return
			}
			t.Fatalf("byte %d: encoded again\n%x, was\n%x", i, again, b)
		}
	})
}

func TestEveryChangeOfEveryCoveredByteIsAnError(t *testing.T) {
	for _, s := range shapes {
		b := unhex(t, s.bytes)
		var r Row
		for _, at := range covered(&s.row) {
			for mask := 1; mask < 256; mask++ {
				b[at] ^= byte(mask)
				if err := r.Decode(b); !errors.Is(err, ErrChecksum) && !errors.Is(err, ErrMalformed) {
					t.Fatalf("%s: byte %d changed by %#x: %v", s.name, at, mask, err)
				}
				b[at] ^= byte(mask)
			}
		}
	}
}

// A changed byte in a cell's name, value, timestamp or type is an error.
func FuzzFlip(f *testing.F) {
	addShapes(f, func(b []byte) { f.Add(b, uint16(7), byte(0x01)) })
	f.Fuzz(func(t *testing.T, b []byte, nth uint16, mask byte) {
		var r Row
		if r.Decode(b) != nil || mask == 0 {
			return
		}
		b = Append(nil, &r)
		offsets := covered(&r)
		if len(offsets) == 0 {
			return
		}
		at := offsets[int(nth)%len(offsets)]
		b[at] ^= mask
		if err := r.Decode(b); !errors.Is(err, ErrChecksum) && !errors.Is(err, ErrMalformed) {
			t.Fatalf("byte %d changed by %#x: %v", at, mask, err)
		}
	})
}

// covered gives the offsets of each name, value, timestamp and type in r's
// encoding, without the lengths.
func covered(r *Row) (offsets []int) {
	at := headerSize
	take := func(n int) {
		for range n {
			offsets = append(offsets, at)
			at++
		}
	}
	for i, cells := range [][]Cell{r.Key, r.Columns} {
		if i == 0 || len(cells) > 0 {
			at++ // the tag of the key or the data
		}
		for _, c := range cells {
			at += 1 + prefixSize
			take(len(c.Name))
			switch c.Value.Type() {
			case None:
			case String, Blob:
				at += prefixSize
				take(1)
				at += 4
				take(len(c.Value.Bytes()))
			case Integer, Double:
				at += prefixSize
				take(1 + 8)
			case Boolean:
				at += prefixSize
				take(1 + 1)
			default:
				at += prefixSize
				take(1)
			}
			if c.Op != Put {
				at++
				take(1)
			}
			if c.HasTimestamp {
				at++
				take(8)
			}
			at += 2
		}
	}
	return offsets
}

// Every beginning of a row is a truncated row.
func FuzzTruncate(f *testing.F) {
	addShapes(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Row
		if err := r.Decode(b); err != nil && !errors.Is(err, ErrChecksum) {
			return
		}
		for n := range b {
			if err := r.Decode(b[:n]); !errors.Is(err, ErrTruncated) || !errors.Is(err, ErrMalformed) || errors.Is(err, ErrChecksum) {
				t.Fatalf("the first %d of %d bytes: %v", n, len(b), err)
			}
		}
	})
}
