package conformance

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tunnel"
	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/tunnel/emulator"
)

// updateOf makes an update of the row "a" of table "t".
func updateOf(change func(*tablestore.UpdateRowChange)) *tablestore.UpdateRowChange {
	u := &tablestore.UpdateRowChange{TableName: "t", PrimaryKey: key("k", "a")}
	u.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	change(u)
	return u
}

func updateRow(c *tablestore.TableStoreClient, change func(*tablestore.UpdateRowChange)) (*tablestore.UpdateRowResponse, error) {
	return c.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: updateOf(change)})
}

func TestEveryComparatorIsACondition(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, nil)
	put(t, c, "t", key("k", "a"), map[string]any{"n": int64(5), "s": "m", "d": 1.5, "b": true, "x": []byte{1}})
	for _, tt := range []struct {
		column     string
		comparator tablestore.ComparatorType
		value      any
		want       bool
	}{
		{"n", tablestore.CT_EQUAL, int64(5), true}, {"n", tablestore.CT_EQUAL, int64(6), false},
		{"n", tablestore.CT_NOT_EQUAL, int64(6), true}, {"n", tablestore.CT_NOT_EQUAL, int64(5), false},
		{"n", tablestore.CT_GREATER_THAN, int64(4), true}, {"n", tablestore.CT_GREATER_THAN, int64(5), false},
		{"n", tablestore.CT_GREATER_EQUAL, int64(5), true}, {"n", tablestore.CT_GREATER_EQUAL, int64(6), false},
		{"n", tablestore.CT_LESS_THAN, int64(6), true}, {"n", tablestore.CT_LESS_THAN, int64(5), false},
		{"n", tablestore.CT_LESS_EQUAL, int64(5), true}, {"n", tablestore.CT_LESS_EQUAL, int64(4), false},
		{"s", tablestore.CT_LESS_THAN, "n", true}, {"s", tablestore.CT_GREATER_THAN, "ma", false},
		{"d", tablestore.CT_GREATER_THAN, 1.25, true}, {"b", tablestore.CT_EQUAL, true, true},
		{"x", tablestore.CT_LESS_EQUAL, []byte{1, 0}, true}, {"k", tablestore.CT_EQUAL, "a", true}, {"k", tablestore.CT_EQUAL, "b", false},
	} {
		condition := tablestore.NewSingleColumnCondition(tt.column, tt.comparator, tt.value)
		condition.FilterIfMissing, condition.LatestVersionOnly = true, true
		for name, err := range everyWrite(c, tablestore.RowExistenceExpectation_EXPECT_EXIST, condition) {
			if tt.want && err != nil {
				t.Errorf("%s if %s %v %v: %v", name, tt.column, tt.comparator, tt.value, err)
			} else if !tt.want {
				if ots := wantCode(t, err, "OTSConditionCheckFail"); ots.Message != "Condition check failed." || ots.HttpStatusCode != 403 {
					t.Errorf("%d %q", ots.HttpStatusCode, ots.Message)
				}
			}
			put(t, c, "t", key("k", "a"), map[string]any{"n": int64(5), "s": "m", "d": 1.5, "b": true, "x": []byte{1}})
		}
	}
}

// everyWrite puts, updates and deletes the row "a" under a condition. The
// caller may put it back in between.
func everyWrite(c *tablestore.TableStoreClient, expect tablestore.RowExistenceExpectation, condition tablestore.ColumnFilter) func(func(string, error) bool) {
	return func(yield func(string, error) bool) {
		p := &tablestore.PutRowChange{TableName: "t", PrimaryKey: key("k", "a")}
		p.AddColumn("n", int64(5))
		p.SetCondition(expect)
		p.SetColumnCondition(condition)
		_, err := c.PutRow(&tablestore.PutRowRequest{PutRowChange: p})
		if !yield("put", err) {
			return
		}
		_, err = updateRow(c, func(u *tablestore.UpdateRowChange) {
			u.PutColumn("n", int64(5))
			u.SetCondition(expect)
			u.SetColumnCondition(condition)
		})
		if !yield("update", err) {
			return
		}
		d := &tablestore.DeleteRowChange{TableName: "t", PrimaryKey: key("k", "a")}
		d.SetCondition(expect)
		d.SetColumnCondition(condition)
		_, err = c.DeleteRow(&tablestore.DeleteRowRequest{DeleteRowChange: d})
		yield("delete", err)
	}
}

