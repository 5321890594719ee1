package event_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/dispatcher/internal/event"
	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

func cell(name string, v plainbuffer.Value) plainbuffer.Cell {
	return plainbuffer.Cell{Name: []byte(name), Value: v}
}

func versioned(name string, v plainbuffer.Value, op plainbuffer.Op, ms int64) plainbuffer.Cell {
	return plainbuffer.Cell{Name: []byte(name), Value: v, Op: op, Timestamp: ms, HasTimestamp: true}
}

var header = event.Header{BatchID: "f02f077ba952a9e159c0ff00343a4413", Attempt: 2, Trigger: "index", Tunnel: "tunnel-1", Channel: "channel-1", Lane: 3}

func TestAJSONPayloadHasTheNativeTriggersShape(t *testing.T) {
	row := plainbuffer.Row{
		Key: []plainbuffer.Cell{cell("pk", plainbuffer.StringValue("order \"1\"")), cell("n", plainbuffer.IntegerValue(math.MinInt64)), cell("b", plainbuffer.BlobValue([]byte{0xff, 0}))},
		Columns: []plainbuffer.Cell{
			versioned("amount", plainbuffer.DoubleValue(1), plainbuffer.Put, 1700000000123),
			versioned("paid", plainbuffer.BooleanValue(true), plainbuffer.Put, 1700000000123),
			versioned("old", plainbuffer.NoValue(), plainbuffer.DeleteOneVersion, 1600000000000),
			{Name: []byte("gone"), Op: plainbuffer.DeleteAllVersions},
		},
		HasSequence: true,
		Sequence:    plainbuffer.Sequence{Timestamp: 1700000000123456, RowIndex: 1},
	}
	origin := plainbuffer.Row{Columns: []plainbuffer.Cell{versioned("amount", plainbuffer.DoubleValue(math.Inf(-1)), plainbuffer.Put, 5)}}
	base := plainbuffer.Row{Key: []plainbuffer.Cell{cell("pk", plainbuffer.StringValue("é\u2028"))}}
	records := [][]byte{
		event.JSON.AppendRecord(nil, tunnel.UpdateRow, &row, &origin, "00000000:00060a24181e4040:00000001"),
		event.JSON.AppendRecord(nil, tunnel.PutRow, &base, nil, "base:0000000000000abc"),
	}
	got := string(event.JSON.AppendPayload(nil, header, records))
	want := `{"Version":"Sync-v1",` +
		`"Batch":{"Id":"f02f077ba952a9e159c0ff00343a4413","Attempt":2,"Trigger":"index","Tunnel":"tunnel-1","Channel":"channel-1","Lane":3},` +
		`"Records":[` +
		`{"Id":"00000000:00060a24181e4040:00000001","Type":"UpdateRow","Info":{"Timestamp":1700000000123456},` +
		`"PrimaryKey":[{"ColumnName":"pk","Value":"order \"1\""},{"ColumnName":"n","Value":-9223372036854775808},{"ColumnName":"b","Value":{"Base64":"/wA="}}],` +
		`"Columns":[{"Type":"Put","ColumnName":"amount","Value":1.0,"Timestamp":1700000000123},` +
		`{"Type":"Put","ColumnName":"paid","Value":true,"Timestamp":1700000000123},` +
		`{"Type":"DeleteOneVersion","ColumnName":"old","Value":null,"Timestamp":1600000000000},` +
		`{"Type":"DeleteAllVersions","ColumnName":"gone","Value":null,"Timestamp":0}],` +
		`"OldColumns":[{"Type":"Put","ColumnName":"amount","Value":{"Double":"-Infinity"},"Timestamp":5}]},` +
		`{"Id":"base:0000000000000abc","Type":"PutRow","Info":{"Timestamp":0},` +
		"\"PrimaryKey\":[{\"ColumnName\":\"pk\",\"Value\":\"é\u2028\"}],\"Columns\":[]}" +
		`]}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
}

// decoded is an event as encoding/json reads it, its values left raw.
type decoded struct {
	Version string
	Batch   struct {
		ID      string `json:"Id"`
		Attempt int
		Trigger string
		Tunnel  string
		Channel string
		Lane    int
	}
	Records []struct {
		ID         string `json:"Id"`
		Type       string
		Info       struct{ Timestamp int64 }
		PrimaryKey []column
		Columns    []column
		OldColumns []column
	}
}

type column struct {
	Type       string
	ColumnName string
	Value      json.RawMessage
	Timestamp  int64
}

func decode(t *rapid.T, payload []byte) decoded {
	t.Helper()
	var d decoded
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		t.Fatalf("%v in %s", err, payload)
	}
	if dec.More() {
		t.Fatalf("something follows the payload %s", payload)
	}
	return d
}

// value reads a value by the rules of the event, with none of the code that
// wrote it.
func value(t *rapid.T, raw json.RawMessage) plainbuffer.Value {
	t.Helper()
	text := string(raw)
	switch text[0] {
	case 'n':
		return plainbuffer.NoValue()
	case 't', 'f':
		return plainbuffer.BooleanValue(text == "true")
	case '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		return plainbuffer.StringValue(s)
	case '{':
		var wrapped map[string]string
		if err := json.Unmarshal(raw, &wrapped); err != nil || len(wrapped) != 1 {
			t.Fatalf("%s: %v", raw, err)
		}
		if b, ok := wrapped["Base64"]; ok {
			blob, err := base64.StdEncoding.DecodeString(b)
			if err != nil {
				t.Fatal(err)
			}
			return plainbuffer.BlobValue(blob)
		}
		f, err := strconv.ParseFloat(wrapped["Double"], 64)
		if err != nil {
			t.Fatal(err)
		}
		return plainbuffer.DoubleValue(f)
	}
	if strings.ContainsAny(text, ".eE") {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		return plainbuffer.DoubleValue(f)
	}
	i, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return plainbuffer.IntegerValue(i)
}

// carried is what JSON can carry of a text: each byte that is not UTF-8
// becomes U+FFFD.
func carried(s []byte) string { return string([]rune(string(s))) }

func sameValue(got, want plainbuffer.Value) bool {
	if got.Type() != want.Type() {
		return false
	}
	switch want.Type() {
	case plainbuffer.Double:
		if math.IsNaN(want.Double()) {
			return math.IsNaN(got.Double())
		}
		return math.Float64bits(got.Double()) == math.Float64bits(want.Double())
	case plainbuffer.String:
		return string(got.Bytes()) == carried(want.Bytes())
	}
	return got.Integer() == want.Integer() && bytes.Equal(got.Bytes(), want.Bytes())
}

func TestEveryValueComesBackFromJSON(t *testing.T) {
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
		record := event.JSON.AppendRecord([]byte("kept"), action, &row, origin, id)
		record, isAppended := bytes.CutPrefix(record, []byte("kept"))
		if !isAppended {
			t.Fatal("what was in the buffer is gone")
		}
		n := rapid.IntRange(0, 3).Draw(t, "records")
		var records [][]byte
		for range n {
			records = append(records, record)
		}
		payload := event.JSON.AppendPayload(nil, h, records)

		if want := event.JSON.Overhead(h) + event.JSON.Joints(n) + n*len(record); len(payload) != want {
			t.Fatalf("payload of %d bytes, announced were %d", len(payload), want)
		}
		d := decode(t, payload)
		if d.Version != "Sync-v1" || d.Batch.ID != carried([]byte(h.BatchID)) || d.Batch.Attempt != h.Attempt ||
			d.Batch.Trigger != carried([]byte(h.Trigger)) || d.Batch.Tunnel != carried([]byte(h.Tunnel)) ||
			d.Batch.Channel != carried([]byte(h.Channel)) || d.Batch.Lane != h.Lane {
			t.Fatalf("header %+v came back as %+v", h, d.Batch)
		}
		if len(d.Records) != n {
			t.Fatalf("%d records became %d", n, len(d.Records))
		}
		for _, r := range d.Records {
			if r.ID != carried([]byte(id)) || r.Type != action.String() {
				t.Fatalf("id %q type %q", r.ID, r.Type)
			}
			if want := row.Sequence.Timestamp; row.HasSequence && r.Info.Timestamp != want || !row.HasSequence && r.Info.Timestamp != 0 {
				t.Fatalf("timestamp %d of %+v", r.Info.Timestamp, row)
			}
			if len(r.PrimaryKey) != len(row.Key) {
				t.Fatalf("%d key columns became %d", len(row.Key), len(r.PrimaryKey))
			}
			for i, c := range row.Key {
				if got := r.PrimaryKey[i]; got.ColumnName != carried(c.Name) || !sameValue(value(t, got.Value), c.Value) {
					t.Fatalf("key column %+v came back as %s", c, got.Value)
				}
			}
			checkColumns(t, r.Columns, row.Columns)
			if (r.OldColumns != nil) != (origin != nil) {
				t.Fatalf("origin %v, OldColumns %v", origin, r.OldColumns)
			}
			if origin != nil {
				checkColumns(t, r.OldColumns, origin.Columns)
			}
		}
	})
}

func checkColumns(t *rapid.T, got []column, want []plainbuffer.Cell) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d columns became %d", len(want), len(got))
	}
	for i, c := range want {
		types := map[plainbuffer.Op]string{
			plainbuffer.Put: "Put", plainbuffer.DeleteAllVersions: "DeleteAllVersions",
			plainbuffer.DeleteOneVersion: "DeleteOneVersion", plainbuffer.Increment: "Increment",
		}
		wantValue := c.Value
		if c.Op == plainbuffer.DeleteAllVersions || c.Op == plainbuffer.DeleteOneVersion {
			wantValue = plainbuffer.NoValue()
		}
		var wantTimestamp int64
		if c.HasTimestamp {
			wantTimestamp = c.Timestamp
		}
		if g := got[i]; g.Type != types[c.Op] || g.ColumnName != carried(c.Name) || g.Timestamp != wantTimestamp || !sameValue(value(t, g.Value), wantValue) {
			t.Fatalf("column %+v came back as %+v (%s)", c, g, g.Value)
		}
	}
}

func TestAppendingAllocatesNothing(t *testing.T) {
	row, origin := wideRow(), wideRow()
	id := "00000000:00060a24181e4040:00000001"
	for _, format := range []event.Format{event.JSON, event.CBOR} {
		buf := make([]byte, 0, 64<<10)
		if n := testing.AllocsPerRun(100, func() {
			buf = format.AppendRecord(buf[:0], tunnel.UpdateRow, row, origin, id)
		}); n != 0 {
			t.Errorf("%s: AppendRecord allocates %v times", format.ContentType(), n)
		}
		records := [][]byte{bytes.Clone(buf), bytes.Clone(buf)}
		if n := testing.AllocsPerRun(100, func() {
			buf = format.AppendPayload(buf[:0], header, records)
		}); n != 0 {
			t.Errorf("%s: AppendPayload allocates %v times", format.ContentType(), n)
		}
		if n := testing.AllocsPerRun(100, func() { format.Joints(format.Overhead(header)) }); n != 0 {
			t.Errorf("%s: Overhead and Joints allocate %v times", format.ContentType(), n)
		}
	}
}

func wideRow() *plainbuffer.Row {
	return &plainbuffer.Row{
		Key: []plainbuffer.Cell{cell("user", plainbuffer.StringValue("user-0000123")), cell("order", plainbuffer.IntegerValue(math.MaxInt64))},
		Columns: []plainbuffer.Cell{
			versioned("amount", plainbuffer.DoubleValue(1234.5678), plainbuffer.Put, 1700000000123),
			versioned("paid", plainbuffer.BooleanValue(true), plainbuffer.Put, 1700000000123),
			versioned("note", plainbuffer.StringValue("grüße 🚚 an \"alle\"\n\x00\xff, and a longer stretch of plain text after it"), plainbuffer.Put, 1700000000123),
			versioned("photo", plainbuffer.BlobValue(make([]byte, 300)), plainbuffer.Put, 1700000000123),
			versioned("old", plainbuffer.NoValue(), plainbuffer.DeleteAllVersions, 1700000000123),
		},
		HasSequence: true,
		Sequence:    plainbuffer.Sequence{Timestamp: 1700000000123456, RowIndex: 1},
	}
}

func BenchmarkAppendRecord(b *testing.B) {
	row := wideRow()
	row.Columns[2] = versioned("note", plainbuffer.StringValue("grüße 🚚 an \"alle\"\n, and a longer stretch of plain text after it"), plainbuffer.Put, 1700000000123)
	id := "00000000:00060a24181e4040:00000001"
	for name, format := range map[string]event.Format{"json": event.JSON, "cbor": event.CBOR} {
		b.Run(name, func(b *testing.B) {
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = format.AppendRecord(buf[:0], tunnel.UpdateRow, row, nil, id)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}
