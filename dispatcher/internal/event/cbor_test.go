package event_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/dispatcher/internal/event"
	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// strict refuses everything that RFC 8949 allows and a payload must not have.
func strict(t interface {
	Helper()
	Fatal(...any)
}) cbor.DecMode {
	t.Helper()
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		UTF8:              cbor.UTF8RejectInvalid,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		IntDec:            cbor.IntDecConvertSignedOrFail,
	}.DecMode()
	if err != nil {
		t.Fatal(err)
	}
	return mode
}

// TestACBORPayloadHasTheNativeTriggersShape spells a payload out, in the
// order of the native trigger's names.
func TestACBORPayloadHasTheNativeTriggersShape(t *testing.T) {
	row := plainbuffer.Row{
		Key: []plainbuffer.Cell{cell("pk", plainbuffer.StringValue("é")), cell("n", plainbuffer.IntegerValue(math.MinInt64))},
		Columns: []plainbuffer.Cell{
			versioned("amount", plainbuffer.DoubleValue(1), plainbuffer.Put, 24),
			versioned("b", plainbuffer.BlobValue([]byte{0xff, 0}), plainbuffer.Put, 255),
			versioned("t", plainbuffer.BooleanValue(true), plainbuffer.Put, 256),
			{Name: []byte("gone"), Op: plainbuffer.DeleteAllVersions, Value: plainbuffer.IntegerValue(7)},
		},
		HasSequence: true,
		Sequence:    plainbuffer.Sequence{Timestamp: 1700000000123456},
	}
	origin := plainbuffer.Row{}
	records := [][]byte{event.CBOR.AppendRecord(nil, tunnel.UpdateRow, &row, &origin, "id-1")}
	h := event.Header{BatchID: "b1", Attempt: 2, Trigger: "t", Tunnel: "u", Channel: "c", Lane: 3}
	want := "\xa3" +
		"\x67Version\x67Sync-v1" +
		"\x65Batch\xa6\x62Id\x62b1\x67Attempt\x02\x67Trigger\x61t\x66Tunnel\x61u\x67Channel\x61c\x64Lane\x03" +
		"\x67Records\x81\xa6" +
		"\x62Id\x64id-1" +
		"\x64Type\x69UpdateRow" +
		"\x64Info\xa1\x69Timestamp\x1b\x00\x06\x0a\x24\x18\x20\x22\x40" +
		"\x6aPrimaryKey\x82" +
		"\xa2\x6aColumnName\x62pk\x65Value\x62\xc3\xa9" +
		"\xa2\x6aColumnName\x61n\x65Value\x3b\x7f\xff\xff\xff\xff\xff\xff\xff" +
		"\x67Columns\x84" +
		"\xa4\x64Type\x63Put\x6aColumnName\x66amount\x65Value\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00\x69Timestamp\x18\x18" +
		"\xa4\x64Type\x63Put\x6aColumnName\x61b\x65Value\x42\xff\x00\x69Timestamp\x18\xff" +
		"\xa4\x64Type\x63Put\x6aColumnName\x61t\x65Value\xf5\x69Timestamp\x19\x01\x00" +
		"\xa4\x64Type\x71DeleteAllVersions\x6aColumnName\x64gone\x65Value\xf6\x69Timestamp\x00" +
		"\x6aOldColumns\x80"
	if diff := cmp.Diff(want, string(event.CBOR.AppendPayload(nil, h, records))); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
}

// decodedCBOR is an event as fxamacker/cbor reads it into a struct that knows
// every name. The values are left to it too.
type decodedCBOR struct {
	Version string
	Batch   struct {
		ID      string `cbor:"Id"`
		Attempt int
		Trigger string
		Tunnel  string
		Channel string
		Lane    int
	}
	Records []struct {
		ID         string `cbor:"Id"`
		Type       string
		Info       struct{ Timestamp int64 }
		PrimaryKey []keyCBOR
		Columns    []columnCBOR
		OldColumns *[]columnCBOR `cbor:",omitempty"`
	}
}

type keyCBOR struct {
	ColumnName string
	Value      any
}

type columnCBOR struct {
	Type       string
	ColumnName string
	Value      any
	Timestamp  int64
}

