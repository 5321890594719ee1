package functions

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const orders = `{"Version":"Sync-v1",
 "Batch":{"Id":"b1","Attempt":2,"Trigger":"index","Tunnel":"t","Channel":"c","Lane":3},
 "Records":[
  {"Id":"00000001:0005a0f3c9d5e2b0:00000002","Type":"UpdateRow","Info":{"Timestamp":1730000000000001},
   "PrimaryKey":[{"ColumnName":"k","Value":"ключ"},{"ColumnName":"n","Value":-9223372036854775808},{"ColumnName":"b","Value":{"Base64":"AP8="}}],
   "Columns":[
    {"Type":"Put","ColumnName":"amount","Value":1.0,"Timestamp":1730000000000},
    {"Type":"Put","ColumnName":"amount","Value":2,"Timestamp":1730000000001},
    {"Type":"DeleteOneVersion","ColumnName":"note","Value":null,"Timestamp":1729999999999},
    {"Type":"DeleteAllVersions","ColumnName":"paid","Value":null,"Timestamp":0}],
   "OldColumns":[{"Type":"Put","ColumnName":"amount","Value":true,"Timestamp":5}]},
  {"Type":"DeleteRow","Info":{"Timestamp":0},"PrimaryKey":[{"ColumnName":"k","Value":""}],"Columns":[]}]}`

func TestAnEventIsDecodedWithEveryField(t *testing.T) {
	want := &Event{
		Version: "Sync-v1",
		Batch:   Batch{ID: "b1", Attempt: 2, Trigger: "index", Tunnel: "t", Channel: "c", Lane: 3},
		Records: []*Record{
			{
				ID: "00000001:0005a0f3c9d5e2b0:00000002", Type: "UpdateRow", Info: Info{Timestamp: 1730000000000001},
				PrimaryKey: []KeyColumn{{"k", StringValue("ключ")}, {"n", IntegerValue(-1 << 63)}, {"b", BlobValue([]byte{0, 255})}},
				Columns: []Column{
					{"Put", "amount", DoubleValue(1), 1730000000000},
					{"Put", "amount", IntegerValue(2), 1730000000001},
					{"DeleteOneVersion", "note", Value{}, 1729999999999},
					{"DeleteAllVersions", "paid", Value{}, 0},
				},
				OldColumns: []Column{{"Put", "amount", BooleanValue(true), 5}},
			},
			{Type: "DeleteRow", PrimaryKey: []KeyColumn{{"k", StringValue("")}}, Columns: []Column{}},
		},
	}
	for name, text := range map[string]string{"as given": orders, "with space before it": " \n" + orders} {
		got, err := Decode([]byte(text))
		if err != nil {
			t.Fatal(name, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(Value{}), cmpopts.IgnoreUnexported(Record{})); diff != "" {
			t.Error(name, diff)
		}
	}
}

func TestAnEventMarshalsToWhatItWasDecodedFrom(t *testing.T) {
	e, err := Decode([]byte(orders))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(b)
	if diff := cmp.Diff(e, back, cmpopts.EquateComparable(Value{}), cmpopts.IgnoreUnexported(Record{})); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestAnEventOfTheNativeTriggerHasNoBatch(t *testing.T) {
	e, err := Decode([]byte(`{"Records":[],"Version":"Sync-v1"}`))
	if err != nil || e.Batch != (Batch{}) {
		t.Error(e, err)
	}
}

func TestAPayloadThatIsNoEventSaysWhatToDo(t *testing.T) {
	for payload, problem := range map[string]string{
		"":                               "empty",
		" \n":                            "empty",
		"hello":                          "begins with byte 0x68",
		"[]":                             "begins with byte 0x5b",
		"\xa1\x67Version":                "unexpected EOF",
		"\xa0":                           `the version is "", not "Sync-v1"`,
		"\xa1\x67Version\x67Sync-v2":     `the version is "Sync-v2"`,
		"\xa1\x67Version\x67Sync-v1\xa0": "extraneous data",
		"\xa2\x67Version\x67Sync-v1\x67Version\x67Sync-v1":          "duplicate map key",
		"\xa2\x67Version\x67Sync-v1\x67Records\x81\xf6":             "record 0 is null",
		"\xd9\xd9\xf7\xa2\x67Version\x67Sync-v1\x67Records\x81\xf6": "record 0 is null",
		"\xbc":                                   "invalid additional information",
		"\x81\xa0":                               "begins with byte 0x81",
		"\xd9\xd9\xf7":                           "begins with byte 0xd9",
		"\xd9\xd9\xf7{":                          "begins with byte 0xd9",
		" \xa1\x67Version\x67Sync-v1":            "begins with byte 0x20",
		`{"Version":"Sync-v1"`:                   "unexpected end",
		`{"Version":"Sync-v1"} {}`:               "after top-level value",
		`{}`:                                     `the version is "", not "Sync-v1"`,
		`{"Version":"Sync-v2"}`:                  `the version is "Sync-v2"`,
		`{"Version":"Sync-v1","Records":[null]}`: "record 0 is null",
		`{"Version":"Sync-v1","Records":[{"PrimaryKey":[{"Value":1e999}]}]}`:    "1e999",
		`{"Version":"Sync-v1","Records":[{"Columns":[{"Value":{"Hex":"0"}}]}]}`: "Base64",
	} {
		e, err := Decode([]byte(payload))
		if _, ok := errors.AsType[*DecodeError](err); !ok || !strings.Contains(err.Error(), problem) {
			t.Errorf("%q: %v, %v; want %q", payload, e, err, problem)
		}
	}
}

func TestColumnIsTheNewestValuePut(t *testing.T) {
	r := &Record{
		PrimaryKey: []KeyColumn{{"k", IntegerValue(1)}},
		Columns: []Column{
			{"Put", "versions", IntegerValue(2), 2},
			{"Put", "versions", IntegerValue(1), 1},
			{"Put", "undated", IntegerValue(1), 0},
			{"Put", "undated", IntegerValue(2), 0},
			{"DeleteAllVersions", "gone", Value{}, 0},
		},
	}
	for name, want := range map[string]Value{"versions": IntegerValue(2), "undated": IntegerValue(2)} {
		if got, ok := r.Column(name); !ok || got != want {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"gone", "unknown", "k"} {
		if got, ok := r.Column(name); ok {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := r.Key("k"); got != IntegerValue(1) {
		t.Error(got)
	}
	if got := r.Key("versions"); got != (Value{}) {
		t.Error(got)
	}
}

// FuzzDecode: no payload makes it panic, and what is decoded marshals to an
// event that decodes the same, in either format.
func FuzzDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, payload []byte) {
		e, err := Decode(payload)
		if err != nil {
			if _, ok := errors.AsType[*DecodeError](err); !ok {
				t.Fatalf("%T", err)
			}
			return
		}
		for format, marshal := range marshalers {
			b, err := marshal(e)
			if err != nil {
				t.Fatal(format, err)
			}
			back, err := Decode(b)
			if diff := cmp.Diff(e, back, cmpopts.EquateComparable(Value{}), cmpopts.IgnoreUnexported(Record{})); diff != "" || err != nil {
				t.Fatal(format, diff, err)
			}
		}
	})
}
