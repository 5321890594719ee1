package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/tunnel/emulator"
)

func putOf(table string, k *tablestore.PrimaryKey, expect tablestore.RowExistenceExpectation, columns map[string]any) *tablestore.PutRowChange {
	p := &tablestore.PutRowChange{TableName: table, PrimaryKey: k}
	for name, v := range columns {
		p.AddColumn(name, v)
	}
	p.SetCondition(expect)
	return p
}

func deleteOf(table string, k *tablestore.PrimaryKey, expect tablestore.RowExistenceExpectation) *tablestore.DeleteRowChange {
	d := &tablestore.DeleteRowChange{TableName: table, PrimaryKey: k}
	d.SetCondition(expect)
	return d
}

// outcomes are the codes of a batch's rows, empty for those that succeeded.
func outcomes(rows []tablestore.RowResult) []string {
	codes := []string{}
	for _, r := range rows {
		if r.IsSucceed == (r.Error.Code != "") {
			codes = append(codes, fmt.Sprintf("%+v", r))
		} else {
			codes = append(codes, r.Error.Code)
		}
	}
	return codes
}

const (
	ignore  = tablestore.RowExistenceExpectation_IGNORE
	exist   = tablestore.RowExistenceExpectation_EXPECT_EXIST
	missing = tablestore.RowExistenceExpectation_EXPECT_NOT_EXIST
)

// pairTable makes a table "t" with the keys p (a string) and i (an integer).
func pairTable(t *testing.T, c *tablestore.TableStoreClient, name string) {
	t.Helper()
	makeTable(t, c, func(q *tablestore.CreateTableRequest) {
		q.TableMeta.TableName = name
		q.TableMeta.SchemaEntry = []*tablestore.PrimaryKeySchema{column("p", tablestore.PrimaryKeyType_STRING), column("i", tablestore.PrimaryKeyType_INTEGER)}
		q.StreamSpec = &tablestore.StreamSpecification{EnableStream: true, ExpirationTime: 24}
	})
}

func TestABatchOfManyTablesAndKindsIsWrittenRowByRow(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{Partitions: 2}))
	pairTable(t, c, "t")
	pairTable(t, c, "u")
	put(t, c, "t", key("p", "a", "i", int64(1)), map[string]any{"n": int64(1)})
	put(t, c, "t", key("p", "a", "i", int64(2)), map[string]any{"n": int64(2)})
	q := &tablestore.BatchWriteRowRequest{}
	conditional := putOf("t", key("p", "a", "i", int64(1)), ignore, nil)
	conditional.SetColumnCondition(tablestore.NewSingleColumnCondition("n", tablestore.CT_GREATER_THAN, int64(1)))
	increment := &tablestore.UpdateRowChange{TableName: "t", PrimaryKey: key("p", "a", "i", int64(2))}
	increment.IncrementColumn("n", 40)
	increment.SetCondition(exist)
	increment.SetReturnIncrementValue()
	increment.AppendIncrementColumnToReturn("n")
	returning := putOf("u", key("p", "b", "i", int64(3)), missing, map[string]any{"v": "x"})
	returning.SetReturnPk()
	for _, change := range []tablestore.RowChange{
		conditional, increment,
		deleteOf("t", key("p", "none", "i", int64(1)), exist),
		putOf("t", key("p", int64(1), "i", int64(1)), ignore, nil),
		putOf("t", key("p", "c"), ignore, nil),
		putOf("t", key("p", "c", "i", int64(1)), ignore, map[string]any{"v": "first"}),
		putOf("t", key("p", "c", "i", int64(1)), exist, map[string]any{"v": "second"}),
		returning,
	} {
		q.AddRowChange(change)
	}
	a, err := c.BatchWriteRow(q)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"OTSConditionCheckFail", "", "OTSConditionCheckFail", "OTSInvalidPK", "OTSInvalidPK", "", ""}
	if d := cmp.Diff(want, outcomes(a.TableToRowsResult["t"])); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{""}, outcomes(a.TableToRowsResult["u"])); d != "" {
		t.Error(d)
	}
	if cols := a.TableToRowsResult["t"][1].Columns; len(cols) != 1 || cols[0].ColumnName != "n" || cols[0].Value != int64(42) {
		t.Errorf("the increment's result is %v", cols)
	}
	if k := a.TableToRowsResult["u"][0].PrimaryKey.PrimaryKeys; len(k) != 2 || k[1].Value != int64(3) {
		t.Errorf("the put row's key is %v", k)
	}
	if got := get(t, c, "t", key("p", "c", "i", int64(1))); got["v"] != "second" {
		t.Errorf("the row that was put twice is %v", got)
	}
}

