package conformance

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/tunnel/emulator"
)

// readRow reads the row "a" of table "t", as one line; empty: it is not there.
func readRow(t *testing.T, c *tablestore.TableStoreClient, change func(*tablestore.SingleRowQueryCriteria)) string {
	t.Helper()
	q := &tablestore.SingleRowQueryCriteria{TableName: "t", PrimaryKey: key("k", "a")}
	change(q)
	a, err := c.GetRow(&tablestore.GetRowRequest{SingleRowQueryCriteria: q})
	if err != nil {
		t.Fatal(err)
	}
	if a.ConsumedCapacityUnit.Read != 1 || a.ConsumedCapacityUnit.Write != 0 {
		t.Errorf("it consumed %+v", a.ConsumedCapacityUnit)
	}
	return rowText(&a.PrimaryKey, a.Columns)
}

func rowText(k *tablestore.PrimaryKey, columns []*tablestore.AttributeColumn) string {
	var s []string
	for _, c := range k.PrimaryKeys {
		s = append(s, fmt.Sprint(c.Value, ":"))
	}
	for _, c := range columns {
		s = append(s, fmt.Sprint(c.ColumnName, "=", c.Value))
	}
	return strings.Join(s, " ")
}

func TestARowIsReadInEveryWay(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, func(q *tablestore.CreateTableRequest) { q.TableOption.MaxVersion = 3 })
	now := time.Now().UnixMilli()
	p := &tablestore.PutRowChange{TableName: "t", PrimaryKey: key("k", "a")}
	for i := range int64(3) {
		p.AddColumnWithTimestamp("b", i, now+i)
		p.AddColumnWithTimestamp("d", 10+i, now+10*i)
	}
	for _, name := range []string{"a", "c", "e"} {
		p.AddColumnWithTimestamp(name, name, now)
	}
	p.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	if _, err := c.PutRow(&tablestore.PutRowRequest{PutRowChange: p}); err != nil {
		t.Fatal(err)
	}
	type query = tablestore.SingleRowQueryCriteria
	for _, tt := range []struct {
		name   string
		change func(*query)
		want   string
	}{
		{"newest", func(q *query) { q.MaxVersion = 1 }, "a: a=a b=2 c=c d=12 e=e"},
		{"two versions", func(q *query) { q.MaxVersion = 2 }, "a: a=a b=2 b=1 c=c d=12 d=11 e=e"},
		{"some columns", func(q *query) { q.MaxVersion, q.ColumnsToGet = 1, []string{"e", "b", "b", "z"} }, "a: b=2 e=e"},
		{"no such column", func(q *query) { q.MaxVersion, q.ColumnsToGet = 1, []string{"z"} }, ""},
		{"the key alone", func(q *query) { q.MaxVersion, q.ColumnsToGet = 1, []string{"k"} }, "a:"},
		{"one version", func(q *query) { q.TimeRange = &tablestore.TimeRange{Specific: now + 1} }, "a: b=1"},
		{"a range of versions", func(q *query) { q.TimeRange = &tablestore.TimeRange{Start: now + 1, End: now + 11} }, "a: b=2 b=1 d=11"},
		{"the newest of a range", func(q *query) { q.MaxVersion, q.TimeRange = 1, &tablestore.TimeRange{Start: now, End: now + 11} }, "a: a=a b=2 c=c d=11 e=e"},
		{"no version", func(q *query) { q.TimeRange = &tablestore.TimeRange{Start: 1, End: 2} }, "a:"},
		{"from a column", func(q *query) { q.MaxVersion, q.StartColumn = 1, new("c") }, "a: c=c d=12 e=e"},
		{"to before a column", func(q *query) { q.MaxVersion, q.EndColumn = 1, new("c") }, "a: a=a b=2"},
		{"between columns", func(q *query) { q.MaxVersion, q.StartColumn, q.EndColumn = 2, new("b"), new("cc") }, "a: b=2 b=1 c=c"},
		{"between no columns", func(q *query) { q.MaxVersion, q.StartColumn, q.EndColumn = 1, new("x"), new("y") }, ""},
		{"a page of columns", func(q *query) { q.MaxVersion, q.Filter = 2, &tablestore.PaginationFilter{Offset: 1, Limit: 2} }, "a: b=2 b=1 c=c"},
		{"the last page", func(q *query) { q.MaxVersion, q.Filter = 1, &tablestore.PaginationFilter{Offset: 4, Limit: 2} }, "a: e=e"},
		{"a page behind the last", func(q *query) { q.MaxVersion, q.Filter = 1, &tablestore.PaginationFilter{Offset: 5, Limit: 2} }, "a:"},
		{"a page between columns", func(q *query) {
			q.MaxVersion, q.StartColumn, q.Filter = 1, new("b"), &tablestore.PaginationFilter{Offset: 1, Limit: 2}
		}, "a: c=c d=12"},
		{"a filter", func(q *query) {
			q.MaxVersion, q.Filter = 1, tablestore.NewSingleColumnCondition("c", tablestore.CT_EQUAL, "c")
		}, "a: a=a b=2 c=c d=12 e=e"},
		{"a filter that fails", func(q *query) {
			q.MaxVersion, q.Filter = 1, tablestore.NewSingleColumnCondition("c", tablestore.CT_EQUAL, "d")
		}, ""},
		{"a filter on the key", func(q *query) {
			q.MaxVersion, q.Filter = 1, tablestore.NewSingleColumnCondition("k", tablestore.CT_GREATER_THAN, "a")
		}, ""},
		{"a filter on what is read alone", func(q *query) {
			s := tablestore.NewSingleColumnCondition("c", tablestore.CT_EQUAL, "c")
			s.FilterIfMissing = true
			q.MaxVersion, q.Filter, q.ColumnsToGet = 1, s, []string{"b"}
		}, ""},
		{"a filter on an older version", func(q *query) {
			q.MaxVersion, q.Filter = 2, tablestore.NewSingleColumnCondition("b", tablestore.CT_EQUAL, int64(1))
		}, "a: a=a b=2 b=1 c=c d=12 d=11 e=e"},
		{"a filter on a version that is not read", func(q *query) {
			q.MaxVersion, q.Filter = 1, tablestore.NewSingleColumnCondition("b", tablestore.CT_EQUAL, int64(1))
		}, ""},
		{"another row", func(q *query) { q.MaxVersion, q.PrimaryKey = 1, key("k", "b") }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, readRow(t, c, tt.change)); d != "" {
				t.Error(d)
			}
		})
	}
	for name, change := range map[string]func(*query){
		"an empty range of versions": func(q *query) { q.TimeRange = &tablestore.TimeRange{Start: 2, End: 2} },
		"before all versions":        func(q *query) { q.TimeRange = &tablestore.TimeRange{Start: -2, End: 2} },
		"fewer versions than none":   func(q *query) { q.MaxVersion = -1 },
		"an empty page of columns":   func(q *query) { q.MaxVersion, q.Filter = 1, &tablestore.PaginationFilter{} },
		"a page inside": func(q *query) {
			f := tablestore.NewCompositeColumnCondition(tablestore.LO_NOT)
			f.AddFilter(&tablestore.PaginationFilter{Limit: 1})
			q.MaxVersion, q.Filter = 1, f
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := &query{TableName: "t", PrimaryKey: key("k", "a")}
			change(q)
			_, err := c.GetRow(&tablestore.GetRowRequest{SingleRowQueryCriteria: q})
			wantCode(t, err, "OTSParameterInvalid")
		})
	}
}

