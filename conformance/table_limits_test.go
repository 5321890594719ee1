package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"github.com/culvertio/culvert/tunnel/emulator"
)

// Each limit of the service, kept and passed by one. What is said is what the
// tests of the service's SDKs find, where they do.
func TestEveryLimitHasItsError(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, nil)
	create := func(name string, columns ...*tablestore.PrimaryKeySchema) error {
		_, err := c.CreateTable(tableRequest(func(q *tablestore.CreateTableRequest) {
			q.TableMeta.TableName = name
			if columns != nil {
				q.TableMeta.SchemaEntry = columns
			}
		}))
		return err
	}
	keys := func(n int) (columns []*tablestore.PrimaryKeySchema) {
		for i := range n {
			columns = append(columns, column(fmt.Sprint("k", i), tablestore.PrimaryKeyType_STRING))
		}
		return columns
	}
	write := func(k string, columns map[string]any) error {
		_, err := c.PutRow(&tablestore.PutRowRequest{PutRowChange: putOf("t", key("k", k), ignore, columns)})
		return err
	}
	many := func(n int) map[string]any {
		columns := make(map[string]any)
		for i := range n {
			columns[fmt.Sprint("c", i)] = int64(i)
		}
		return columns
	}
	batch := func(rows, bytes int) error {
		q := &tablestore.BatchWriteRowRequest{}
		for i := range rows {
			q.AddRowChange(putOf("t", key("k", fmt.Sprint(i)), ignore, map[string]any{"v": make([]byte, bytes)}))
		}
		_, err := c.BatchWriteRow(q)
		return err
	}
	read := func(columns, filters int) error {
		q := &tablestore.SingleRowQueryCriteria{TableName: "t", PrimaryKey: key("k", "a"), MaxVersion: 1}
		for i := range columns {
			q.ColumnsToGet = append(q.ColumnsToGet, fmt.Sprint("c", i))
		}
		f := tablestore.NewCompositeColumnCondition(tablestore.LO_OR)
		for range filters - 1 {
			f.AddFilter(tablestore.NewSingleColumnCondition("c", tablestore.CT_EQUAL, "x"))
		}
		q.Filter = f
		_, err := c.GetRow(&tablestore.GetRowRequest{SingleRowQueryCriteria: q})
		return err
	}
	update := func(change func(*tablestore.UpdateRowChange)) error {
		_, err := updateRow(c, change)
		return err
	}
	for _, tt := range []struct {
		name       string
		kept, over func() error
		says       string
	}{
		{"key columns", func() error { return create("four", keys(4)...) }, func() error { return create("five", keys(5)...) },
			"The number of primary key columns must be in range: [1, 4]."},
		{"one key column twice", func() error { return create("two", keys(2)...) }, func() error { return create("twice", append(keys(2), keys(1)...)...) },
			"Duplicated primary key name: 'k0'."},
		{"a table's name", func() error { return create("_9") }, func() error { return create("9_") }, "Invalid table name: '9_'."},
		{"a key column's name", func() error { return create("named", column("_9", tablestore.PrimaryKeyType_STRING)) },
			func() error { return create("misnamed", column("a-b", tablestore.PrimaryKeyType_STRING)) }, "Invalid column name: 'a-b'."},
		{"a key's bytes", func() error { return write(strings.Repeat("x", 1024), nil) }, func() error { return write(strings.Repeat("x", 1025), nil) },
			"The length of primary key column: 'k' exceeds the MaxLength:1024 with CurrentLength:1025."},
		{"a blob", func() error { return write("a", map[string]any{"v": make([]byte, 2<<20)}) }, func() error { return write("a", map[string]any{"v": make([]byte, 2<<20+1)}) },
			"The length of attribute column: 'v' exceeds the MaxLength:2097152 with CurrentLength:2097153."},
		{"a string", func() error { return write("a", map[string]any{"v": strings.Repeat("x", 2<<20)}) }, func() error { return write("a", map[string]any{"v": strings.Repeat("x", 2<<20+1)}) },
			"The length of attribute column: 'v' exceeds the MaxLength:2097152 with CurrentLength:2097153."},
		{"columns", func() error { return write("a", many(1024)) }, func() error { return write("a", many(1025)) },
			"The number of attribute columns exceeds the limit, limit count: 1024, column count: 1025."},
		{"a column's name", func() error { return write("a", map[string]any{strings.Repeat("x", 255): true}) }, func() error { return write("a", map[string]any{strings.Repeat("x", 256): true}) },
			"Invalid column name: '" + strings.Repeat("x", 256) + "'."},
		{"no name", func() error { return nil }, func() error { return write("a", map[string]any{"": true}) }, "Invalid column name: ''."},
		{"a column of the key", func() error { return nil }, func() error { return write("a", map[string]any{"k": true}) }, "Duplicated attribute column name with primary key column: 'k'."},
		{"rows of a batch", func() error { return batch(200, 1) }, func() error { return batch(201, 1) }, "Rows count exceeds the upper limit: 200."},
		{"bytes of a batch", func() error { return batch(4, 1<<20-3) }, func() error { return batch(4, 1<<20-2) },
			"The total data size of BatchWriteRow request exceeds the limit, limit size: 4194304, data size: 4194308."},
		{"rows of no batch", func() error { return nil }, func() error { return batch(0, 0) }, "No row is specified in BatchWriteRow."},
		{"columns to get", func() error { return read(1024, 3) }, func() error { return read(1025, 3) },
			"The number of columns from the request exceeds the limit, limit count: 1024, column count: 1025."},
		{"filters", func() error { return read(0, 32) }, func() error { return read(0, 33) }, "The count of filter exceeds the max: 32."},
		{"changes of an update", func() error { return update(func(u *tablestore.UpdateRowChange) { u.DeleteColumn("x") }) }, func() error { return update(func(*tablestore.UpdateRowChange) {}) },
			"Attribute column is missing."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.kept(); err != nil {
				t.Errorf("within the limit: %v", err)
			}
			if ots := wantCode(t, tt.over(), "OTSParameterInvalid"); !strings.Contains(ots.Message, tt.says) || ots.HttpStatusCode != 400 {
				t.Errorf("%d %q, want %q", ots.HttpStatusCode, ots.Message, tt.says)
			}
		})
	}
}

