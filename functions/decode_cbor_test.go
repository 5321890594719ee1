package functions

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// marshalers write an event in each format.
var marshalers = map[string]func(any) ([]byte, error){"json": json.Marshal, "cbor": cbor.Marshal}

// anyEvent draws events as a dispatcher makes them.
var anyEvent = rapid.Custom(func(t *rapid.T) *Event {
	columns := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Column {
		return Column{
			Type:       rapid.SampledFrom([]string{"Put", "DeleteOneVersion", "DeleteAllVersions"}).Draw(t, "type"),
			ColumnName: rapid.String().Draw(t, "name"),
			Value:      anyValue().Draw(t, "value"),
			Timestamp:  rapid.Int64().Draw(t, "timestamp"),
		}
	}), 0, 3)
	record := rapid.Custom(func(t *rapid.T) *Record {
		r := &Record{
			ID:         rapid.String().Draw(t, "id"),
			Type:       rapid.SampledFrom([]string{"PutRow", "UpdateRow", "DeleteRow"}).Draw(t, "type"),
			Info:       Info{Timestamp: rapid.Int64().Draw(t, "timestamp")},
			PrimaryKey: []KeyColumn{{rapid.String().Draw(t, "key"), anyValue().Draw(t, "value")}},
			Columns:    columns.Draw(t, "columns"),
		}
		if rapid.Bool().Draw(t, "has old columns") {
			r.OldColumns = columns.Draw(t, "old columns")
		}
		return r
	})
	return &Event{
		Version: version,
		Batch: Batch{
			ID: rapid.String().Draw(t, "batch"), Attempt: rapid.IntMin(1).Draw(t, "attempt"), Trigger: rapid.String().Draw(t, "trigger"),
			Tunnel: rapid.String().Draw(t, "tunnel"), Channel: rapid.String().Draw(t, "channel"), Lane: rapid.IntRange(0, 63).Draw(t, "lane"),
		},
		Records: rapid.SliceOfN(record, 0, 3).Draw(t, "records"),
	}
})

func TestAnEventIsTheSameInEitherFormat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent.Draw(t, "event")
		for format, marshal := range marshalers {
			payload, err := marshal(e)
			if err != nil {
				t.Fatal(format, err)
			}
			if isCBOR(payload) != (format == "cbor") {
				t.Fatalf("%s begins like another format: %x", format, payload[:1])
			}
			got, err := Decode(payload)
			if diff := cmp.Diff(e, got, cmpopts.EquateComparable(Value{}), cmpopts.IgnoreUnexported(Record{})); diff != "" || err != nil {
				t.Fatal(format, diff, err)
			}
		}
	})
}

// writer writes CBOR in every way that is allowed, as t draws it.
type writer struct {
	t *rapid.T
	b []byte
}

// head writes a major type with its argument, not always in the fewest bytes.
func (w *writer) head(major byte, n uint64) {
	least := 0
	for _, limit := range []uint64{23, math.MaxUint8, math.MaxUint16, math.MaxUint32} {
		if n > limit {
			least++
		}
	}
	switch rapid.IntRange(least, 4).Draw(w.t, "size of the head") {
	case 0:
		w.b = append(w.b, major<<5|byte(n))
	case 1:
		w.b = append(w.b, major<<5|24, byte(n))
	case 2:
		w.b = binary.BigEndian.AppendUint16(append(w.b, major<<5|25), uint16(n))
	case 3:
		w.b = binary.BigEndian.AppendUint32(append(w.b, major<<5|26), uint32(n))
	case 4:
		w.b = binary.BigEndian.AppendUint64(append(w.b, major<<5|27), n)
	}
}

func (w *writer) indefinite() bool { return rapid.Bool().Draw(w.t, "indefinite") }

func (w *writer) integer(v int64) {
	if v < 0 {
		w.head(1, uint64(^v))
	} else {
		w.head(0, uint64(v))
	}
}

// data writes a byte string (major type 2) or, by runes, a text (3).
func (w *writer) data(major byte, pieces []string) {
	if !w.indefinite() {
		all := strings.Join(pieces, "")
		w.head(major, uint64(len(all)))
		w.b = append(w.b, all...)
		return
	}
	w.b = append(w.b, major<<5|31)
	for _, piece := range pieces {
		w.head(major, uint64(len(piece)))
		w.b = append(w.b, piece...)
	}
	w.b = append(w.b, 0xff)
}

func (w *writer) text(s string) { w.data(3, strings.Split(s, "")) }

func (w *writer) list(n int, item func(i int)) {
	indefinite := w.indefinite()
	if indefinite {
		w.b = append(w.b, 0x9f)
	} else {
		w.head(4, uint64(n))
	}
	for i := range n {
		item(i)
	}
	if indefinite {
		w.b = append(w.b, 0xff)
	}
}