func TestAnAtomicBatchIsAllOrNothing(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{Partitions: 3}))
	pairTable(t, c, "t")
	pairTable(t, c, "u")
	at := func(p string, i int64) *tablestore.PrimaryKey { return key("p", p, "i", i) }
	put(t, c, "t", at("a", 1), map[string]any{"v": "old"})
	put(t, c, "t", at("a", 2), map[string]any{"n": int64(1)})
	increment := func(i int64) *tablestore.UpdateRowChange {
		u := &tablestore.UpdateRowChange{TableName: "t", PrimaryKey: at("a", i)}
		u.IncrementColumn("n", 1)
		u.SetCondition(exist)
		return u
	}
	for _, tt := range []struct {
		name    string
		changes []tablestore.RowChange
		codes   map[string][]string // by table
		says    string
	}{
		{"a condition fails", []tablestore.RowChange{
			putOf("t", at("a", 3), ignore, map[string]any{"v": "new"}), deleteOf("t", at("a", 1), ignore), increment(2), increment(9),
		}, map[string][]string{"t": {"OTSConditionCheckFail", "OTSConditionCheckFail", "OTSConditionCheckFail", "OTSConditionCheckFail"}}, "Condition check failed."},
		{"two values of the partition key", []tablestore.RowChange{
			putOf("t", at("a", 3), ignore, nil), putOf("t", at("b", 3), ignore, nil),
		}, map[string][]string{"t": {"OTSDataOutOfRange", "OTSDataOutOfRange"}}, "Data out of scope of atomic. Atomic PartKey:a. Data PartKey:b"},
		{"a key that is none", []tablestore.RowChange{
			putOf("t", at("a", 3), ignore, nil), putOf("t", key("p", "a"), ignore, nil),
		}, map[string][]string{"t": {"OTSInvalidPK", "OTSInvalidPK"}}, "Validate PK size fail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := &tablestore.BatchWriteRowRequest{IsAtomic: true}
			for _, change := range tt.changes {
				q.AddRowChange(change)
			}
			a, err := c.BatchWriteRow(q)
			if err != nil {
				t.Fatal(err)
			}
			for table, codes := range tt.codes {
				if d := cmp.Diff(codes, outcomes(a.TableToRowsResult[table])); d != "" {
					t.Error(d)
				}
				if m := a.TableToRowsResult[table][0].Error.Message; !strings.Contains(m, tt.says) {
					t.Errorf("%q, want %q", m, tt.says)
				}
			}
			if got := get(t, c, "t", at("a", 1)); got["v"] != "old" {
				t.Errorf("the row that was to be deleted is %v", got)
			}
			if get(t, c, "t", at("a", 3)) != nil {
				t.Error("the row that was to be put is there")
			}
			if got := get(t, c, "t", at("a", 2)); got["n"] != int64(1) {
				t.Errorf("the row that was to be incremented is %v", got)
			}
		})
	}
	// Each write sees those before it; each table is all or nothing by itself.
	q := &tablestore.BatchWriteRowRequest{IsAtomic: true}
	for _, change := range []tablestore.RowChange{
		putOf("t", at("a", 4), missing, map[string]any{"v": "x"}), deleteOf("t", at("a", 4), exist), putOf("t", at("a", 4), missing, map[string]any{"v": "y"}), increment(2),
		putOf("u", at("a", 1), exist, nil),
	} {
		q.AddRowChange(change)
	}
	a, err := c.BatchWriteRow(q)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"", "", "", ""}, outcomes(a.TableToRowsResult["t"])); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"OTSConditionCheckFail"}, outcomes(a.TableToRowsResult["u"])); d != "" {
		t.Error(d)
	}
	if got := get(t, c, "t", at("a", 4)); got["v"] != "y" {
		t.Errorf("the row that was put again is %v", got)
	}
}