// bound makes a bound of pairTable's keys. min and max stand for the open
// ends.
func bound(p, i any) *tablestore.PrimaryKey {
	k := new(tablestore.PrimaryKey)
	for _, c := range []struct {
		name  string
		value any
	}{{"p", p}, {"i", i}} {
		switch c.value {
		case tablestore.MIN:
			k.AddPrimaryKeyColumnWithMinValue(c.name)
		case tablestore.MAX:
			k.AddPrimaryKeyColumnWithMaxValue(c.name)
		default:
			k.AddPrimaryKeyColumn(c.name, c.value)
		}
	}
	return k
}

func readRange(c *tablestore.TableStoreClient, start, end *tablestore.PrimaryKey, change func(*tablestore.RangeRowQueryCriteria)) (*tablestore.GetRangeResponse, error) {
	q := &tablestore.RangeRowQueryCriteria{TableName: "t", StartPrimaryKey: start, EndPrimaryKey: end, MaxVersion: 1, Direction: tablestore.FORWARD}
	if change != nil {
		change(q)
	}
	return c.GetRange(&tablestore.GetRangeRequest{RangeRowQueryCriteria: q})
}

func rangeText(a *tablestore.GetRangeResponse) []string {
	rows := []string{}
	for _, r := range a.Rows {
		rows = append(rows, rowText(r.PrimaryKey, r.Columns))
	}
	return rows
}