func TestConditionsOnWhetherARowIsThere(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, nil)
	const ignore, exist, missing = tablestore.RowExistenceExpectation_IGNORE, tablestore.RowExistenceExpectation_EXPECT_EXIST, tablestore.RowExistenceExpectation_EXPECT_NOT_EXIST
	for _, there := range []bool{false, true} {
		for _, expect := range []tablestore.RowExistenceExpectation{ignore, exist, missing} {
			prepare := func() {
				d := &tablestore.DeleteRowChange{TableName: "t", PrimaryKey: key("k", "a")}
				d.SetCondition(ignore)
				if _, err := c.DeleteRow(&tablestore.DeleteRowRequest{DeleteRowChange: d}); err != nil {
					t.Fatal(err)
				}
				if there {
					put(t, c, "t", key("k", "a"), nil)
				}
			}
			prepare()
			for name, err := range everyWrite(c, expect, nil) {
				if want := expect == ignore || (expect == exist) == there; want && err != nil {
					t.Errorf("%s, expecting %v of a row that is there: %v: %v", name, expect, there, err)
				} else if !want {
					wantCode(t, err, "OTSConditionCheckFail")
				}
				prepare()
			}
		}
	}
}

func TestConditionsCombineAndKnowMissingColumnsAndVersions(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, func(q *tablestore.CreateTableRequest) { q.TableOption.MaxVersion = 3 })
	now := time.Now().UnixMilli()
	if _, err := updateRow(c, func(u *tablestore.UpdateRowChange) {
		u.PutColumnWithTimestamp("n", int64(1), now-2)
		u.PutColumnWithTimestamp("n", int64(2), now-1)
		u.PutColumnWithTimestamp("s", "x", now-1)
	}); err != nil {
		t.Fatal(err)
	}
	is := func(column string, value any) *tablestore.SingleColumnCondition {
		return tablestore.NewSingleColumnCondition(column, tablestore.CT_EQUAL, value)
	}
	latest := func(s *tablestore.SingleColumnCondition) *tablestore.SingleColumnCondition {
		s.LatestVersionOnly = true
		return s
	}
	strict := func(s *tablestore.SingleColumnCondition) *tablestore.SingleColumnCondition {
		s.FilterIfMissing = true
		return s
	}
	of := func(operator tablestore.LogicalOperator, subs ...tablestore.ColumnFilter) *tablestore.CompositeColumnValueFilter {
		c := tablestore.NewCompositeColumnCondition(operator)
		for _, s := range subs {
			c.AddFilter(s)
		}
		return c
	}
	for name, tt := range map[string]struct {
		condition tablestore.ColumnFilter
		want      bool
	}{
		"an older version":          {is("n", int64(1)), true},
		"an older version, latest":  {latest(is("n", int64(1))), false},
		"the newest version":        {latest(is("n", int64(2))), true},
		"missing":                   {is("none", int64(1)), true},
		"missing, strictly":         {strict(is("none", int64(1))), false},
		"and":                       {of(tablestore.LO_AND, is("n", int64(2)), is("s", "x")), true},
		"and, one of them not":      {of(tablestore.LO_AND, is("n", int64(2)), is("s", "y")), false},
		"or, one of them not":       {of(tablestore.LO_OR, is("n", int64(9)), is("s", "x")), true},
		"or, none of them":          {of(tablestore.LO_OR, is("n", int64(9)), is("s", "y")), false},
		"not":                       {of(tablestore.LO_NOT, is("s", "y")), true},
		"not, but it is":            {of(tablestore.LO_NOT, is("s", "x")), false},
		"not (a and (b or not c))":  {of(tablestore.LO_NOT, of(tablestore.LO_AND, is("s", "x"), of(tablestore.LO_OR, is("s", "y"), of(tablestore.LO_NOT, is("n", int64(9)))))), false},
		"a part of a string":        {tablestore.NewSingleColumnValueRegexFilter("s", tablestore.CT_EQUAL, tablestore.NewValueTransferRule("(.)", tablestore.Variant_STRING), "x"), true},
		"a part that is no integer": {tablestore.NewSingleColumnValueRegexFilter("s", tablestore.CT_EQUAL, tablestore.NewValueTransferRule("(.)", tablestore.Variant_INTEGER), int64(0)), false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := updateRow(c, func(u *tablestore.UpdateRowChange) {
				u.PutColumn("other", name)
				u.SetColumnCondition(tt.condition)
			})
			if tt.want && err != nil {
				t.Error(err)
			} else if !tt.want {
				wantCode(t, err, "OTSConditionCheckFail")
			}
		})
	}
	_, err := updateRow(c, func(u *tablestore.UpdateRowChange) {
		u.PutColumn("other", int64(1))
		u.SetColumnCondition(&tablestore.PaginationFilter{Offset: 0, Limit: 1})
	})
	wantCode(t, err, "OTSParameterInvalid")
}