// object writes a map with its keys in any order, and among them one that
// nobody knows.
func (w *writer) object(members map[string]func()) {
	members["Unknown"] = func() {
		unknown := rapid.SampledFrom([]string{"\xf6", "\x9f\x01\xff", "\xa1\x01\xa1\x41\xff\xf7", "\xc0\x61x", "\x5f\x41\x00\xff", "\xfa\x7f\xc0\x00\x00"}).Draw(w.t, "unknown")
		w.b = append(w.b, unknown...)
	}
	names := slices.Sorted(maps.Keys(members))
	indefinite := w.indefinite()
	if indefinite {
		w.b = append(w.b, 0xbf)
	} else {
		w.head(5, uint64(len(names)))
	}
	for _, name := range rapid.Permutation(names).Draw(w.t, "keys") {
		w.text(name)
		members[name]()
	}
	if indefinite {
		w.b = append(w.b, 0xff)
	}
}

func (w *writer) value(v Value) {
	switch v := v.Any().(type) {
	case int64:
		w.integer(v)
	case float64:
		if half := float32(v); rapid.Bool().Draw(w.t, "short") && (float64(half) == v || math.IsNaN(v)) {
			w.b = binary.BigEndian.AppendUint32(append(w.b, 0xfa), math.Float32bits(half))
		} else {
			w.b = binary.BigEndian.AppendUint64(append(w.b, 0xfb), math.Float64bits(v))
		}
	case bool:
		w.b = append(w.b, map[bool]byte{false: 0xf4, true: 0xf5}[v])
	case string:
		w.text(v)
	case []byte:
		w.data(2, []string{string(v[:len(v)/2]), string(v[len(v)/2:])})
	default:
		w.b = append(w.b, rapid.SampledFrom([]byte{0xf6, 0xf7}).Draw(w.t, "null"))
	}
}

func (w *writer) columns(columns []Column) {
	w.list(len(columns), func(i int) {
		c := columns[i]
		w.object(map[string]func(){
			"Type": func() { w.text(c.Type) }, "ColumnName": func() { w.text(c.ColumnName) },
			"Value": func() { w.value(c.Value) }, "Timestamp": func() { w.integer(c.Timestamp) },
		})
	})
}

func (w *writer) record(r *Record) {
	members := map[string]func(){
		"Id": func() { w.text(r.ID) }, "Type": func() { w.text(r.Type) },
		"Info": func() {
			w.object(map[string]func(){"Timestamp": func() { w.integer(r.Info.Timestamp) }})
		},
		"PrimaryKey": func() {
			w.list(len(r.PrimaryKey), func(i int) {
				w.object(map[string]func(){
					"ColumnName": func() { w.text(r.PrimaryKey[i].ColumnName) }, "Value": func() { w.value(r.PrimaryKey[i].Value) },
				})
			})
		},
		"Columns": func() { w.columns(r.Columns) },
	}
	if r.OldColumns != nil {
		members["OldColumns"] = func() { w.columns(r.OldColumns) }
	}
	w.object(members)
}

// TestCBORIsReadHoweverItIsWritten: nobody has captured what the native
// trigger writes.
func TestCBORIsReadHoweverItIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent.Draw(t, "event")
		w := &writer{t: t}
		if rapid.Bool().Draw(t, "says that it is CBOR") {
			w.b = append(w.b, selfDescribed...)
		}
		w.object(map[string]func(){
			"Version": func() { w.text(e.Version) },
			"Batch": func() {
				w.object(map[string]func(){
					"Id": func() { w.text(e.Batch.ID) }, "Attempt": func() { w.integer(int64(e.Batch.Attempt)) }, "Trigger": func() { w.text(e.Batch.Trigger) },
					"Tunnel": func() { w.text(e.Batch.Tunnel) }, "Channel": func() { w.text(e.Batch.Channel) }, "Lane": func() { w.integer(int64(e.Batch.Lane)) },
				})
			},
			"Records": func() { w.list(len(e.Records), func(i int) { w.record(e.Records[i]) }) },
		})
		got, err := Decode(w.b)
		if diff := cmp.Diff(e, got, cmpopts.EquateComparable(Value{}), cmpopts.IgnoreUnexported(Record{}), cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Fatalf("%x: %s, %v", w.b, diff, err)
		}
	})
}

func TestAnEventDoesNotAliasItsCBOR(t *testing.T) {
	payload := []byte("\xa2\x67Version\x67Sync-v1\x67Records\x81\xa2\x62Id\x62r1\x6aPrimaryKey\x82" +
		"\xa2\x6aColumnName\x61k\x65Value\x62xy\xa2\x6aColumnName\x61b\x65Value\x42\x00\xff")
	e, err := Decode(payload)
	if err != nil {
		t.Fatal(err)
	}
	clear(payload)
	want := &Record{ID: "r1", PrimaryKey: []KeyColumn{{"k", StringValue("xy")}, {"b", BlobValue([]byte{0, 255})}}}
	if diff := cmp.Diff(want, e.Records[0], cmpopts.EquateComparable(Value{}), cmpopts.IgnoreUnexported(Record{})); diff != "" {
		t.Error(diff)
	}
}

