package plainbuffer

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// diffRows compares what rows mean: not the key's bytes, nor whether an empty
// slice is nil.
func diffRows(want, got *Row) string {
	return cmp.Diff(want, got, cmpopts.IgnoreFields(Row{}, "KeyBytes"), cmpopts.EquateEmpty())
}

func TestEveryShapeOfRowDecodes(t *testing.T) {
	var r Row // one for all: nothing may remain of the row before
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			if err := r.Decode(unhex(t, s.bytes)); err != nil {
				t.Fatal(err)
			}
			if diff := diffRows(&s.row, &r); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFormsThatAreNeverWrittenDecodeToo(t *testing.T) {
	sequence := Row{Key: id(), HasSequence: true, Sequence: Sequence{Epoch: 1, Timestamp: 1_000_000, RowIndex: 2}}
	for _, s := range []struct {
		name  string
		row   Row
		bytes string
	}{
		{"row data without cells", Row{Key: id()}, idKey + `02 09 82`},
		{"an empty extension", Row{Key: id()}, idKey + `0b 00000000 09 82`},
		{"an unknown entry", Row{Key: id()}, idKey + `0b 07000000 1f 02000000 abcd 09 82`},
		{"unknown entries around a sequence", sequence,
			idKey + `0b 23000000 1f 01000000 ab 0c 13000000 0d 01000000 0e 40420f0000000000 0f 02000000 20 00000000 09 82`},
		{"a sequence that has grown", sequence,
			idKey + `0b 1b000000 0c 16000000 0d 01000000 0e 40420f0000000000 0f 02000000 abcdef 09 82`},
		{"a true that is not 1", Row{Key: id(), Columns: []Cell{column("p", BooleanValue(true))}},
			idKey + `02 03 04 01000000 70 05 02000000 02 80 0ac4 09 3e`},
	} {
		t.Run(s.name, func(t *testing.T) {
			var r Row
			if err := r.Decode(unhex(t, s.bytes)); err != nil {
				t.Fatal(err)
			}
			if diff := diffRows(&s.row, &r); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsMalformedIsRefusedWithItsPlace(t *testing.T) {
	const col = idKey + `02 03 04 01000000 76 ` // 37 bytes
	for _, s := range []struct {
		name   string
		bytes  string
		kind   error
		offset int
	}{
		{"nothing", ``, ErrTruncated, 0},
		{"half a header", `7500`, ErrTruncated, 2},
		{"another header", `76000000 01 09 00`, ErrMalformed, 0},
		{"a header alone", `75000000`, ErrTruncated, 4},
		{"a row without a key", `75000000 02 09 00`, ErrMalformed, 4},
		{"bytes after the row", idKey + `09 82 00`, ErrMalformed, 31},
		{"a second row", idKey + `09 82 01 09 00`, ErrMalformed, 31},
		{"bytes after a row whose checksum differs", idKey + `09 83 00`, ErrMalformed, 31},
		{"an unknown tag in a row", idKey + `10 82`, ErrMalformed, 29},
		{"row data before the key", `75000000 02 01 09 00`, ErrMalformed, 4},
		{"row data after the marker", idKey + `08 02 09 82`, ErrMalformed, 30},
		{"a marker after the extension", idKey + `0b 00000000 08 09 82`, ErrMalformed, 34},
		{"no row checksum", idKey, ErrTruncated, 29},
		{"a cell without a name", idKey + `02 03 05 02000000 02 01 0a00 09 00`, ErrMalformed, 31},
		{"a name longer than the input", idKey + `02 03 04 ffffffff 76 0a00 09 00`, ErrTruncated, 36},
		{"a name that leaves no room for the rest", idKey + `02 03 04 01000000 76 0a`, ErrTruncated, 36},
		{"an unknown tag in a cell", col + `10 0a00 09 00`, ErrMalformed, 37},
		{"a value longer than the input", col + `05 00ffffff 03 0a00 09 00`, ErrTruncated, 42},
		{"a value without a type", col + `05 00000000 0a00 09 00`, ErrMalformed, 42},
		{"an unknown value type", col + `05 01000000 04 0a00 09 00`, ErrMalformed, 42},
		{"the type that means no value", col + `05 01000000 ff 0a00 09 00`, ErrMalformed, 42},
		{"a short integer", col + `05 08000000 00 00000000000000 0a00 09 00`, ErrMalformed, 42},
		{"a long double", col + `05 0a000000 01 000000000000000000 0a00 09 00`, ErrMalformed, 42},
		{"a long boolean", col + `05 03000000 02 0000 0a00 09 00`, ErrMalformed, 42},
		{"a string shorter than its value", col + `05 07000000 03 01000000 6162 0a00 09 00`, ErrMalformed, 42},
		{"a blob longer than its value", col + `05 07000000 07 03000000 6162 0a00 09 00`, ErrMalformed, 42},
		{"a string without a length", col + `05 04000000 03 000000 0a00 09 00`, ErrMalformed, 42},
		{"a bound with content", col + `05 02000000 09 00 0a00 09 00`, ErrMalformed, 42},
		{"an unknown cell type", col + `06 02 0a00 09 00`, ErrMalformed, 38},
		{"a cell type that says put", col + `06 00 0a00 09 00`, ErrMalformed, 38},
		{"a timestamp before the cell type", col + `07 0000000000000000 06 01 0a00 09 00`, ErrMalformed, 46},
		{"a key column without a value", `75000000 01 03 04 01000000 6b 0a16 09 00`, ErrMalformed, 5},
		{"a key column with a cell type", `75000000 01 03 04 01000000 6b 05 02000000 02 01 06 01 0a00 09 00`, ErrMalformed, 5},
		{"a key column with a timestamp", `75000000 01 03 04 01000000 6b 05 02000000 02 01 ` + at1000 + `0a00 09 00`, ErrMalformed, 5},
		{"an extension longer than the input", idKey + `0b 03000000 09 82`, ErrTruncated, 34},
		{"an extension with a stump", idKey + `0b 02000000 1f 00 09 82`, ErrMalformed, 34},
		{"an entry longer than its extension", idKey + `0b 05000000 1f 01000000 09 82`, ErrMalformed, 39},
		{"a sequence cut short", idKey + `0b 0a000000 0c 05000000 0d 01000000 09 82`, ErrMalformed, 39},
		{"a sequence in another order", idKey + `0b 18000000 0c 13000000 0e 40420f0000000000 0d 01000000 0f 02000000 09 82`, ErrMalformed, 39},
	} {
		t.Run(s.name, func(t *testing.T) {
			r := *orderRow()
			err := r.Decode(unhex(t, s.bytes))
			e, ok := errors.AsType[*Error](err)
			if !ok || !errors.Is(err, s.kind) || errors.Is(err, ErrTruncated) != errors.Is(s.kind, ErrTruncated) || e.Offset != s.offset {
				t.Errorf("got %v, want %v at byte %d", err, s.kind, s.offset)
			}
			if !errors.Is(err, ErrMalformed) || errors.Is(err, ErrChecksum) {
				t.Errorf("%v: want a malformed input, and no checksum", err)
			}
			if diff := diffRows(&Row{}, &r); diff != "" {
				t.Errorf("the row is not empty: %s", diff)
			}
		})
	}
}

func TestARowWhoseChecksumDiffersIsComplete(t *testing.T) {
	want := orderRow()
	good := Append(nil, want)
	for name, at := range map[string]int{
		"of the row":              len(good) - 1,
		"of the last column":      len(good) - 2 - prefixSize - prefixSize - sequenceSize - 1,
		"of the first key column": headerSize + 1 + 1 + prefixSize + len("customer") + prefixSize + 1 + 4 + len("customer-000000042") + 1,
	} {
		t.Run(name, func(t *testing.T) {
			b := slices.Clone(good)
			b[at] ^= 0x10
			b[len(b)-1] ^= 0x01 // a second one, which the first hides
			var r Row
			err := r.Decode(b)
			if !errors.Is(err, ErrChecksum) || errors.Is(err, ErrMalformed) {
				t.Fatalf("got %v, want a checksum error", err)
			}
			if e, _ := errors.AsType[*Error](err); e.Offset != at {
				t.Errorf("the error is at %d, want %d", e.Offset, at)
			}
			if diff := diffRows(want, &r); diff != "" {
				t.Error(diff)
			}
			if len(r.KeyBytes) == 0 {
				t.Error("no key bytes")
			}

			// What is malformed wins over what only differs.
			if err := r.Decode(b[:len(b)-1]); !errors.Is(err, ErrTruncated) || errors.Is(err, ErrChecksum) {
				t.Errorf("got %v, want a truncated input", err)
			}
		})
	}
}

func TestErrorsSayWhatAndWhereButNotTheRowsContent(t *testing.T) {
	var r Row
	b := Append(nil, orderRow())
	for err, want := range map[error]string{
		r.Decode(b[:30]):                     "truncated: malformed PlainBuffer at byte 24: the input ends inside a cell's value",
		r.Decode(unhex(t, `75000000 01 10`)): "malformed PlainBuffer at byte 5: tag 0x10 inside a row",
		r.Decode(unhex(t, strings.ReplaceAll(idKey, "0a0a", "0a0b")+`09 82`)): "PlainBuffer checksum differs at byte 28: the cell's checksum is 0xb, its content's 0xa",
	} {
		if err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestKeyBytesAreTheKeysCells(t *testing.T) {
	var r Row
	if err := r.Decode(unhex(t, idKey+`08 09 85`)); err != nil {
		t.Fatal(err)
	}
	if want := unhex(t, idCell); !bytes.Equal(r.KeyBytes, want) {
		t.Errorf("got  %x\nwant %x", r.KeyBytes, want)
	}

	rapid.Check(t, func(t *rapid.T) {
		a, b := rowGen.Draw(t, "a"), rowGen.Draw(t, "b")
		if rapid.Bool().Draw(t, "same key") {
			b.Key = a.Key
		}
		var da, db Row
		if err := errors.Join(da.Decode(Append(nil, &a)), db.Decode(Append(nil, &b))); err != nil {
			t.Fatal(err)
		}
		sameKeys := cmp.Equal(da.Key, db.Key, cmpopts.EquateEmpty())
		if sameBytes := bytes.Equal(da.KeyBytes, db.KeyBytes); sameKeys != sameBytes {
			t.Errorf("same keys: %v, same bytes: %v", sameKeys, sameBytes)
		}
	})
}

func TestDecodedSlicesCannotGrowIntoTheirNeighbours(t *testing.T) {
	b := Append(nil, orderRow())
	before := slices.Clone(b)
	var r Row
	if err := r.Decode(b); err != nil {
		t.Fatal(err)
	}
	_ = append(r.KeyBytes, 0xEE)
	for _, c := range slices.Concat(r.Key, r.Columns) {
		_ = append(c.Name, 0xEE)
		_ = append(c.Value.Bytes(), 0xEE)
	}
	if !bytes.Equal(b, before) {
		t.Error("appending to what was decoded changed the input")
	}
}

func TestDecodingDoesNotReadBehindItsInput(t *testing.T) {
	// A checksum that took in what stands behind would differ.
	for _, s := range shapes {
		b := unhex(t, s.bytes)
		long := append(slices.Clone(b), bytes.Repeat([]byte{0xEE}, 16)...)
		var r Row
		if err := r.Decode(long[:len(b)]); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

func TestDecodingAllocatesNothing(t *testing.T) {
	in := Append(nil, orderRow())
	var r Row
	if err := r.Decode(in); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if err := r.Decode(in); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a row costs %v allocations", n)
	}

	many := AppendRow(AppendRow(Append(nil, orderRow()), orderRow()), orderRow())
	if n := testing.AllocsPerRun(100, func() {
		d := NewDecoder(many)
		for {
			if more, err := d.Next(&r); err != nil || !more {
				break
			}
		}
	}); n != 0 {
		t.Errorf("three rows cost %v allocations", n)
	}
}

func TestADecoderGivesRowAfterRow(t *testing.T) {
	b := AppendHeader(nil)
	for i := range shapes {
		b = AppendRow(b, &shapes[i].row)
	}
	d := NewDecoder(b)
	var r Row
	for _, s := range shapes {
		if more, err := d.Next(&r); !more || err != nil {
			t.Fatalf("%s: %v, %v", s.name, more, err)
		}
		if diff := diffRows(&s.row, &r); diff != "" {
			t.Errorf("%s: %s", s.name, diff)
		}
	}
	for range 2 {
		if more, err := d.Next(&r); more || err != nil {
			t.Errorf("after the last row: %v, %v", more, err)
		}
	}
	if diff := diffRows(&Row{}, &r); diff != "" {
		t.Errorf("after the last row: %s", diff)
	}
}

func TestADecoderOfNothingHasNoRows(t *testing.T) {
	for _, in := range [][]byte{nil, {}, AppendHeader(nil)} {
		d := NewDecoder(in)
		if more, err := d.Next(new(Row)); more || err != nil {
			t.Errorf("%x: %v, %v", in, more, err)
		}
	}
}

func TestADecoderGoesOnAfterAChecksumAndEndsAtWhatIsMalformed(t *testing.T) {
	b := Append(nil, &Row{Key: id()})
	b[len(b)-1] ^= 1
	b = AppendRow(b, &Row{Key: id(), Deleted: true})
	b = append(b, tagKey, 0x10, 0x10)

	d := NewDecoder(b)
	var r Row
	if more, err := d.Next(&r); !more || !errors.Is(err, ErrChecksum) || len(r.Key) != 1 {
		t.Errorf("first row: %v, %v", more, err)
	}
	if more, err := d.Next(&r); !more || err != nil || !r.Deleted {
		t.Errorf("second row: %v, %v", more, err)
	}
	for range 2 {
		if more, err := d.Next(&r); more || !errors.Is(err, ErrMalformed) || len(r.Key) != 0 {
			t.Errorf("third row: %v, %v", more, err)
		}
	}
}

func TestADecoderWantsAHeader(t *testing.T) {
	for _, s := range []struct {
		bytes string
		kind  error
	}{{`75`, ErrTruncated}, {`76000000 01 09 00`, ErrMalformed}} {
		d := NewDecoder(unhex(t, s.bytes))
		for range 2 {
			if more, err := d.Next(new(Row)); more || !errors.Is(err, s.kind) {
				t.Errorf("%s: %v, %v", s.bytes, more, err)
			}
		}
	}
}
