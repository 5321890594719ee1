package emulator

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// comparisonOf makes a filter of one comparison, which looks at the newest
// version and drops rows without the column.
func comparisonOf(t testing.TB, column string, c tablepb.ComparatorType, v plainbuffer.Value) *tablepb.SingleColumnValueFilter {
	t.Helper()
	return &tablepb.SingleColumnValueFilter{
		Comparator: c.Enum(), ColumnName: &column, ColumnValue: plainbuffer.AppendValue(nil, v),
		FilterIfMissing: new(true), LatestVersionOnly: new(true),
	}
}

func filterOf(t testing.TB, m proto.Message) *tablepb.Filter {
	t.Helper()
	typ := tablepb.FilterType_FT_SINGLE_COLUMN_VALUE
	switch m.(type) {
	case *tablepb.CompositeColumnValueFilter:
		typ = tablepb.FilterType_FT_COMPOSITE_COLUMN_VALUE
	case *tablepb.ColumnPaginationFilter:
		typ = tablepb.FilterType_FT_COLUMN_PAGINATION
	}
	return &tablepb.Filter{Type: typ.Enum(), Filter: marshal(t, m)}
}

func compositeOf(t testing.TB, operator tablepb.LogicalOperator, of ...proto.Message) *tablepb.CompositeColumnValueFilter {
	t.Helper()
	c := &tablepb.CompositeColumnValueFilter{Combinator: operator.Enum()}
	for _, m := range of {
		c.SubFilters = append(c.SubFilters, filterOf(t, m))
	}
	return c
}

// filteredRow has a column of each type and one of three versions.
func filteredRow() *plainbuffer.Row {
	return &plainbuffer.Row{Key: keyOf("key"), Columns: []plainbuffer.Cell{
		{Name: []byte("blob"), Timestamp: 1, Value: plainbuffer.BlobValue([]byte{1, 2})},
		{Name: []byte("double"), Timestamp: 1, Value: plainbuffer.DoubleValue(1.5)},
		{Name: []byte("integer"), Timestamp: 3, Value: plainbuffer.IntegerValue(3)},
		{Name: []byte("integer"), Timestamp: 2, Value: plainbuffer.IntegerValue(20)},
		{Name: []byte("integer"), Timestamp: 1, Value: plainbuffer.IntegerValue(-1)},
		{Name: []byte("text"), Timestamp: 1, Value: plainbuffer.StringValue("t1:42,x")},
		{Name: []byte("yes"), Timestamp: 1, Value: plainbuffer.BooleanValue(true)},
	}}
}

