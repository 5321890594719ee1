package conformance

import (
	"bytes"
	"math"
	"testing"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tunnel/protocol"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// value draws a value that a column, or a key column, may have.
func value(t *rapid.T, isKey bool) plainbuffer.Value {
	kinds := 5
	if isKey {
		kinds = 3
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return plainbuffer.IntegerValue(rapid.Int64().Draw(t, "integer"))
	case 1:
		return plainbuffer.StringValue(rapid.String().Draw(t, "string"))
	case 2:
		return plainbuffer.BlobValue(rapid.SliceOf(rapid.Byte()).Draw(t, "blob"))
	case 3:
		return plainbuffer.DoubleValue(math.Float64frombits(rapid.Uint64().Draw(t, "double")))
	}
	return plainbuffer.BooleanValue(rapid.Bool().Draw(t, "boolean"))
}

// equal says whether boxed, a value as the official SDK gives it, is v.
func equal(v plainbuffer.Value, boxed any) bool {
	switch v.Type() {
	case plainbuffer.Integer:
		return boxed == v.Integer()
	case plainbuffer.Double:
		d, ok := boxed.(float64)
		return ok && math.Float64bits(d) == math.Float64bits(v.Double())
	case plainbuffer.Boolean:
		return boxed == v.Boolean()
	case plainbuffer.String:
		return boxed == string(v.Bytes())
	case plainbuffer.Blob:
		b, ok := boxed.([]byte)
		return ok && bytes.Equal(b, v.Bytes())
	}
	return boxed == nil
}

func TestTheOfficialReaderReadsWhatOursWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var row plainbuffer.Row
		for range rapid.IntRange(1, 4).Draw(t, "key columns") {
			row.Key = append(row.Key, plainbuffer.Cell{Name: []byte(rapid.String().Draw(t, "name")), Value: value(t, true)})
		}
		for range rapid.IntRange(0, 5).Draw(t, "columns") {
			c := plainbuffer.Cell{Name: []byte(rapid.String().Draw(t, "name"))}
			c.Op = rapid.SampledFrom([]plainbuffer.Op{plainbuffer.Put, plainbuffer.DeleteAllVersions, plainbuffer.DeleteOneVersion}).Draw(t, "op")
			c.HasTimestamp = c.Op != plainbuffer.DeleteAllVersions
			if c.HasTimestamp {
				c.Timestamp = rapid.Int64().Draw(t, "version")
			}
			c.Value = plainbuffer.NoValue()
			if c.Op == plainbuffer.Put {
				c.Value = value(t, false)
			}
			row.Columns = append(row.Columns, c)
		}
		row.Deleted = rapid.Bool().Draw(t, "deleted")
		if row.HasSequence = rapid.Bool().Draw(t, "stream"); row.HasSequence {
			row.Sequence = plainbuffer.Sequence{
				Epoch: rapid.Int32().Draw(t, "epoch"), Timestamp: rapid.Int64().Draw(t, "timestamp"), RowIndex: rapid.Int32().Draw(t, "index"),
			}
		}
		rows, err := protocol.ReadRowsWithHeader(bytes.NewReader(plainbuffer.Append(nil, &row)))
		if err != nil || len(rows) != 1 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		read := rows[0]
		if len(read.PrimaryKey) != len(row.Key) || len(read.Cells) != len(row.Columns) || read.HasDeleteMarker != row.Deleted {
			t.Fatalf("read %d key columns, %d columns, delete marker %v", len(read.PrimaryKey), len(read.Cells), read.HasDeleteMarker)
		}
		for i, c := range read.PrimaryKey {
			if string(c.CellName) != string(row.Key[i].Name) || !equal(row.Key[i].Value, c.CellValue.Value) {
				t.Errorf("key column %d is %s=%v", i, c.CellName, c.CellValue.Value)
			}
		}
		for i, c := range read.Cells {
			want := row.Columns[i]
			var boxed any
			if c.CellValue != nil {
				boxed = c.CellValue.Value
			}
			if string(c.CellName) != string(want.Name) || !equal(want.Value, boxed) || plainbuffer.Op(c.CellType) != want.Op ||
				c.HasCellTimestamp != want.HasTimestamp || c.CellTimestamp != want.Timestamp {
				t.Errorf("column %d is %s=%v, type %d, version %d", i, c.CellName, boxed, c.CellType, c.CellTimestamp)
			}
		}
		if (read.Extension != nil) != row.HasSequence {
			t.Fatalf("extension %v", read.Extension)
		}
		if e := read.Extension; e != nil && (e.Epoch != row.Sequence.Epoch || e.Timestamp != row.Sequence.Timestamp || e.RowIndex != row.Sequence.RowIndex) {
			t.Errorf("extension %+v", e)
		}
	})
}

func TestOurReaderReadsWhatTheOfficialWriterWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		change := &tablestore.UpdateRowChange{TableName: "t", PrimaryKey: new(tablestore.PrimaryKey)}
		var want plainbuffer.Row
		for range rapid.IntRange(1, 4).Draw(t, "key columns") {
			name, v := rapid.String().Draw(t, "name"), value(t, true)
			change.PrimaryKey.AddPrimaryKeyColumn(name, boxed(v))
			want.Key = append(want.Key, plainbuffer.Cell{Name: []byte(name), Value: v})
		}
		for range rapid.IntRange(1, 5).Draw(t, "columns") {
			name := rapid.String().Draw(t, "name")
			// The official client takes the version 0 for none.
			version := rapid.Int64Range(1, math.MaxInt64).Draw(t, "version")
			c := plainbuffer.Cell{Name: []byte(name), Value: plainbuffer.NoValue()}
			switch rapid.IntRange(0, 3).Draw(t, "change") {
			case 0:
				c.Value = value(t, false)
				change.PutColumn(name, boxed(c.Value))
			case 1:
				c.Value, c.HasTimestamp, c.Timestamp = value(t, false), true, version
				change.PutColumnWithTimestamp(name, boxed(c.Value), version)
			case 2:
				c.Op = plainbuffer.DeleteAllVersions
				change.DeleteColumn(name)
			case 3:
				c.Op, c.HasTimestamp, c.Timestamp = plainbuffer.DeleteOneVersion, true, version
				change.DeleteColumnWithTimestamp(name, version)
			}
			want.Columns = append(want.Columns, c)
		}
		encoded := change.Serialize()
		var read plainbuffer.Row
		if err := read.Decode(encoded); err != nil {
			t.Fatal(err)
		}
		// Both writers agree to the byte, checksums included.
		if ours := plainbuffer.Append(nil, &want); !bytes.Equal(ours, encoded) {
			t.Errorf("official %x\nours     %x", encoded, ours)
		}
		if again := plainbuffer.Append(nil, &read); !bytes.Equal(again, encoded) {
			t.Errorf("official %x\nread and written again %x", encoded, again)
		}
	})
}

// boxed is a value as the official SDK takes it.
func boxed(v plainbuffer.Value) any {
	switch v.Type() {
	case plainbuffer.Integer:
		return v.Integer()
	case plainbuffer.Double:
		return v.Double()
	case plainbuffer.Boolean:
		return v.Boolean()
	case plainbuffer.String:
		return string(v.Bytes())
	}
	return append([]byte{}, v.Bytes()...)
}
