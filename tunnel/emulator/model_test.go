package emulator

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// model is a table as its documents describe it, written without regard to
// anything but that: rows of columns of versions of integers.
type model struct {
	rows       map[modelKey]modelRow
	timeToLive int64 // seconds; -1: for ever
	versions   int
}

type modelKey struct {
	p string
	i int64
}

type modelRow map[string]map[int64]int64

type modelCell struct {
	op      plainbuffer.Op
	name    string
	version int64 // 0: none
	value   int64
}

type modelWrite struct {
	key    modelKey
	typ    tablepb.OperationType
	expect tablepb.RowExistenceExpectation
	cells  []modelCell
}

const modelDeviation = 10 * 86400

// visible is the row of a key at now (milliseconds), nil if there is none.
func (m *model) visible(k modelKey, now int64) modelRow {
	old, ok := m.rows[k]
	if !ok {
		return nil
	}
	row := make(modelRow)
	for name, versions := range old {
		newest := slices.SortedFunc(maps.Keys(versions), func(a, b int64) int { return cmp.Compare(b, a) })
		for _, v := range newest[:min(m.versions, len(newest))] {
			if m.timeToLive < 0 || v >= now-m.timeToLive*1000 {
				row.put(name, v, versions[v])
			}
		}
	}
	if len(old) > 0 && len(row) == 0 {
		return nil
	}
	return row
}

func (r modelRow) put(name string, version, value int64) {
	if r[name] == nil {
		r[name] = make(map[int64]int64)
	}
	r[name][version] = value
}

func (r modelRow) clone() modelRow {
	c := make(modelRow)
	for name, versions := range r {
		c[name] = maps.Clone(versions)
	}
	return c
}

// write does a write, and says which error it has; with one, nothing is done.
func (m *model) write(w modelWrite, now int64) string {
	first, end := now-modelDeviation*1000, now+modelDeviation*1000
	if m.timeToLive > 0 {
		first = max(first, now-m.timeToLive*1000)
	}
	for _, c := range w.cells {
		if c.op == plainbuffer.Put && c.version != 0 && (c.version < first || c.version >= end) {
			return codeParameterInvalid
		}
	}
	row := m.visible(w.key, now)
	if w.expect == tablepb.RowExistenceExpectation_EXPECT_EXIST && row == nil ||
		w.expect == tablepb.RowExistenceExpectation_EXPECT_NOT_EXIST && row != nil {
		return codeConditionCheckFail
	}
	was := row != nil
	if w.typ == tablepb.OperationType_PUT || row == nil {
		row = make(modelRow)
	}
	for _, c := range w.cells {
		version := cmp.Or(c.version, now)
		switch c.op {
		case plainbuffer.Put:
			row.put(c.name, version, c.value)
		case plainbuffer.DeleteOneVersion:
			if delete(row[c.name], version); len(row[c.name]) == 0 {
				delete(row, c.name)
			}
		case plainbuffer.DeleteAllVersions:
			delete(row, c.name)
		case plainbuffer.Increment:
			newest := int64(math.MinInt64)
			for v := range row[c.name] {
				newest = max(newest, v)
			}
			row.put(c.name, max(now, newest), row[c.name][newest]+c.value)
		}
	}
	if w.typ == tablepb.OperationType_DELETE || w.typ == tablepb.OperationType_UPDATE && !was && len(row) == 0 {
		delete(m.rows, w.key)
	} else {
		m.rows[w.key] = row
		m.rows[w.key] = m.visible(w.key, math.MinInt64/2) // more versions than are kept go
	}
	return ""
}

func (w *modelWrite) message() *tablepb.RowInBatchWriteRowRequest {
	r := plainbuffer.Row{Key: w.key.cells(), Deleted: w.typ == tablepb.OperationType_DELETE}
	for _, c := range w.cells {
		cell := plainbuffer.Cell{Name: []byte(c.name), Op: c.op, Timestamp: c.version, HasTimestamp: c.version != 0}
		if cell.Value = plainbuffer.IntegerValue(c.value); c.op == plainbuffer.DeleteOneVersion || c.op == plainbuffer.DeleteAllVersions {
			cell.Value = plainbuffer.NoValue()
		}
		r.Columns = append(r.Columns, cell)
	}
	return &tablepb.RowInBatchWriteRowRequest{
		Type:      w.typ.Enum(),
		RowChange: plainbuffer.Append(nil, &r),
		Condition: &tablepb.Condition{RowExistence: w.expect.Enum()},
	}
}