// A read, a comparison and a write, as one: who comes too late is told.
func TestWritersThatCompareLoseNoUpdate(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, nil)
	put(t, c, "t", key("k", "a"), map[string]any{"n": int64(0)})
	const writers, each = 4, 10
	done := make(chan error)
	for range writers {
		go func() {
			for n := 0; n < each; {
				a, err := c.GetRow(&tablestore.GetRowRequest{SingleRowQueryCriteria: &tablestore.SingleRowQueryCriteria{TableName: "t", PrimaryKey: key("k", "a"), MaxVersion: 1}})
				if err != nil {
					done <- err
					return
				}
				was := a.Columns[0].Value.(int64)
				_, err = updateRow(c, func(u *tablestore.UpdateRowChange) {
					u.PutColumn("n", was+1)
					u.SetColumnCondition(tablestore.NewSingleColumnCondition("n", tablestore.CT_EQUAL, was))
				})
				if ots, ok := errors.AsType[*tablestore.OtsError](err); err != nil && (!ok || ots.Code != "OTSConditionCheckFail") {
					done <- err
					return
				}
				if err == nil {
					n++
				}
			}
			done <- nil
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if got := get(t, c, "t", key("k", "a"))["n"]; got != int64(writers*each) {
		t.Errorf("%v after %d updates", got, writers*each)
	}
}

func TestIncrementsGiveTheirResults(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, func(q *tablestore.CreateTableRequest) { q.TableOption.MaxVersion = 2 })
	add := func(by int64, names ...string) (map[string]any, error) {
		a, err := updateRow(c, func(u *tablestore.UpdateRowChange) {
			u.IncrementColumn("n", by)
			u.IncrementColumn("m", 10*by)
			u.SetReturnIncrementValue()
			for _, name := range names {
				u.AppendIncrementColumnToReturn(name)
			}
		})
		if err != nil {
			return nil, err
		}
		values := make(map[string]any)
		for _, col := range a.Columns {
			values[col.ColumnName] = col.Value
			if d := time.Since(time.UnixMilli(col.Timestamp)); d < 0 || d > time.Minute {
				t.Errorf("column %s has the version %d", col.ColumnName, col.Timestamp)
			}
		}
		return values, nil
	}
	for _, tt := range []struct {
		by    int64
		names []string
		want  map[string]any
	}{
		{5, []string{"n"}, map[string]any{"n": int64(5)}}, // of a row that is not there
		{-7, []string{"n", "m"}, map[string]any{"n": int64(-2), "m": int64(-20)}},
		{0, nil, map[string]any{}},
		{1, []string{"m"}, map[string]any{"m": int64(-10)}},
	} {
		got, err := add(tt.by, tt.names...)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("by %d: %s", tt.by, d)
		}
	}
	if d := cmp.Diff(map[string]any{"n": int64(-1), "m": int64(-10)}, get(t, c, "t", key("k", "a"))); d != "" {
		t.Error(d)
	}
	// The newest version counts, though it is of tomorrow.
	if _, err := updateRow(c, func(u *tablestore.UpdateRowChange) {
		u.PutColumnWithTimestamp("f", int64(40), time.Now().Add(time.Hour).UnixMilli())
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := updateRow(c, func(u *tablestore.UpdateRowChange) { u.IncrementColumn("f", 1) }); err != nil {
			t.Fatal(err)
		}
	}
	if got := get(t, c, "t", key("k", "a"))["f"]; got != int64(42) {
		t.Errorf("40 and two increments by 1 are %v", got)
	}
	put(t, c, "t", key("k", "a"), map[string]any{"s": "x", "most": int64(math.MaxInt64), "least": int64(math.MinInt64)})
	for name, change := range map[string]func(*tablestore.UpdateRowChange){
		"a string":             func(u *tablestore.UpdateRowChange) { u.IncrementColumn("s", 1) },
		"too much":             func(u *tablestore.UpdateRowChange) { u.IncrementColumn("most", 1) },
		"too little":           func(u *tablestore.UpdateRowChange) { u.IncrementColumn("least", -1) },
		"a column twice":       func(u *tablestore.UpdateRowChange) { u.IncrementColumn("n", 1); u.IncrementColumn("n", 1) },
		"a column that is put": func(u *tablestore.UpdateRowChange) { u.PutColumn("n", int64(1)); u.IncrementColumn("n", 1) },
		"a deleted column":     func(u *tablestore.UpdateRowChange) { u.IncrementColumn("n", 1); u.DeleteColumn("n") },
		"an answer of another": func(u *tablestore.UpdateRowChange) {
			u.IncrementColumn("n", 1)
			u.PutColumn("m", int64(1))
			u.SetReturnIncrementValue()
			u.AppendIncrementColumnToReturn("m")
		},
		"an answer of no change": func(u *tablestore.UpdateRowChange) {
			u.IncrementColumn("n", 1)
			u.SetReturnIncrementValue()
			u.AppendIncrementColumnToReturn("x")
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := updateRow(c, change)
			wantCode(t, err, "OTSParameterInvalid")
		})
	}
	if d := cmp.Diff(map[string]any{"s": "x", "most": int64(math.MaxInt64), "least": int64(math.MinInt64)}, get(t, c, "t", key("k", "a"))); d != "" {
		t.Errorf("what was refused was done: %s", d)
	}
}