// anyOf is what fxamacker/cbor makes of a value. JSON's U+FFFD stands in CBOR
// too for what is not UTF-8.
func anyOf(v plainbuffer.Value) any {
	switch v.Type() {
	case plainbuffer.Integer:
		return v.Integer()
	case plainbuffer.Double:
		return v.Double()
	case plainbuffer.Boolean:
		return v.Boolean()
	case plainbuffer.String:
		return carried(v.Bytes())
	case plainbuffer.Blob:
		return append([]byte{}, v.Bytes()...)
	}
	return nil
}

// byBits compares doubles by their bits: CBOR carries those of every NaN.
var byBits = cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })

func columnsCBOR(cells []plainbuffer.Cell) []columnCBOR {
	columns := []columnCBOR{}
	for _, c := range cells {
		column := columnCBOR{Type: "Put", ColumnName: carried(c.Name), Value: anyOf(c.Value)}
		switch c.Op {
		case plainbuffer.DeleteAllVersions:
			column.Type, column.Value = "DeleteAllVersions", nil
		case plainbuffer.DeleteOneVersion:
			column.Type, column.Value = "DeleteOneVersion", nil
		}
		if c.HasTimestamp {
			column.Timestamp = c.Timestamp
		}
		columns = append(columns, column)
	}
	return columns
}

func TestEveryValueComesBackFromCBOR(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		action := rapid.SampledFrom([]tunnel.Action{tunnel.PutRow, tunnel.UpdateRow, tunnel.DeleteRow}).Draw(t, "action")
		row := rows.Draw(t, "row")
		var origin *plainbuffer.Row
		if rapid.Bool().Draw(t, "has origin") {
			origin = new(rows.Draw(t, "origin"))
		}
		id := texts.Draw(t, "id")
		h := event.Header{
			BatchID: texts.Draw(t, "batch"), Attempt: rapid.IntMin(1).Draw(t, "attempt"), Trigger: texts.Draw(t, "trigger"),
			Tunnel: texts.Draw(t, "tunnel"), Channel: texts.Draw(t, "channel"), Lane: rapid.IntRange(0, 63).Draw(t, "lane"),
		}
		record := event.CBOR.AppendRecord([]byte("kept"), action, &row, origin, id)
		record, isAppended := bytes.CutPrefix(record, []byte("kept"))
		if !isAppended {
			t.Fatal("what was in the buffer is gone")
		}
		n := rapid.SampledFrom([]int{0, 1, 2, 23, 24, 255, 256}).Draw(t, "records")
		records := make([][]byte, n)
		for i := range records {
			records[i] = record
		}
		payload := event.CBOR.AppendPayload(nil, h, records)

		if want := event.CBOR.Overhead(h) + event.CBOR.Joints(n) + n*len(record); len(payload) != want {
			t.Fatalf("payload of %d bytes, announced were %d", len(payload), want)
		}
		var got decodedCBOR
		if err := strict(t).Unmarshal(payload, &got); err != nil {
			t.Fatalf("%v in %x", err, payload)
		}
		// Written by somebody else, in the fewest bytes, it is the same.
		if again, err := shortest(t).Marshal(got); err != nil || !bytes.Equal(again, payload) {
			t.Fatalf("%x\ncould have been\n%x (%v)", payload, again, err)
		}
		if got.Version != "Sync-v1" || got.Batch.ID != carried([]byte(h.BatchID)) || got.Batch.Attempt != h.Attempt ||
			got.Batch.Trigger != carried([]byte(h.Trigger)) || got.Batch.Tunnel != carried([]byte(h.Tunnel)) ||
			got.Batch.Channel != carried([]byte(h.Channel)) || got.Batch.Lane != h.Lane {
			t.Fatalf("header %+v came back as %+v", h, got.Batch)
		}
		if len(got.Records) != n {
			t.Fatalf("%d records became %d", n, len(got.Records))
		}
		for _, r := range got.Records[:min(n, 1)] { // the others are the same bytes
			key := []keyCBOR{}
			for _, c := range row.Key {
				key = append(key, keyCBOR{carried(c.Name), anyOf(c.Value)})
			}
			var at int64
			if row.HasSequence {
				at = row.Sequence.Timestamp
			}
			if r.ID != carried([]byte(id)) || r.Type != action.String() || r.Info.Timestamp != at {
				t.Fatalf("id %q type %q at %d", r.ID, r.Type, r.Info.Timestamp)
			}
			if diff := cmp.Diff(key, r.PrimaryKey, byBits) + cmp.Diff(columnsCBOR(row.Columns), r.Columns, byBits); diff != "" {
				t.Fatalf("record (-want +got):\n%s", diff)
			}
			if (r.OldColumns != nil) != (origin != nil) {
				t.Fatalf("origin %v, OldColumns %v", origin, r.OldColumns)
			}
			if origin == nil {
				continue
			}
			if diff := cmp.Diff(columnsCBOR(origin.Columns), *r.OldColumns, byBits); diff != "" {
				t.Fatalf("old columns (-want +got):\n%s", diff)
			}
		}
	})
}

