package event_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/dispatcher/internal/event"
	"github.com/culvertio/culvert/functions"
	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

func TestHandlersDecodeWhatIsEncoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := rows.Draw(t, "row")
		var origin *plainbuffer.Row
		if rapid.Bool().Draw(t, "has origin") {
			origin = new(rows.Draw(t, "origin"))
		}
		records := [][]byte{event.AppendRecord(nil, tunnel.UpdateRow, &row, origin, "id-1")}

		got, err := functions.Decode(event.AppendPayload(nil, header, records))
		if err != nil {
			t.Fatal(err)
		}
		want := &functions.Event{
			Version: "Sync-v1",
			Batch:   functions.Batch{ID: header.BatchID, Attempt: header.Attempt, Trigger: header.Trigger, Tunnel: header.Tunnel, Channel: header.Channel, Lane: header.Lane},
			Records: []*functions.Record{{ID: "id-1", Type: "UpdateRow", Columns: decodedColumns(row.Columns)}},
		}
		if row.HasSequence {
			want.Records[0].Info.Timestamp = row.Sequence.Timestamp
		}
		for _, c := range row.Key {
			want.Records[0].PrimaryKey = append(want.Records[0].PrimaryKey, functions.KeyColumn{ColumnName: carried(c.Name), Value: decodedValue(c.Value)})
		}
		if origin != nil {
			want.Records[0].OldColumns = decodedColumns(origin.Columns)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(functions.Record{}), cmp.Comparer(func(a, b functions.Value) bool { return a == b })); diff != "" {
			t.Fatalf("event (-want +got):\n%s", diff)
		}
	})
}

func decodedColumns(cells []plainbuffer.Cell) []functions.Column {
	var columns []functions.Column
	for _, c := range cells {
		column := functions.Column{Type: "Put", ColumnName: carried(c.Name), Value: decodedValue(c.Value)}
		switch c.Op {
		case plainbuffer.DeleteOneVersion:
			column.Type, column.Value = "DeleteOneVersion", functions.Value{}
		case plainbuffer.DeleteAllVersions:
			column.Type, column.Value = "DeleteAllVersions", functions.Value{}
		}
		if c.HasTimestamp {
			column.Timestamp = c.Timestamp
		}
		columns = append(columns, column)
	}
	return columns
}

func decodedValue(v plainbuffer.Value) functions.Value {
	switch v.Type() {
	case plainbuffer.Integer:
		return functions.IntegerValue(v.Integer())
	case plainbuffer.Double:
		if math.IsNaN(v.Double()) { // of the many, JSON carries one
			return functions.DoubleValue(math.NaN())
		}
		return functions.DoubleValue(v.Double())
	case plainbuffer.Boolean:
		return functions.BooleanValue(v.Boolean())
	case plainbuffer.String:
		return functions.StringValue(carried(v.Bytes()))
	case plainbuffer.Blob:
		return functions.BlobValue(v.Bytes())
	}
	return functions.Value{}
}