func TestAComparisonHolds(t *testing.T) {
	const (
		equal, notEqual     = tablepb.ComparatorType_CT_EQUAL, tablepb.ComparatorType_CT_NOT_EQUAL
		greater, greaterToo = tablepb.ComparatorType_CT_GREATER_THAN, tablepb.ComparatorType_CT_GREATER_EQUAL
		less, lessToo       = tablepb.ComparatorType_CT_LESS_THAN, tablepb.ComparatorType_CT_LESS_EQUAL
	)
	integer, double, text := plainbuffer.IntegerValue, plainbuffer.DoubleValue, plainbuffer.StringValue
	rule := func(regex string, cast tablepb.VariantType) func(*tablepb.SingleColumnValueFilter) {
		return func(q *tablepb.SingleColumnValueFilter) {
			q.ValueTransRule = &tablepb.ValueTransferRule{Regex: &regex, CastType: cast.Enum()}
		}
	}
	passMissing := func(q *tablepb.SingleColumnValueFilter) { q.FilterIfMissing = new(false) }
	anyVersion := func(q *tablepb.SingleColumnValueFilter) { q.LatestVersionOnly = new(false) }
	for _, tt := range []struct {
		name       string
		column     string
		comparator tablepb.ComparatorType
		value      plainbuffer.Value
		change     func(*tablepb.SingleColumnValueFilter)
		want       bool
	}{
		{"equal", "integer", equal, integer(3), nil, true},
		{"not equal", "integer", equal, integer(4), nil, false},
		{"differs", "integer", notEqual, integer(4), nil, true},
		{"does not differ", "integer", notEqual, integer(3), nil, false},
		{"greater", "integer", greater, integer(2), nil, true},
		{"not greater", "integer", greater, integer(3), nil, false},
		{"at least", "integer", greaterToo, integer(3), nil, true},
		{"less", "integer", less, integer(4), nil, true},
		{"not less", "integer", less, integer(3), nil, false},
		{"at most", "integer", lessToo, integer(3), nil, true},
		{"not at most", "integer", lessToo, integer(2), nil, false},
		{"an older version does not count", "integer", equal, integer(20), nil, false},
		{"an older version counts", "integer", equal, integer(20), anyVersion, true},
		{"no version", "integer", equal, integer(21), anyVersion, false},
		{"double", "double", less, double(1.6), nil, true},
		{"boolean", "yes", equal, plainbuffer.BooleanValue(true), nil, true},
		{"false is less", "yes", greater, plainbuffer.BooleanValue(false), nil, true},
		{"text by its bytes", "text", greater, text("t1:4"), nil, true},
		{"blob by its bytes", "blob", less, plainbuffer.BlobValue([]byte{1, 3}), nil, true},
		{"key", "k", equal, text("key"), nil, true},
		{"another key", "k", equal, text("kez"), nil, false},
		{"another type is not equal", "integer", equal, double(3), nil, false},
		{"another type differs", "integer", notEqual, double(3), nil, true},
		{"another type is not less", "text", less, plainbuffer.BlobValue([]byte("z")), nil, false},
		{"missing", "none", notEqual, integer(1), nil, false},
		{"missing passes", "none", equal, integer(1), passMissing, true},
		{"there, not equal, and missing would pass", "integer", equal, integer(1), passMissing, false},
		{"a part as an integer", "text", greater, integer(41), rule("t1:([0-9]+),", tablepb.VariantType_VT_INTEGER), true},
		{"a part as a double", "text", equal, double(42), rule("t1:([0-9]+),", tablepb.VariantType_VT_DOUBLE), true},
		{"a part as a string", "text", equal, text("42"), rule("t1:([0-9]+),", tablepb.VariantType_VT_STRING), true},
		{"all of a match", "text", equal, text("t1"), rule("t[0-9]", tablepb.VariantType_VT_STRING), true},
		{"no match", "text", notEqual, integer(1), rule("u([0-9]+)", tablepb.VariantType_VT_INTEGER), false},
		{"a part that is no integer", "text", notEqual, integer(1), rule("(t)", tablepb.VariantType_VT_INTEGER), false},
		{"a part of an integer", "integer", notEqual, integer(1), rule("(.)", tablepb.VariantType_VT_INTEGER), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := comparisonOf(t, tt.column, tt.comparator, tt.value)
			if tt.change != nil {
				tt.change(q)
			}
			f, err := parseFilter(marshal(t, filterOf(t, q)))
			if err != nil {
				t.Fatal(err)
			}
			if got := f.condition.holds(filteredRow()); got != tt.want {
				t.Errorf("holds: %v", got)
			}
		})
	}
}

func TestAFilterThatIsNotRightIsToldWhy(t *testing.T) {
	one := comparisonOf(t, "a", tablepb.ComparatorType_CT_EQUAL, plainbuffer.IntegerValue(1))
	with := func(change func(*tablepb.SingleColumnValueFilter)) proto.Message {
		q := proto.CloneOf(one)
		change(q)
		return q
	}
	many := func(n int) proto.Message {
		c := compositeOf(t, tablepb.LogicalOperator_LO_OR)
		for range n {
			c.SubFilters = append(c.SubFilters, filterOf(t, one))
		}
		return c
	}
	deep := func(n int) proto.Message {
		var m proto.Message = one
		for range n {
			m = compositeOf(t, tablepb.LogicalOperator_LO_NOT, m)
		}
		return m
	}
	page := func(offset, limit int32) proto.Message {
		return &tablepb.ColumnPaginationFilter{Offset: &offset, Limit: &limit}
	}
	for _, tt := range []struct {
		name   string
		filter proto.Message
		says   string // empty: it is right
	}{
		{"the most there may be", many(31), ""},
		{"too many", many(32), "The count of filter exceeds the max: 32."},
		{"the deepest there may be", deep(31), ""},
		{"too deep", deep(32), "The count of filter exceeds the max: 32."},
		{"much too deep", deep(1000), "The count of filter exceeds the max: 32."},
		{"NOT of two", compositeOf(t, tablepb.LogicalOperator_LO_NOT, one, one), "Invalid NOT operator: the number of sub-filters must be 1."},
		{"NOT of nothing", compositeOf(t, tablepb.LogicalOperator_LO_NOT), "Invalid NOT operator: the number of sub-filters must be 1."},
		{"AND of one", compositeOf(t, tablepb.LogicalOperator_LO_AND, one), "Invalid AND/OR operator: the number of sub-filters must be more than 1."},
		{"OR of one", compositeOf(t, tablepb.LogicalOperator_LO_OR, one), "Invalid AND/OR operator: the number of sub-filters must be more than 1."},
		{"no column", with(func(q *tablepb.SingleColumnValueFilter) { q.ColumnName = new("") }), "Invalid column name"},
		{"no value", with(func(q *tablepb.SingleColumnValueFilter) { q.ColumnValue = []byte{} }), "Invalid value of the filter on column 'a'"},
		{"half a value", with(func(q *tablepb.SingleColumnValueFilter) { q.ColumnValue = q.ColumnValue[:4] }), "Invalid value of the filter on column 'a'"},
		{"an endless value", with(func(q *tablepb.SingleColumnValueFilter) { q.ColumnValue = []byte{byte(plainbuffer.InfMax)} }), "VT_INF_MAX is an invalid type"},
		{"a long value", with(func(q *tablepb.SingleColumnValueFilter) {
			q.ColumnValue = plainbuffer.AppendValue(nil, plainbuffer.BlobValue(make([]byte, maxColumnBytes+1)))
		}), "The length of attribute column: 'a' exceeds the MaxLength:2097152 with CurrentLength:2097153."},
		{"an expression that is none", with(func(q *tablepb.SingleColumnValueFilter) {
			q.ValueTransRule = &tablepb.ValueTransferRule{Regex: new("(")}
		}), "Invalid regular expression"},
		{"a long expression", with(func(q *tablepb.SingleColumnValueFilter) {
			q.ValueTransRule = &tablepb.ValueTransferRule{Regex: new(strings.Repeat("x", 257))}
		}), "has 257 bytes"},
		{"a cast to nothing", with(func(q *tablepb.SingleColumnValueFilter) {
			q.ValueTransRule = &tablepb.ValueTransferRule{Regex: new("x"), CastType: tablepb.VariantType_VT_NULL.Enum()}
		}), "cannot cast"},
		{"a page", page(0, 1), ""},
		{"a page before the first", page(-1, 1), "the offset must not be negative"},
		{"an empty page", page(0, 0), "the limit must be greater than 0"},
		{"a page inside", compositeOf(t, tablepb.LogicalOperator_LO_NOT, page(0, 1)), "alone"},
		{"no comparator", with(func(q *tablepb.SingleColumnValueFilter) { q.Comparator = nil }), "comparator"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseFilter(marshal(t, filterOf(t, tt.filter)))
			if tt.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantCode(t, err, codeParameterInvalid)
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
		})
	}
	if _, err := parseCondition(marshal(t, filterOf(t, page(0, 1)))); err == nil {
		t.Error("a page of columns is a condition")
	}
}