func TestABatchMayBeLongInCBOR(t *testing.T) {
	const records = 200_000 // more than the library takes by itself
	payload := binary.BigEndian.AppendUint32([]byte("\xa2\x67Version\x67Sync-v1\x67Records\x9a"), records)
	payload = append(payload, bytes.Repeat([]byte{0xa0}, records)...)
	if e, err := Decode(payload); err != nil || len(e.Records) != records {
		t.Error(err)
	}
}

func TestEveryValueComesBackFromCBORAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := anyValue().Draw(t, "value")
		b, err := cbor.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var back Value
		if err := cbor.Unmarshal(b, &back); err != nil || back != v {
			t.Fatalf("%#v became %x became %#v, %v", v, b, back, err)
		}
	})
}

func TestValuesInCBOR(t *testing.T) {
	for text, want := range map[string]Value{
		"\x00": IntegerValue(0), "\x20": IntegerValue(-1), "\x1b\x7f\xff\xff\xff\xff\xff\xff\xff": IntegerValue(math.MaxInt64),
		"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff": IntegerValue(math.MinInt64), "\x18\x05": IntegerValue(5),
		"\xf9\x3c\x00": DoubleValue(1), "\xfa\x3f\x80\x00\x00": DoubleValue(1), "\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00": DoubleValue(1),
		"\xfb\x80\x00\x00\x00\x00\x00\x00\x00": DoubleValue(math.Copysign(0, -1)), "\xf9\x7c\x00": DoubleValue(math.Inf(1)),
		"\xf9\x7e\x00": DoubleValue(math.NaN()), "\xfb\xff\xf8\x00\x00\x00\x00\x00\x05": DoubleValue(math.NaN()),
		"\xf4": BooleanValue(false), "\xf5": BooleanValue(true), "\xf6": {}, "\xf7": {},
		"\x60": StringValue(""), "\x7f\x61a\x61b\xff": StringValue("ab"), "\x40": BlobValue(nil), "\x5f\x41a\x40\x41b\xff": BlobValue([]byte("ab")),
	} {
		v := IntegerValue(1)
		if err := cbor.Unmarshal([]byte(text), &v); err != nil || v != want {
			t.Errorf("%x: %#v, %v; want %#v", text, v, err, want)
		}
	}
	for text, problem := range map[string]string{
		"\x1b\x80\x00\x00\x00\x00\x00\x00\x00": "64 bits", "\x3b\x80\x00\x00\x00\x00\x00\x00\x00": "64 bits",
		"\x81\x01": "list", "\xa0": "map", "\xc2\x41\x01": "tag", "\xc1\x00": "tag", "\xe0": "simple", "\xf8\xff": "simple", "\x61\xff": "UTF-8",
		"\x62a": "EOF", "": "EOF", "\x01\x01": "extraneous", "\xff": "break",
	} {
		v := IntegerValue(1)
		err := v.UnmarshalCBOR([]byte(text))
		if _, ok := errors.AsType[*ValueError](err); !ok || !strings.Contains(err.Error(), problem) || v != IntegerValue(1) {
			t.Errorf("%x: %#v, %v", text, v, err)
		}
	}
	for f, want := range map[float64]string{1: "fb3ff0000000000000", math.Inf(1): "fb7ff0000000000000", math.Inf(-1): "fbfff0000000000000"} {
		if b, err := cbor.Marshal(DoubleValue(f)); fmt.Sprintf("%x", b) != want || err != nil {
			t.Errorf("%v: %x, %v", f, b, err)
		}
	}
	if b, err := cbor.Marshal(StringValue("\xff")); err == nil {
		t.Errorf("not UTF-8: %x", b)
	}
}

// FuzzValueInCBOR: what is read is written so that it reads the same, in
// either format.
func FuzzValueInCBOR(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		var v Value
		if err := v.UnmarshalCBOR(b); err != nil {
			return
		}
		text, err := v.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		item, err := v.MarshalCBOR()
		if err != nil {
			t.Fatal(err)
		}
		var fromJSON, fromCBOR Value
		if err := fromJSON.UnmarshalJSON(text); err != nil || fromJSON != v {
			t.Fatalf("%x: %#v became %s became %#v, %v", b, v, text, fromJSON, err)
		}
		if err := fromCBOR.UnmarshalCBOR(item); err != nil || fromCBOR != v {
			t.Fatalf("%x: %#v became %x became %#v, %v", b, v, item, fromCBOR, err)
		}
	})
}
