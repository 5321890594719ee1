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

func TestHandlersDecodeWhatIsEncodedInEitherFormat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := rows.Draw(t, "row")
		var origin *plainbuffer.Row
		if rapid.Bool().Draw(t, "has origin") {
			origin = new(rows.Draw(t, "origin"))
		}
		want := &functions.Event{
			Version: "Sync-v1",
			Batch:   functions.Batch{ID: header.BatchID, Attempt: header.Attempt, Trigger: header.Trigger, Tunnel: header.Tunnel, Channel: header.Channel, Lane: header.Lane},
			Records: []*functions.Record{{ID: "id-1", Type: "UpdateRow", PrimaryKey: []functions.KeyColumn{}, Columns: decodedColumns(row.Columns)}},
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
		for _, format := range []event.Format{event.JSON, event.CBOR} {
			records := [][]byte{format.AppendRecord(nil, tunnel.UpdateRow, &row, origin, "id-1")}
			got, err := functions.Decode(format.AppendPayload(nil, header, records))
			if err != nil {
				t.Fatalf("%s: %v", format.ContentType(), err)
			}
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(functions.Record{}), cmpopts.EquateComparable(functions.Value{})); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", format.ContentType(), diff)
			}
		}
	})
}

func decodedColumns(cells []plainbuffer.Cell) []functions.Column {
	columns := []functions.Column{}
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
		if math.IsNaN(v.Double()) { // of the many, handlers see one
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
