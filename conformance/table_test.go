package conformance

import (
	"errors"
	"fmt"
	"math"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/tunnel/emulator"
)

const (
	instance = "conformance"
	keyID    = "an-id"
	secret   = "a-secret"
)

// serve starts an emulator that verifies signatures and gives its endpoint.
func serve(t *testing.T, c emulator.Config) string {
	t.Helper()
	endpoint, _ := serveEmulator(t, c)
	return endpoint
}

func serveEmulator(t *testing.T, c emulator.Config) (endpoint string, e *emulator.Emulator) {
	t.Helper()
	c.Instance, c.AccessKeyID, c.AccessKeySecret = instance, keyID, secret
	e, err := emulator.New(c)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(e)
	t.Cleanup(func() {
		s.Close()
		e.Close()
	})
	return s.URL, e
}

func tableClient(endpoint string) *tablestore.TableStoreClient {
	return tablestore.NewClient(endpoint, instance, keyID, secret)
}

func createTable(t *testing.T, c *tablestore.TableStoreClient, name string, versions int, key ...*tablestore.PrimaryKeySchema) {
	t.Helper()
	q := &tablestore.CreateTableRequest{
		TableMeta:          &tablestore.TableMeta{TableName: name, SchemaEntry: key},
		TableOption:        tablestore.NewTableOption(-1, versions),
		ReservedThroughput: &tablestore.ReservedThroughput{},
		StreamSpec:         &tablestore.StreamSpecification{EnableStream: true, ExpirationTime: 24},
	}
	if _, err := c.CreateTable(q); err != nil {
		t.Fatalf("CreateTable: %v", err)
	}
}

func column(name string, typ tablestore.PrimaryKeyType) *tablestore.PrimaryKeySchema {
	return &tablestore.PrimaryKeySchema{Name: &name, Type: &typ}
}

// key makes a primary key of names and values in turn.
func key(pairs ...any) *tablestore.PrimaryKey {
	k := new(tablestore.PrimaryKey)
	for i := 0; i < len(pairs); i += 2 {
		k.AddPrimaryKeyColumn(pairs[i].(string), pairs[i+1])
	}
	return k
}

func put(t *testing.T, c *tablestore.TableStoreClient, table string, k *tablestore.PrimaryKey, columns map[string]any) {
	t.Helper()
	change := &tablestore.PutRowChange{TableName: table, PrimaryKey: k}
	for name, v := range columns {
		change.AddColumn(name, v)
	}
	change.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	if _, err := c.PutRow(&tablestore.PutRowRequest{PutRowChange: change}); err != nil {
		t.Fatalf("PutRow: %v", err)
	}
}

func get(t *testing.T, c *tablestore.TableStoreClient, table string, k *tablestore.PrimaryKey) map[string]any {
	t.Helper()
	q := &tablestore.GetRowRequest{SingleRowQueryCriteria: &tablestore.SingleRowQueryCriteria{TableName: table, PrimaryKey: k, MaxVersion: 1}}
	a, err := c.GetRow(q)
	if err != nil {
		t.Fatalf("GetRow: %v", err)
	}
	if len(a.PrimaryKey.PrimaryKeys) == 0 {
		return nil
	}
	columns := make(map[string]any)
	for _, c := range a.Columns {
		columns[c.ColumnName] = c.Value
	}
	return columns
}

func everyByte() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// everyType are columns of every type, with the values that break encoders.
func everyType() map[string]any {
	return map[string]any{
		"least": int64(math.MinInt64), "most": int64(math.MaxInt64), "zero": int64(0), "minus_one": int64(-1),
		"pi": math.Pi, "tiny": math.SmallestNonzeroFloat64, "huge": -math.MaxFloat64, "endless": math.Inf(1), "minus_zero": math.Copysign(0, -1),
		"yes": true, "no": false,
		"text": "Grüße, 世界 🚚\x00\n", "empty": "",
		"blob": everyByte(), "no_bytes": []byte{},
	}
}

func wantCode(t *testing.T, err error, code string) *tablestore.OtsError {
	t.Helper()
	ots, ok := errors.AsType[*tablestore.OtsError](err)
	if !ok || ots.Code != code {
		t.Fatalf("error %v, want %s", err, code)
	}
	if ots.RequestId == "" {
		t.Errorf("error %v has no request id", err)
	}
	return ots
}