func TestAPageOfColumnsHasAllVersionsOfEach(t *testing.T) {
	names := func(offset, limit int) string {
		p := columnPage{offset, limit}
		var s []string
		for _, c := range p.of(filteredRow().Columns) {
			s = append(s, string(c.Name))
		}
		return strings.Join(s, " ")
	}
	for _, tt := range []struct {
		offset, limit int
		want          string
	}{
		{0, 1, "blob"},
		{1, 2, "double integer integer integer"},
		{3, 1, "text"},
		{4, 9, "yes"},
		{5, 1, ""},
		{0, 99, "blob double integer integer integer text yes"},
	} {
		if got := names(tt.offset, tt.limit); got != tt.want {
			t.Errorf("%d columns from %d: %q, want %q", tt.limit, tt.offset, got, tt.want)
		}
	}
}

// FuzzAFilterIsParsedOrRefused: whatever the bytes, and a filter that is
// parsed has an opinion about any row.
func FuzzAFilterIsParsedOrRefused(f *testing.F) {
	one := comparisonOf(f, "integer", tablepb.ComparatorType_CT_LESS_THAN, plainbuffer.IntegerValue(7))
	rule := proto.CloneOf(one)
	rule.ValueTransRule = &tablepb.ValueTransferRule{Regex: new("t1:([0-9]+),"), CastType: tablepb.VariantType_VT_INTEGER.Enum()}
	for _, m := range []proto.Message{
		one, rule,
		compositeOf(f, tablepb.LogicalOperator_LO_NOT, one),
		compositeOf(f, tablepb.LogicalOperator_LO_AND, one, compositeOf(f, tablepb.LogicalOperator_LO_OR, one, rule)),
		&tablepb.ColumnPaginationFilter{Offset: new(int32(1)), Limit: new(int32(2))},
	} {
		f.Add(marshal(f, filterOf(f, m)))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		parsed, err := parseFilter(b)
		c, err2 := parseCondition(b)
		if err != nil {
			wantCode(t, err, codeParameterInvalid)
			return
		}
		if (err2 == nil) != (parsed.page == nil) {
			t.Fatalf("a filter with the page %v as a condition: %v", parsed.page, err2)
		}
		for _, r := range []*plainbuffer.Row{filteredRow(), {Key: keyOf("")}} {
			if parsed.condition != nil && parsed.condition.holds(r) != c.holds(r) {
				t.Fatal("a filter and the condition of its bytes differ")
			}
			if parsed.page != nil && len(parsed.page.of(r.Columns)) > len(r.Columns) {
				t.Fatal("a page has more columns than there are")
			}
		}
	})
}