func TestTheServerGivesKeysThatRise(t *testing.T) {
	endpoint := serve(t, emulator.Config{Partitions: 2})
	c := tableClient(endpoint)
	makeTable(t, c, func(q *tablestore.CreateTableRequest) {
		q.TableMeta.SchemaEntry = append(q.TableMeta.SchemaEntry, autoColumn("n"))
	})
	tunnels := tunnelClient(endpoint)
	if _, err := tunnels.CreateTunnel(&tunnel.CreateTunnelRequest{TableName: "t", TunnelName: "n", Type: tunnel.TunnelTypeStream}); err != nil {
		t.Fatal(err)
	}
	chosen := func(k string) *tablestore.PrimaryKey {
		p := key("k", k)
		p.AddPrimaryKeyColumnWithAutoIncrement("n")
		return p
	}
	write := func(k *tablestore.PrimaryKey, expect tablestore.RowExistenceExpectation) (int64, error) {
		p := &tablestore.PutRowChange{TableName: "t", PrimaryKey: k}
		p.AddColumn("v", "put")
		p.SetReturnPk()
		p.SetCondition(expect)
		a, err := c.PutRow(&tablestore.PutRowRequest{PutRowChange: p})
		if err != nil {
			return 0, err
		}
		if len(a.PrimaryKey.PrimaryKeys) != 2 || a.PrimaryKey.PrimaryKeys[0].Value != k.PrimaryKeys[0].Value {
			t.Fatalf("the row's key is %v", a.PrimaryKey)
		}
		return a.PrimaryKey.PrimaryKeys[1].Value.(int64), nil
	}
	last := make(map[string]int64)
	for i := range 40 {
		k := fmt.Sprint(i % 3)
		n, err := write(chosen(k), tablestore.RowExistenceExpectation_IGNORE)
		if err != nil {
			t.Fatal(err)
		}
		if n <= last[k] {
			t.Errorf("key %s: %d after %d", k, n, last[k])
		}
		last[k] = n
	}
	// A value names a row that has to be there.
	named := key("k", "0", "n", last["0"])
	const ignore, exist, missing = tablestore.RowExistenceExpectation_IGNORE, tablestore.RowExistenceExpectation_EXPECT_EXIST, tablestore.RowExistenceExpectation_EXPECT_NOT_EXIST
	for _, tt := range []struct {
		key    *tablestore.PrimaryKey
		expect tablestore.RowExistenceExpectation
		code   string
		says   string
	}{
		{named, exist, "", ""},
		{named, ignore, "OTSParameterInvalid", "Invalid expect:IGNORE when modify row with pk auto increment"},
		{named, missing, "OTSParameterInvalid", "Invalid expect:EXPECT_NOT_EXIST when modify row with pk auto increment"},
		{key("k", "0", "n", int64(1)), exist, "OTSConditionCheckFail", ""},
		{chosen("0"), exist, "OTSParameterInvalid", "Invalid expect:EXPECT_EXIST when modify row with pk auto increment"},
		{chosen("0"), missing, "OTSParameterInvalid", "Invalid expect:EXPECT_NOT_EXIST when modify row with pk auto increment"},
		{key("k", "0"), ignore, "OTSInvalidPK", ""},
	} {
		_, err := write(tt.key, tt.expect)
		if tt.code == "" {
			if err != nil {
				t.Error(err)
			}
		} else if ots := wantCode(t, err, tt.code); !strings.Contains(ots.Message, tt.says) {
			t.Errorf("%q, want %q", ots.Message, tt.says)
		}
	}
	// An update makes a row too, and its key is in the answer of a batch.
	u := &tablestore.UpdateRowChange{TableName: "t", PrimaryKey: chosen("0"), ReturnType: tablestore.ReturnType_RT_PK}
	u.IncrementColumn("v", 3)
	u.SetCondition(ignore)
	q := &tablestore.BatchWriteRowRequest{}
	q.AddRowChange(u)
	q.AddRowChange(u)
	a, err := c.BatchWriteRow(q)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range a.TableToRowsResult["t"] {
		if !r.IsSucceed || r.PrimaryKey.PrimaryKeys[1].Value.(int64) <= last["0"] {
			t.Fatalf("row %+v after %d", r, last["0"])
		}
		last["0"] = r.PrimaryKey.PrimaryKeys[1].Value.(int64)
	}
	if got := get(t, c, "t", key("k", "0", "n", last["0"])); got["v"] != int64(3) {
		t.Errorf("the row is %v", got)
	}
	d := &tablestore.DeleteRowChange{TableName: "t", PrimaryKey: chosen("0")}
	d.SetCondition(ignore)
	_, err = c.DeleteRow(&tablestore.DeleteRowRequest{DeleteRowChange: d})
	wantCode(t, err, "OTSParameterInvalid")
	d.PrimaryKey = key("k", "0", "n", last["0"])
	if _, err := c.DeleteRow(&tablestore.DeleteRowRequest{DeleteRowChange: d}); err != nil {
		t.Error(err)
	}
	_, err = c.GetRow(&tablestore.GetRowRequest{SingleRowQueryCriteria: &tablestore.SingleRowQueryCriteria{TableName: "t", PrimaryKey: chosen("0"), MaxVersion: 1}})
	wantCode(t, err, "OTSParameterInvalid")

	for name, columns := range map[string][]*tablestore.PrimaryKeySchema{
		"the first":   {autoColumn("n")},
		"two of them": {column("k", tablestore.PrimaryKeyType_STRING), autoColumn("n"), autoColumn("m")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.CreateTable(tableRequest(func(q *tablestore.CreateTableRequest) {
				q.TableMeta.TableName, q.TableMeta.SchemaEntry = "u", columns
			}))
			wantCode(t, err, "OTSParameterInvalid")
		})
	}
}