func TestTheTableClientCreatesDescribesListsAndDeletesTables(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	createTable(t, c, "orders", 2, column("region", tablestore.PrimaryKeyType_STRING),
		column("id", tablestore.PrimaryKeyType_INTEGER), column("part", tablestore.PrimaryKeyType_BINARY))
	createTable(t, c, "b", 1, column("k", tablestore.PrimaryKeyType_STRING))

	list, err := c.ListTable()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"b", "orders"}, list.TableNames); d != "" {
		t.Error(d)
	}
	a, err := c.DescribeTable(&tablestore.DescribeTableRequest{TableName: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	var schema []string
	for _, k := range a.TableMeta.SchemaEntry {
		schema = append(schema, fmt.Sprint(*k.Name, " ", *k.Type))
	}
	if d := cmp.Diff([]string{"region 2", "id 1", "part 3"}, schema); d != "" {
		t.Error(d)
	}
	if o := a.TableOption; o.MaxVersion != 2 || o.TimeToAlive != -1 || o.DeviationCellVersionInSec != 86400 {
		t.Errorf("options %+v", o)
	}
	if s := a.StreamDetails; !s.EnableStream || s.ExpirationTime != 24 || s.StreamId == nil || *s.StreamId == "" {
		t.Errorf("stream %+v", s)
	}
	if _, err := c.DeleteTable(&tablestore.DeleteTableRequest{TableName: "orders"}); err != nil {
		t.Fatal(err)
	}
	_, err = c.DescribeTable(&tablestore.DescribeTableRequest{TableName: "orders"})
	wantCode(t, err, "OTSObjectNotExist")
}

func TestTheTableClientReadsBackEveryTypeThatItWrites(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{Partitions: 3}))
	createTable(t, c, "types", 1, column("s", tablestore.PrimaryKeyType_STRING),
		column("i", tablestore.PrimaryKeyType_INTEGER), column("b", tablestore.PrimaryKeyType_BINARY))
	want := everyType()
	for _, k := range []*tablestore.PrimaryKey{
		key("s", "世界", "i", int64(math.MinInt64), "b", everyByte()),
		key("s", "", "i", int64(math.MaxInt64), "b", []byte{}),
	} {
		put(t, c, "types", k, want)
		if d := cmp.Diff(want, get(t, c, "types", k)); d != "" {
			t.Error(d)
		}
	}
}

func TestTheTableClientUpdatesAndDeletesRows(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	createTable(t, c, "rows", 2, column("k", tablestore.PrimaryKeyType_STRING))
	k := key("k", "a")
	put(t, c, "rows", k, map[string]any{"kept": "x", "changed": int64(1), "dropped": true})

	now := time.Now().UnixMilli()
	update := &tablestore.UpdateRowChange{TableName: "rows", PrimaryKey: k}
	update.PutColumn("changed", int64(2))
	update.PutColumn("added", 1.5)
	update.PutColumnWithTimestamp("versions", "older", now-2)
	update.PutColumnWithTimestamp("versions", "newer", now-1)
	update.DeleteColumn("dropped")
	update.SetCondition(tablestore.RowExistenceExpectation_EXPECT_EXIST)
	if _, err := c.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: update}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]any{"kept": "x", "changed": int64(2), "added": 1.5, "versions": "newer"}, get(t, c, "rows", k)); d != "" {
		t.Error(d)
	}
	update = &tablestore.UpdateRowChange{TableName: "rows", PrimaryKey: k}
	update.DeleteColumnWithTimestamp("versions", now-1)
	update.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	if _, err := c.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: update}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, c, "rows", k)["versions"]; got != "older" {
		t.Errorf("after deleting one version: %v", got)
	}

	del := &tablestore.DeleteRowChange{TableName: "rows", PrimaryKey: k}
	del.SetCondition(tablestore.RowExistenceExpectation_EXPECT_EXIST)
	if _, err := c.DeleteRow(&tablestore.DeleteRowRequest{DeleteRowChange: del}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, c, "rows", k); got != nil {
		t.Errorf("the deleted row is %v", got)
	}
	_, err := c.DeleteRow(&tablestore.DeleteRowRequest{DeleteRowChange: del})
	wantCode(t, err, "OTSConditionCheckFail")
}

