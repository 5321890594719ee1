package plainbuffer

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestEveryShapeOfRowEncodesToItsBytes(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			if diff := cmp.Diff(unhex(t, s.bytes), Append(nil, &s.row)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEncodingAppends(t *testing.T) {
	row := &Row{Key: id()}
	if got, want := Append([]byte("before"), row), append([]byte("before"), Append(nil, row)...); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func TestFieldsThatDoNotCountAreLeftOut(t *testing.T) {
	row := Row{
		Key:      []Cell{{Name: []byte("id"), Value: IntegerValue(1), Op: DeleteOneVersion, Timestamp: 1, HasTimestamp: true}},
		Columns:  []Cell{{Name: []byte("p"), Value: BooleanValue(false), Timestamp: 1}},
		Sequence: Sequence{Epoch: 1},
		KeyBytes: []byte("not the key"),
	}
	want := unhex(t, idKey+`02 03 04 01000000 70 05 02000000 02 00 0a4d 09 35`)
	if diff := cmp.Diff(want, Append(nil, &row)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatHasNoEncodingDecodesToAnError(t *testing.T) {
	for name, row := range map[string]Row{
		"a type of no meaning":         {Key: id(), Columns: []Cell{column("v", BoundValue(0x42))}},
		"an operation of no meaning":   {Key: id(), Columns: []Cell{{Name: []byte("v"), Op: 2}}},
		"a key column without a value": {Key: []Cell{column("k", NoValue())}},
		"a key of no meaning":          {Key: []Cell{column("k", BoundValue(0x42))}},
	} {
		t.Run(name, func(t *testing.T) {
			var r Row
			if err := r.Decode(Append(nil, &row)); !errors.Is(err, ErrMalformed) {
				t.Errorf("got %v, want a malformed input", err)
			}
		})
	}
}

func TestARowSurvivesEncodingAndDecoding(t *testing.T) {
	var got Row // one for all: nothing may remain of the row before
	rapid.Check(t, func(t *rapid.T) {
		want := rowGen.Draw(t, "row")
		b := Append(nil, &want)
		if err := got.Decode(b); err != nil {
			t.Fatal(err)
		}
		if diff := diffRows(&want, &got); diff != "" {
			t.Fatal(diff)
		}
		if again := Append(nil, &got); !bytes.Equal(again, b) {
			t.Fatalf("encoded again:\n%x, was\n%x", again, b)
		}
	})
}

func TestRowsSurviveEncodingAndDecoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rowGen, 0, 4).Draw(t, "rows")
		b := AppendHeader(nil)
		for i := range want {
			b = AppendRow(b, &want[i])
		}
		d := NewDecoder(b)
		for i := range want {
			var got Row
			if more, err := d.Next(&got); !more || err != nil {
				t.Fatalf("row %d: %v, %v", i, more, err)
			}
			if diff := diffRows(&want[i], &got); diff != "" {
				t.Fatalf("row %d: %s", i, diff)
			}
		}
		if more, err := d.Next(new(Row)); more || err != nil {
			t.Fatalf("after the last row: %v, %v", more, err)
		}
	})
}

func TestEncodingIntoRoomAllocatesNothing(t *testing.T) {
	row := orderRow()
	buf := Append(nil, row)
	if n := testing.AllocsPerRun(100, func() { buf = Append(buf[:0], row) }); n != 0 {
		t.Errorf("a row costs %v allocations", n)
	}
}

// Generators of rows, with every combination of fields that the format can
// carry, sensible or not.
var (
	bytesGen = rapid.OneOf(
		rapid.SliceOfN(rapid.Byte(), 0, 40),
		rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }),
	)
	keyValueGen = rapid.OneOf(
		rapid.Map(rapid.Int64(), IntegerValue),
		rapid.Map(rapid.String(), StringValue),
		rapid.Map(bytesGen, StringBytesValue), // strings are not checked to be UTF-8
		rapid.Map(bytesGen, BlobValue),
		rapid.Map(rapid.SampledFrom([]Type{InfMin, InfMax, AutoIncrement}), BoundValue),
	)
	valueGen = rapid.OneOf(
		keyValueGen,
		rapid.Map(rapid.Uint64(), func(bits uint64) Value { return Value{typ: Double, bits: bits} }), // NaNs too
		rapid.Map(rapid.Bool(), BooleanValue),
		rapid.Just(NoValue()),
	)
	keyGen = rapid.Custom(func(t *rapid.T) Cell {
		return Cell{Name: bytesGen.Draw(t, "name"), Value: keyValueGen.Draw(t, "value")}
	})
	columnGen = rapid.Custom(func(t *rapid.T) Cell {
		c := Cell{
			Name:         bytesGen.Draw(t, "name"),
			Value:        valueGen.Draw(t, "value"),
			Op:           rapid.SampledFrom([]Op{Put, DeleteAllVersions, DeleteOneVersion, Increment}).Draw(t, "op"),
			HasTimestamp: rapid.Bool().Draw(t, "has timestamp"),
		}
		if c.HasTimestamp {
			c.Timestamp = rapid.Int64().Draw(t, "timestamp")
		}
		return c
	})
	rowGen = rapid.Custom(func(t *rapid.T) Row {
		r := Row{
			Key:         rapid.SliceOfN(keyGen, 0, 4).Draw(t, "key"),
			Columns:     rapid.SliceOfN(columnGen, 0, 6).Draw(t, "columns"),
			Deleted:     rapid.Bool().Draw(t, "deleted"),
			HasSequence: rapid.Bool().Draw(t, "has sequence"),
		}
		if r.HasSequence {
			r.Sequence = Sequence{
				Epoch:     rapid.Int32().Draw(t, "epoch"),
				Timestamp: rapid.Int64().Draw(t, "time"),
				RowIndex:  rapid.Int32().Draw(t, "index"),
			}
		}
		return r
	})
)

func TestEqualValuesHaveEqualBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, w := valueGen.Draw(t, "v"), valueGen.Draw(t, "w")
		if rapid.Bool().Draw(t, "same") {
			w = v
			w.data = slices.Clone(v.data)
		}
		if bytesEqual := bytes.Equal(appendValue(nil, v), appendValue(nil, w)); v.Equal(w) != bytesEqual {
			t.Errorf("Equal says %v, the bytes %v", v.Equal(w), bytesEqual)
		}
	})
}