func TestEveryRangeHasTheRowsBetweenItsBounds(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{Partitions: 3}))
	pairTable(t, c, "t")
	for _, p := range []string{"a", "b", "c"} {
		for _, i := range []int64{1, 2} {
			put(t, c, "t", key("p", p, "i", i), nil)
		}
	}
	all := []string{"a: 1:", "a: 2:", "b: 1:", "b: 2:", "c: 1:", "c: 2:"}
	const (
		first = tablestore.MIN
		last  = tablestore.MAX
	)
	one, two := int64(1), int64(2)
	for _, tt := range []struct {
		start, end *tablestore.PrimaryKey
		want       []string // nil: there is no room between the bounds
	}{
		{bound(first, first), bound(last, last), all},
		{bound("a", one), bound("a", two), all[:1]},
		{bound("a", one), bound("c", one), all[:4]},
		{bound("a", two), bound("c", two), all[1:5]},
		{bound("a", last), bound("b", first), all[:0]},
		{bound("a", last), bound("c", first), all[2:4]},
		{bound("a", first), bound("a", last), all[:2]},
		{bound("a", one), bound("a", last), all[:2]},
		{bound("a", first), bound("a", two), all[:1]},
		{bound("aa", one), bound("bb", one), all[2:4]},
		{bound(first, two), bound("b", one), all[:2]},
		{bound("b", one), bound("a", one), nil},
		{bound("a", one), bound("a", one), nil},
		{bound("a", last), bound("a", first), nil},
		{bound(last, first), bound(first, last), nil},
	} {
		name := fmt.Sprint(rowText(tt.start, nil), " to ", rowText(tt.end, nil))
		a, err := readRange(c, tt.start, tt.end, nil)
		if tt.want == nil {
			if ots := wantCode(t, err, "OTSParameterInvalid"); ots.Message != "Begin key must less than end key in FORWARD" {
				t.Errorf("%s: %q", name, ots.Message)
			}
			_, err := readRange(c, tt.end, tt.start, func(q *tablestore.RangeRowQueryCriteria) { q.Direction = tablestore.FORWARD })
			if rowText(tt.start, nil) != rowText(tt.end, nil) && err != nil {
				t.Errorf("%s, turned round: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(tt.want, rangeText(a)); d != "" || a.NextStartPrimaryKey != nil {
			t.Errorf("%s: %s then %v", name, d, a.NextStartPrimaryKey)
		}
		_, err = readRange(c, tt.start, tt.end, func(q *tablestore.RangeRowQueryCriteria) { q.Direction = tablestore.BACKWARD })
		if ots := wantCode(t, err, "OTSParameterInvalid"); ots.Message != "Begin key must more than end key in BACKWARD" {
			t.Errorf("%s, backwards: %q", name, ots.Message)
		}
	}
	// Backwards, the start is in and the end is not, too.
	a, err := readRange(c, bound("c", one), bound("a", one), func(q *tablestore.RangeRowQueryCriteria) { q.Direction = tablestore.BACKWARD })
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"c: 1:", "b: 2:", "b: 1:", "a: 2:"}, rangeText(a)); d != "" {
		t.Error(d)
	}
}