func TestTheTableClientWritesBatches(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	createTable(t, c, "batch", 1, column("k", tablestore.PrimaryKeyType_INTEGER))
	createTable(t, c, "other", 1, column("k", tablestore.PrimaryKeyType_INTEGER))
	put(t, c, "batch", key("k", int64(2)), map[string]any{"v": "old"})
	put(t, c, "batch", key("k", int64(3)), map[string]any{"v": "old"})

	a := &tablestore.PutRowChange{TableName: "batch", PrimaryKey: key("k", int64(1)), ReturnType: tablestore.ReturnType_RT_PK}
	a.AddColumn("v", "put")
	a.SetCondition(tablestore.RowExistenceExpectation_EXPECT_NOT_EXIST)
	b := &tablestore.UpdateRowChange{TableName: "batch", PrimaryKey: key("k", int64(2))}
	b.PutColumn("v", "updated")
	b.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	d := &tablestore.DeleteRowChange{TableName: "batch", PrimaryKey: key("k", int64(3))}
	d.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	f := &tablestore.DeleteRowChange{TableName: "batch", PrimaryKey: key("k", int64(4))}
	f.SetCondition(tablestore.RowExistenceExpectation_EXPECT_EXIST)
	o := &tablestore.PutRowChange{TableName: "other", PrimaryKey: key("k", int64(1))}
	o.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	q := &tablestore.BatchWriteRowRequest{}
	for _, change := range []tablestore.RowChange{a, b, d, f, o} {
		q.AddRowChange(change)
	}
	answer, err := c.BatchWriteRow(q)
	if err != nil {
		t.Fatal(err)
	}
	var done []string
	for _, r := range answer.TableToRowsResult["batch"] {
		done = append(done, fmt.Sprint(r.IsSucceed, r.Error.Code))
	}
	if diff := cmp.Diff([]string{"true", "true", "true", "falseOTSConditionCheckFail"}, done); diff != "" {
		t.Error(diff)
	}
	if r := answer.TableToRowsResult["batch"][0]; len(r.PrimaryKey.PrimaryKeys) != 1 || r.PrimaryKey.PrimaryKeys[0].Value != int64(1) {
		t.Errorf("the put row's key is %v", r.PrimaryKey)
	}
	for k, want := range map[int64]any{1: "put", 2: "updated", 3: nil} {
		if got := get(t, c, "batch", key("k", k))["v"]; got != want {
			t.Errorf("row %d is %v, want %v", k, got, want)
		}
	}
	if get(t, c, "other", key("k", int64(1))) == nil {
		t.Error("a row without columns is not there")
	}
}

func TestTheTableClientReadsRangesInPages(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{Partitions: 4}))
	createTable(t, c, "range", 1, column("s", tablestore.PrimaryKeyType_STRING), column("i", tablestore.PrimaryKeyType_INTEGER))
	var want []string
	for _, s := range []string{"a", "b", "ä"} {
		for i := int64(-3); i < 4; i++ {
			put(t, c, "range", key("s", s, "i", i), map[string]any{"v": i, "w": "x"})
			want = append(want, fmt.Sprint(s, i))
		}
	}
	for _, direction := range []tablestore.Direction{tablestore.FORWARD, tablestore.BACKWARD} {
		start, end := new(tablestore.PrimaryKey), new(tablestore.PrimaryKey)
		for _, name := range []string{"s", "i"} {
			start.AddPrimaryKeyColumnWithMinValue(name)
			end.AddPrimaryKeyColumnWithMaxValue(name)
		}
		if direction == tablestore.BACKWARD {
			start, end = end, start
		}
		var got []string
		pages := 0
		for start != nil {
			a, err := c.GetRange(&tablestore.GetRangeRequest{RangeRowQueryCriteria: &tablestore.RangeRowQueryCriteria{
				TableName: "range", StartPrimaryKey: start, EndPrimaryKey: end, Direction: direction, MaxVersion: 1, Limit: 4, ColumnsToGet: []string{"v"},
			}})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range a.Rows {
				if len(r.Columns) != 1 || r.Columns[0].ColumnName != "v" || r.Columns[0].Value != r.PrimaryKey.PrimaryKeys[1].Value {
					t.Errorf("row %v has columns %v", r.PrimaryKey, r.Columns)
				}
				got = append(got, fmt.Sprint(r.PrimaryKey.PrimaryKeys[0].Value, r.PrimaryKey.PrimaryKeys[1].Value))
			}
			start = a.NextStartPrimaryKey
			pages++
		}
		expect := append([]string(nil), want...)
		if direction == tablestore.BACKWARD {
			for i, j := 0, len(expect)-1; i < j; i, j = i+1, j-1 {
				expect[i], expect[j] = expect[j], expect[i]
			}
		}
		if d := cmp.Diff(expect, got); d != "" {
			t.Errorf("direction %v: %s", direction, d)
		}
		if pages != 6 {
			t.Errorf("direction %v: %d pages of 4 rows, want 6", direction, pages)
		}
	}
}
