package emulator

import (
	"bytes"
	"math"
	"regexp"
	"slices"
	"strconv"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// Filters of reads and conditions of writes: parsed from a request, then
// asked about one row after the other.

// The service's limits of one filter.
const (
	maxFilters    = 32 // with all that it is made of
	maxRegexBytes = 256
)

// filter is what a read keeps: of the rows, and of a row's columns.
type filter struct {
	condition condition   // nil: every row
	page      *columnPage // nil: every column
}

// condition is asked about a row's key and columns, which are sorted by name,
// the versions of one column newest first.
type condition interface {
	holds(r *plainbuffer.Row) bool
}

// columnPage picks columns of a row by their place, all versions of each.
type columnPage struct {
	offset, limit int
}

// parseFilter parses the filter of a read. None: a filter that keeps all.
func parseFilter(b []byte) (filter, error) {
	if len(b) == 0 {
		return filter{}, nil
	}
	var q tablepb.Filter
	if err := parse(b, &q); err != nil {
		return filter{}, err
	}
	if q.GetType() != tablepb.FilterType_FT_COLUMN_PAGINATION {
		c, err := new(filterParser).parse(&q)
		return filter{condition: c}, err
	}
	var p tablepb.ColumnPaginationFilter
	if err := parse(q.GetFilter(), &p); err != nil {
		return filter{}, err
	}
	if p.GetOffset() < 0 || p.GetLimit() < 1 {
		return filter{}, failf(codeParameterInvalid, "Invalid column pagination filter: the offset must not be negative and the limit must be greater than 0, not %d and %d.", p.GetOffset(), p.GetLimit())
	}
	return filter{page: &columnPage{int(p.GetOffset()), int(p.GetLimit())}}, nil
}

// parseCondition parses the column condition of a write. None: nil.
func parseCondition(b []byte) (condition, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var q tablepb.Filter
	if err := parse(b, &q); err != nil {
		return nil, err
	}
	return new(filterParser).parse(&q)
}

// filterParser counts what it parses, which bounds the depth too.
type filterParser struct {
	filters int
}

func (p *filterParser) parse(q *tablepb.Filter) (condition, error) {
	if p.filters++; p.filters > maxFilters {
		return nil, failf(codeParameterInvalid, "The count of filter exceeds the max: %d.", maxFilters)
	}
	switch q.GetType() {
	case tablepb.FilterType_FT_SINGLE_COLUMN_VALUE:
		var s tablepb.SingleColumnValueFilter
		if err := parse(q.GetFilter(), &s); err != nil {
			return nil, err
		}
		return parseComparison(&s)
	case tablepb.FilterType_FT_COMPOSITE_COLUMN_VALUE:
		var c tablepb.CompositeColumnValueFilter
		if err := parse(q.GetFilter(), &c); err != nil {
			return nil, err
		}
		return p.composite(&c)
	}
	return nil, failf(codeParameterInvalid, "A column pagination filter can only filter what is read, and alone.")
}

func (p *filterParser) composite(q *tablepb.CompositeColumnValueFilter) (condition, error) {
	c := composite{operator: q.GetCombinator()}
	for _, sub := range q.GetSubFilters() {
		of, err := p.parse(sub)
		if err != nil {
			return nil, err
		}
		c.of = append(c.of, of)
	}
	switch {
	case c.operator == tablepb.LogicalOperator_LO_NOT && len(c.of) != 1:
		return nil, failf(codeParameterInvalid, "Invalid NOT operator: the number of sub-filters must be 1.")
	case c.operator != tablepb.LogicalOperator_LO_NOT && len(c.of) < 2:
		return nil, failf(codeParameterInvalid, "Invalid AND/OR operator: the number of sub-filters must be more than 1.")
	}
	return c, nil
}

type composite struct {
	operator tablepb.LogicalOperator
	of       []condition
}

func (c composite) holds(r *plainbuffer.Row) bool {
	holds := func(of condition) bool { return of.holds(r) }
	fails := func(of condition) bool { return !of.holds(r) }
	switch c.operator {
	case tablepb.LogicalOperator_LO_NOT:
		return fails(c.of[0])
	case tablepb.LogicalOperator_LO_AND:
		return !slices.ContainsFunc(c.of, fails)
	}
	return slices.ContainsFunc(c.of, holds)
}

// comparison compares a column, of the key or not, with a value.
type comparison struct {
	column     []byte
	comparator tablepb.ComparatorType
	with       plainbuffer.Value
	// passMissing: a row without the column passes.
	passMissing bool
	// latestOnly: only the newest version counts; else any version that passes
	// will do.
	latestOnly bool
	rule       *transfer // nil: the value is compared as it is
}

func parseComparison(q *tablepb.SingleColumnValueFilter) (condition, error) {
	if err := checkColumnName(q.GetColumnName()); err != nil {
		return nil, err
	}
	with, err := plainbuffer.DecodeValue(q.GetColumnValue())
	if err != nil {
		return nil, failf(codeParameterInvalid, "Invalid value of the filter on column '%s': %v.", q.GetColumnName(), err)
	}
	if err := checkValue([]byte(q.GetColumnName()), with); err != nil {
		return nil, err
	}
	c := comparison{
		column:      []byte(q.GetColumnName()),
		comparator:  q.GetComparator(),
		with:        with,
		passMissing: !q.GetFilterIfMissing(),
		latestOnly:  q.GetLatestVersionOnly(),
	}
	if q.GetValueTransRule() != nil {
		if c.rule, err = parseTransfer(q.GetValueTransRule()); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c comparison) holds(r *plainbuffer.Row) bool {
	for _, k := range r.Key {
		if bytes.Equal(k.Name, c.column) {
			return c.passes(k.Value)
		}
	}
	newest := plainbuffer.Cell{Name: c.column, Timestamp: math.MaxInt64}
	at, _ := slices.BinarySearchFunc(r.Columns, newest, compareVersions)
	missing := true
	for _, v := range r.Columns[at:] {
		if !bytes.Equal(v.Name, c.column) {
			break
		}
		if c.passes(v.Value) {
			return true
		}
		if missing = false; c.latestOnly {
			break
		}
	}
	return missing && c.passMissing
}

// passes judges one version's value. No document says what comes of values of
// two types: here they differ, and neither is the greater.
func (c comparison) passes(v plainbuffer.Value) bool {
	if c.rule != nil {
		var ok bool
		if v, ok = c.rule.apply(v); !ok {
			return false
		}
	}
	if v.Type() != c.with.Type() {
		return c.comparator == tablepb.ComparatorType_CT_NOT_EQUAL
	}
	d := plainbuffer.Compare(v, c.with)
	switch c.comparator {
	case tablepb.ComparatorType_CT_EQUAL:
		return d == 0
	case tablepb.ComparatorType_CT_NOT_EQUAL:
		return d != 0
	case tablepb.ComparatorType_CT_GREATER_THAN:
		return d > 0
	case tablepb.ComparatorType_CT_GREATER_EQUAL:
		return d >= 0
	case tablepb.ComparatorType_CT_LESS_THAN:
		return d < 0
	}
	return d <= 0
}

// transfer takes a part out of a string and reads it as another type: what the
// first group of its expression matches or, if it has none, all of the match.
type transfer struct {
	regex *regexp.Regexp
	cast  tablepb.VariantType
}

func parseTransfer(q *tablepb.ValueTransferRule) (*transfer, error) {
	if n := len(q.GetRegex()); n > maxRegexBytes {
		return nil, failf(codeParameterInvalid, "The regular expression of a filter has %d bytes, may have %d.", n, maxRegexBytes)
	}
	regex, err := regexp.Compile(q.GetRegex())
	if err != nil {
		return nil, failf(codeParameterInvalid, "Invalid regular expression of a filter: %v.", err)
	}
	t := &transfer{regex: regex, cast: tablepb.VariantType_VT_STRING}
	if q.CastType != nil {
		t.cast = q.GetCastType()
	}
	switch t.cast {
	case tablepb.VariantType_VT_INTEGER, tablepb.VariantType_VT_DOUBLE, tablepb.VariantType_VT_STRING:
		return t, nil
	}
	return nil, failf(codeParameterInvalid, "A filter cannot cast a part of a string to %v.", t.cast)
}

// apply gives the part of v, and whether there is one: v must be a string, the
// expression match, and the part be of the type. What comes of the others is
// a guess.
func (t *transfer) apply(v plainbuffer.Value) (plainbuffer.Value, bool) {
	if v.Type() != plainbuffer.String {
		return v, false
	}
	match := t.regex.FindSubmatch(v.Bytes())
	if match == nil {
		return v, false
	}
	part := match[min(1, len(match)-1)]
	switch t.cast {
	case tablepb.VariantType_VT_INTEGER:
		n, err := strconv.ParseInt(string(part), 10, 64)
		return plainbuffer.IntegerValue(n), err == nil
	case tablepb.VariantType_VT_DOUBLE:
		f, err := strconv.ParseFloat(string(part), 64)
		return plainbuffer.DoubleValue(f), err == nil
	}
	return plainbuffer.StringBytesValue(part), true
}

// of gives the columns on the page. They are sorted by name.
func (p *columnPage) of(columns []plainbuffer.Cell) []plainbuffer.Cell {
	place, from, to := -1, len(columns), len(columns)
	for i, c := range columns {
		if i == 0 || !bytes.Equal(c.Name, columns[i-1].Name) {
			place++
		}
		if place >= p.offset {
			from = min(from, i)
		}
		if place-p.offset >= p.limit {
			to = i
			break
		}
	}
	return columns[from:to]
}