func TestWritesConsumeWhatTheyWriteAndLookAt(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, nil)
	for _, tt := range []struct {
		expect      tablestore.RowExistenceExpectation
		bytes       int
		read, write int32
	}{
		{ignore, 0, 0, 1},
		{ignore, 4096 - 3, 0, 1}, // names and the key are bytes too
		{ignore, 4096 - 2, 0, 2},
		{exist, 4096, 1, 2},
	} {
		a, err := c.PutRow(&tablestore.PutRowRequest{PutRowChange: putOf("t", key("k", "a"), tt.expect, map[string]any{"v": make([]byte, tt.bytes)})})
		if err != nil {
			t.Fatal(err)
		}
		if u := a.ConsumedCapacityUnit; u.Read != tt.read || u.Write != tt.write {
			t.Errorf("%d bytes, expecting %v: %+v", tt.bytes, tt.expect, u)
		}
	}
	for name, change := range map[string]func(*tablestore.UpdateRowChange){
		"an increment": func(u *tablestore.UpdateRowChange) { u.IncrementColumn("n", 1) },
		"a condition": func(u *tablestore.UpdateRowChange) {
			u.PutColumn("m", true)
			u.SetColumnCondition(tablestore.NewSingleColumnCondition("none", tablestore.CT_EQUAL, "x"))
		},
	} {
		a, err := updateRow(c, change)
		if err != nil || a.ConsumedCapacityUnit.Read != 1 || a.ConsumedCapacityUnit.Write != 1 {
			t.Errorf("%s consumes %+v: %v", name, a, err)
		}
	}
	a, err := c.DeleteRow(&tablestore.DeleteRowRequest{DeleteRowChange: deleteOf("t", key("k", "a"), exist)})
	if err != nil || a.ConsumedCapacityUnit.Read != 1 || a.ConsumedCapacityUnit.Write != 1 {
		t.Errorf("a deletion consumes %+v: %v", a.ConsumedCapacityUnit, err)
	}
}