func (k modelKey) cells() []plainbuffer.Cell {
	return []plainbuffer.Cell{
		{Name: []byte("p"), Value: plainbuffer.StringValue(k.p)},
		{Name: []byte("i"), Value: plainbuffer.IntegerValue(k.i)},
	}
}

// modelQuery is a read of all rows.
type modelQuery struct {
	names    []string
	versions int
	from, to int64 // both 0: every version
	filter   *modelFilter
}

// modelFilter is one comparison, or two of them.
type modelFilter struct {
	column      string
	comparator  tablepb.ComparatorType
	value       int64
	passMissing bool
	latest      bool
	operator    tablepb.LogicalOperator // 0: this comparison alone
	other       *modelFilter
}

func (f *modelFilter) passes(r modelRow) bool {
	versions := r[f.column]
	holds := func(v int64) bool {
		return map[tablepb.ComparatorType]bool{
			tablepb.ComparatorType_CT_EQUAL: v == f.value, tablepb.ComparatorType_CT_NOT_EQUAL: v != f.value,
			tablepb.ComparatorType_CT_GREATER_THAN: v > f.value, tablepb.ComparatorType_CT_GREATER_EQUAL: v >= f.value,
			tablepb.ComparatorType_CT_LESS_THAN: v < f.value, tablepb.ComparatorType_CT_LESS_EQUAL: v <= f.value,
		}[f.comparator]
	}
	this := f.passMissing
	if len(versions) > 0 {
		newest := slices.Max(slices.Collect(maps.Keys(versions)))
		this = holds(versions[newest])
		if !f.latest {
			this = slices.ContainsFunc(slices.Collect(maps.Values(versions)), holds)
		}
	}
	switch f.operator {
	case tablepb.LogicalOperator_LO_NOT:
		return !this
	case tablepb.LogicalOperator_LO_AND:
		return this && f.other.passes(r)
	case tablepb.LogicalOperator_LO_OR:
		return this || f.other.passes(r)
	}
	return this
}

func (f *modelFilter) message(t *rapid.T) *tablepb.Filter {
	marshal := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	this := &tablepb.Filter{
		Type: tablepb.FilterType_FT_SINGLE_COLUMN_VALUE.Enum(),
		Filter: marshal(&tablepb.SingleColumnValueFilter{
			Comparator: f.comparator.Enum(), ColumnName: &f.column,
			ColumnValue:     plainbuffer.AppendValue(nil, plainbuffer.IntegerValue(f.value)),
			FilterIfMissing: new(!f.passMissing), LatestVersionOnly: &f.latest,
		}),
	}
	if f.operator == 0 {
		return this
	}
	c := &tablepb.CompositeColumnValueFilter{Combinator: f.operator.Enum(), SubFilters: []*tablepb.Filter{this}}
	if f.other != nil {
		c.SubFilters = append(c.SubFilters, f.other.message(t))
	}
	return &tablepb.Filter{Type: tablepb.FilterType_FT_COMPOSITE_COLUMN_VALUE.Enum(), Filter: marshal(c)}
}

// read gives the rows that a query finds.
func (m *model) read(q modelQuery, now int64) map[modelKey]modelRow {
	found := make(map[modelKey]modelRow)
	for k := range m.rows {
		row := m.visible(k, now)
		if row == nil {
			continue
		}
		out := make(modelRow)
		for name, versions := range row {
			if len(q.names) > 0 && !slices.Contains(q.names, name) {
				continue
			}
			newest := slices.SortedFunc(maps.Keys(versions), func(a, b int64) int { return cmp.Compare(b, a) })
			if q.to > 0 {
				newest = slices.DeleteFunc(newest, func(v int64) bool { return v < q.from || v >= q.to })
			}
			for _, v := range newest[:min(q.versions, len(newest))] {
				out.put(name, v, versions[v])
			}
		}
		if (len(out) > 0 || len(q.names) == 0) && (q.filter == nil || q.filter.passes(out)) {
			found[k] = out
		}
	}
	return found
}