func TestARangeIsReadInEveryWay(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{Partitions: 2}))
	pairTable(t, c, "t")
	for i := range int64(6) {
		put(t, c, "t", key("p", "a", "i", i), map[string]any{"n": i, "even": i%2 == 0, "s": "x"})
	}
	read := func(change func(*tablestore.RangeRowQueryCriteria)) (*tablestore.GetRangeResponse, error) {
		return readRange(c, bound(tablestore.MIN, tablestore.MIN), bound(tablestore.MAX, tablestore.MAX), change)
	}
	type query = tablestore.RangeRowQueryCriteria
	even := func(q *query) { q.Filter = tablestore.NewSingleColumnCondition("even", tablestore.CT_EQUAL, true) }
	for _, tt := range []struct {
		name   string
		change func(*query)
		want   []string
		next   any // the second column of the next key, nil: the range has been read
	}{
		{"columns", func(q *query) { q.ColumnsToGet, q.Limit = []string{"n"}, 2 }, []string{"a: 0: n=0", "a: 1: n=1"}, int64(2)},
		{"the last row", func(q *query) { q.ColumnsToGet, q.Limit = []string{"n"}, 6 }, []string{"a: 0: n=0", "a: 1: n=1", "a: 2: n=2", "a: 3: n=3", "a: 4: n=4", "a: 5: n=5"}, nil},
		{"a filter", even, []string{"a: 0: even=true n=0 s=x", "a: 2: even=true n=2 s=x", "a: 4: even=true n=4 s=x"}, nil},
		{"a filter and a limit", func(q *query) { even(q); q.Limit = 2 }, []string{"a: 0: even=true n=0 s=x", "a: 2: even=true n=2 s=x"}, int64(3)},
		{"columns that are not there", func(q *query) { q.ColumnsToGet = []string{"z"} }, []string{}, nil},
		{"between columns", func(q *query) { q.StartColumn, q.EndColumn, q.Limit = new("f"), new("o"), 1 }, []string{"a: 0: n=0"}, int64(1)},
		{"a page of columns", func(q *query) { q.Filter, q.Limit = &tablestore.PaginationFilter{Offset: 1, Limit: 1}, 1 }, []string{"a: 0: n=0"}, int64(1)},
		{"a part of the key", func(q *query) { q.ReturnSpecifiedPkOnly, q.ColumnsToGet, q.Limit = true, []string{"i", "n"}, 1 }, []string{"0: n=0"}, int64(1)},
		{"none of the key", func(q *query) { q.ReturnSpecifiedPkOnly, q.ColumnsToGet, q.Limit = true, []string{"n"}, 1 }, []string{"n=0"}, int64(1)},
		{"another encoding", func(q *query) {
			q.DataBlockType, q.ColumnsToGet, q.Limit = tablestore.SimpleRowMatrix, []string{"n"}, 1
		}, []string{"a: 0: n=0"}, int64(1)},
		{"a version that is not there", func(q *query) { q.TimeRange, q.Limit = &tablestore.TimeRange{Specific: 7}, 1 }, []string{"a: 0:"}, int64(1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := read(tt.change)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, rangeText(a)); d != "" {
				t.Error(d)
			}
			var next any
			if a.NextStartPrimaryKey != nil {
				next = a.NextStartPrimaryKey.PrimaryKeys[1].Value
			}
			if next != tt.next {
				t.Errorf("the next row is %v, want %v", next, tt.next)
			}
			if a.DataBlockType != tablestore.PlainBuffer || a.ConsumedCapacityUnit.Read < 1 {
				t.Errorf("encoding %v, consumed %+v", a.DataBlockType, a.ConsumedCapacityUnit)
			}
		})
	}
	_, err := read(func(q *query) { q.Limit = -1 })
	if ots := wantCode(t, err, "OTSParameterInvalid"); ots.Message != "The limit must be greater than 0." {
		t.Errorf("%q", ots.Message)
	}
}

