package plainbuffer

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// sameAsSlow says whether decodePut, where it decodes at all, does what
// decodeCell does with the same bytes, and whether it decoded.
func sameAsSlow(t interface{ Fatalf(string, ...any) }, b []byte, i int) bool {
	put := Cell{Name: []byte("of the row before"), Value: StringValue("x"), Op: DeleteOneVersion, HasTimestamp: true, Timestamp: 7}
	next, sum, ok := decodePut(b, i, &put)
	if !ok {
		return false
	}
	var cell Cell
	wantNext, wantSum, err := decodeCell(b, i+1, &cell)
	if err != nil {
		t.Fatalf("decodeCell refuses it: %v", err)
	}
	if diff := cmp.Diff(cell, put, cmp.AllowUnexported(Value{})); diff != "" || next != wantNext || sum != wantSum {
		t.Fatalf("next %d, checksum %#x, want %d, %#x; the cell:\n%s", next, sum, wantNext, wantSum, diff)
	}
	if cap(put.Name) != len(put.Name) || cap(put.Value.data) != len(put.Value.data) {
		t.Fatalf("a slice can grow into what is behind it")
	}
	return true
}

func TestTheShortWayDecodesWhatTheLongWayDoes(t *testing.T) {
	short := 0
	rapid.Check(t, func(t *rapid.T) {
		b, _ := appendCell(nil, new(columnGen.Draw(t, "cell")), 0)
		b = append(b, make([]byte, rapid.SampledFrom([]int{0, 1, room - 1, room, 2 * room}).Draw(t, "bytes behind"))...)
		if sameAsSlow(t, b, 0) {
			short++
		}
	})
	if short == 0 {
		t.Error("not one cell was decoded the short way")
	}
}

func FuzzDecodePut(f *testing.F) {
	addShapes(f, func(b []byte) { f.Add(b, headerSize+1) })
	f.Fuzz(func(t *testing.T, b []byte, i int) {
		if i >= 0 && i < len(b) && b[i] == tagCell {
			sameAsSlow(t, b, i)
		}
	})
}