func TestABatchOfManyTablesIsReadRowByRow(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{Partitions: 2}))
	pairTable(t, c, "t")
	makeTable(t, c, func(q *tablestore.CreateTableRequest) { q.TableMeta.TableName = "u" })
	for i := range int64(3) {
		put(t, c, "t", key("p", "a", "i", i), map[string]any{"n": i, "m": "x"})
	}
	put(t, c, "u", key("k", "a"), map[string]any{"v": true})
	criteria := &tablestore.MultiRowQueryCriteria{TableName: "t", MaxVersion: 1, ColumnsToGet: []string{"n"},
		Filter: tablestore.NewSingleColumnCondition("n", tablestore.CT_LESS_THAN, int64(2))}
	for _, k := range []*tablestore.PrimaryKey{
		key("p", "a", "i", int64(1)), key("p", "a", "i", int64(2)), key("p", "a", "i", int64(9)), key("p", "a", "i", "x"), key("p", "a", "i", int64(0)),
	} {
		criteria.AddRow(k)
	}
	other := &tablestore.MultiRowQueryCriteria{TableName: "u", MaxVersion: 1}
	other.AddRow(key("k", "a"))
	read := func(criteria ...*tablestore.MultiRowQueryCriteria) (*tablestore.BatchGetRowResponse, error) {
		return c.BatchGetRow(&tablestore.BatchGetRowRequest{MultiRowQueryCriteria: criteria})
	}
	a, err := read(criteria, other)
	if err != nil {
		t.Fatal(err)
	}
	rows := a.TableToRowsResult["t"]
	if d := cmp.Diff([]string{"", "", "", "OTSInvalidPK", ""}, outcomes(rows)); d != "" {
		t.Error(d)
	}
	var found []string
	for _, r := range rows {
		var s []string
		for _, col := range r.Columns {
			s = append(s, fmt.Sprint(col.ColumnName, "=", col.Value))
		}
		found = append(found, fmt.Sprint(len(r.PrimaryKey.PrimaryKeys), " ", strings.Join(s, " ")))
		if r.IsSucceed && r.ConsumedCapacityUnit.Read != 1 {
			t.Errorf("row %d consumed %+v", r.Index, r.ConsumedCapacityUnit)
		}
	}
	if d := cmp.Diff([]string{"2 n=1", "0 ", "0 ", "0 ", "2 n=0"}, found); d != "" {
		t.Error(d)
	}
	if r := a.TableToRowsResult["u"][0]; len(r.Columns) != 1 || r.Columns[0].Value != true {
		t.Errorf("the other table's row is %+v", r)
	}

	many := &tablestore.MultiRowQueryCriteria{TableName: "u", MaxVersion: 1}
	for i := range 101 {
		many.AddRow(key("k", fmt.Sprint(i)))
	}
	bad := &tablestore.MultiRowQueryCriteria{TableName: "u", MaxVersion: 1, Filter: tablestore.NewCompositeColumnCondition(tablestore.LO_AND)}
	bad.AddRow(key("k", "a"))
	for _, tt := range []struct {
		criteria []*tablestore.MultiRowQueryCriteria
		code     string
		says     string
	}{
		{nil, "OTSParameterInvalid", "No row specified in the request of BatchGetRow."},
		{[]*tablestore.MultiRowQueryCriteria{many}, "OTSParameterInvalid", "Rows count exceeds the upper limit: 100."},
		{[]*tablestore.MultiRowQueryCriteria{other, bad}, "OTSParameterInvalid", "Invalid AND/OR operator: the number of sub-filters must be more than 1."},
	} {
		_, err := read(tt.criteria...)
		if ots := wantCode(t, err, tt.code); ots.Message != tt.says {
			t.Errorf("%q, want %q", ots.Message, tt.says)
		}
	}
}