// 12,000 rows: more than two answers can look at.
func TestAPageEndsWhereTheServiceStopsLooking(t *testing.T) {
	endpoint := serve(t, emulator.Config{})
	c := tableClient(endpoint)
	makeTable(t, c, func(q *tablestore.CreateTableRequest) {
		q.TableMeta.SchemaEntry = []*tablestore.PrimaryKeySchema{column("p", tablestore.PrimaryKeyType_STRING), column("i", tablestore.PrimaryKeyType_INTEGER)}
	})
	const rows = 12_000
	for from := 0; from < rows; from += 200 {
		q := &tablestore.BatchWriteRowRequest{}
		for i := range 200 {
			q.AddRowChange(putOf("t", key("p", "a", "i", int64(from+i)), ignore, map[string]any{"n": int64(from + i)}))
		}
		if _, err := c.BatchWriteRow(q); err != nil {
			t.Fatal(err)
		}
	}
	pages := func(direction tablestore.Direction, filter tablestore.ColumnFilter) (sizes []int) {
		start, end := bound(tablestore.MIN, tablestore.MIN), bound(tablestore.MAX, tablestore.MAX)
		if direction == tablestore.BACKWARD {
			start, end = end, start
		}
		for start != nil {
			a, err := readRange(c, start, end, func(q *tablestore.RangeRowQueryCriteria) { q.Direction, q.Filter = direction, filter })
			if err != nil {
				t.Fatal(err)
			}
			sizes, start = append(sizes, len(a.Rows)), a.NextStartPrimaryKey
		}
		return sizes
	}
	last := tablestore.NewSingleColumnCondition("n", tablestore.CT_EQUAL, int64(rows-1))
	for _, tt := range []struct {
		direction tablestore.Direction
		filter    tablestore.ColumnFilter
		want      []int
	}{
		{tablestore.FORWARD, nil, []int{5000, 5000, 2000}},
		{tablestore.BACKWARD, nil, []int{5000, 5000, 2000}},
		{tablestore.FORWARD, last, []int{0, 0, 1}},
		{tablestore.BACKWARD, last, []int{1, 0, 0}},
	} {
		if d := cmp.Diff(tt.want, pages(tt.direction, tt.filter)); d != "" {
			t.Errorf("direction %v: %s", tt.direction, d)
		}
	}
}

func TestAPageHasAtMostFourMegabytes(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, nil)
	for i := range 9 {
		put(t, c, "t", key("k", fmt.Sprint(i)), map[string]any{"v": bytes.Repeat([]byte{byte(i)}, 1<<20-100)})
	}
	// What a filter leaves out has been read too.
	for filter, want := range map[tablestore.ColumnFilter][]int{
		nil: {4, 4, 1},
		tablestore.NewSingleColumnCondition("k", tablestore.CT_EQUAL, "none"): {0, 0, 0},
	} {
		var sizes []int
		start, end := new(tablestore.PrimaryKey), new(tablestore.PrimaryKey)
		start.AddPrimaryKeyColumnWithMinValue("k")
		end.AddPrimaryKeyColumnWithMaxValue("k")
		for start != nil {
			a, err := readRange(c, start, end, func(q *tablestore.RangeRowQueryCriteria) { q.Filter = filter })
			if err != nil {
				t.Fatal(err)
			}
			sizes, start = append(sizes, len(a.Rows)), a.NextStartPrimaryKey
			if a.ConsumedCapacityUnit.Read != 1024 && len(sizes) < 3 {
				t.Errorf("four megabytes consumed %d units, want 1024", a.ConsumedCapacityUnit.Read)
			}
		}
		if d := cmp.Diff(want, sizes); d != "" {
			t.Error(d)
		}
	}
}