func TestTheStreamTellsWhatIncrementsAndChosenKeysBecame(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, func(q *tablestore.CreateTableRequest) {
		q.TableMeta.SchemaEntry = append(q.TableMeta.SchemaEntry, autoColumn("n"))
		q.StreamSpec = &tablestore.StreamSpecification{EnableStream: true, ExpirationTime: 24}
	})
	k := key("k", "a")
	k.AddPrimaryKeyColumnWithAutoIncrement("n")
	u := &tablestore.UpdateRowChange{TableName: "t", PrimaryKey: k, ReturnType: tablestore.ReturnType_RT_PK}
	u.IncrementColumn("v", 3)
	u.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	q := &tablestore.BatchWriteRowRequest{}
	q.AddRowChange(u)
	a, err := c.BatchWriteRow(q)
	if err != nil {
		t.Fatal(err)
	}
	given := a.TableToRowsResult["t"][0].PrimaryKey.PrimaryKeys[1].Value

	stream := describeTable(t, c).StreamDetails.StreamId
	s, err := c.DescribeStream(&tablestore.DescribeStreamRequest{StreamId: stream})
	if err != nil {
		t.Fatal(err)
	}
	i, err := c.GetShardIterator(&tablestore.GetShardIteratorRequest{StreamId: stream, ShardId: s.Shards[0].SelfShard})
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.GetStreamRecord(&tablestore.GetStreamRecordRequest{ShardIterator: i.ShardIterator})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Records) != 1 {
		t.Fatalf("%d records, want 1", len(r.Records))
	}
	record := r.Records[0]
	if got := record.PrimaryKey.PrimaryKeys[1].Value; got != given {
		t.Errorf("the record's key is %v, want %v", got, given)
	}
	if col := record.Columns[0]; *col.Name != "v" || col.Type != tablestore.RCT_Put || col.Value != int64(3) || *col.Timestamp == 0 {
		t.Errorf("the record's column is %+v", col)
	}
}