// shortest writes what [strict] reads with the shortest heads, and every
// double as it is.
func shortest(t *rapid.T) cbor.EncMode {
	t.Helper()
	mode, err := cbor.EncOptions{NaNConvert: cbor.NaNConvertNone, InfConvert: cbor.InfConvertNone}.EncMode()
	if err != nil {
		t.Fatal(err)
	}
	return mode
}

// TestLongListsAndTextsHaveTheirLengths goes past each size of a head.
func TestLongListsAndTextsHaveTheirLengths(t *testing.T) {
	for _, n := range []int{23, 24, 255, 256, math.MaxUint16, math.MaxUint16 + 1} {
		row := plainbuffer.Row{Columns: make([]plainbuffer.Cell, n)}
		row.Columns[0] = cell("long", plainbuffer.StringBytesValue(bytes.Repeat([]byte("x"), n)))
		row.Columns[n-1] = cell("broken", plainbuffer.StringBytesValue(append(bytes.Repeat([]byte("\xff"), n), "é"...)))
		payload := event.CBOR.AppendPayload(nil, header, [][]byte{event.CBOR.AppendRecord(nil, tunnel.PutRow, &row, nil, "id")})
		var got decodedCBOR
		if err := strict(t).Unmarshal(payload, &got); err != nil {
			t.Fatal(n, err)
		}
		if again, err := cbor.Marshal(got); err != nil || !bytes.Equal(again, payload) {
			t.Errorf("%d columns could have been written otherwise, in %d bytes rather than %d (%v)", n, len(again), len(payload), err)
		}
		if diff := cmp.Diff(columnsCBOR(row.Columns), got.Records[0].Columns); diff != "" {
			t.Errorf("%d columns (-want +got):\n%s", n, diff)
		}
	}
}

func TestIntegersHaveTheShortestHeads(t *testing.T) {
	var row plainbuffer.Row
	for _, n := range []int64{0, 23, 24, math.MaxUint8, math.MaxUint8 + 1, math.MaxUint16, math.MaxUint16 + 1, math.MaxUint32, math.MaxUint32 + 1, math.MaxInt64} {
		row.Columns = append(row.Columns, cell("n", plainbuffer.IntegerValue(n)), cell("n", plainbuffer.IntegerValue(-1-n)))
	}
	payload := event.CBOR.AppendPayload(nil, header, [][]byte{event.CBOR.AppendRecord(nil, tunnel.PutRow, &row, nil, "id")})
	var got decodedCBOR
	if err := strict(t).Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(columnsCBOR(row.Columns), got.Records[0].Columns); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	if again, err := cbor.Marshal(got); err != nil || !bytes.Equal(again, payload) {
		t.Errorf("%x\ncould have been\n%x (%v)", payload, again, err)
	}
}

func TestAConfigurationNamesItsFormat(t *testing.T) {
	for name, want := range map[string]string{"json": "application/json", "cbor": "application/cbor"} {
		if f, ok := event.FormatOf(name); !ok || f.ContentType() != want {
			t.Errorf("%s: %s, %v", name, f.ContentType(), ok)
		}
	}
	for _, name := range []string{"", "CBOR", "xml"} {
		if f, ok := event.FormatOf(name); ok {
			t.Errorf("%q is %s", name, f.ContentType())
		}
	}
}
