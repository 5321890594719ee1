package emulator

import (
	"math"
	"slices"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// What GetRow, BatchGetRow and GetRange select of a row.

// maxColumnsToGet is what the tests of the service's SDK for Java find. Its
// documents say 128.
const maxColumnsToGet = 1024

// selection says which rows are asked for, and which cells of a row.
type selection struct {
	names       []string // none: all
	start, end  string   // names of columns: start inclusive, end exclusive; empty: open
	maxVersions int
	from, to    int64 // versions, milliseconds: from inclusive, to exclusive
	filter      filter
	named       bool // of the key too, only the columns that are named
}

// rowQuery is what the calls have in common.
type rowQuery interface {
	GetTableName() string
	GetColumnsToGet() []string
	GetTimeRange() *tablepb.TimeRange
	GetMaxVersions() int32
	GetFilter() []byte
	GetStartColumn() string
	GetEndColumn() string
}

func selectionOf(q rowQuery) (selection, error) {
	for _, name := range q.GetColumnsToGet() {
		if err := checkColumnName(name); err != nil {
			return selection{}, err
		}
	}
	r, n := q.GetTimeRange(), q.GetMaxVersions()
	if r == nil && n == 0 {
		if _, ok := q.(*tablepb.TableInBatchGetRowRequest); ok {
			return selection{}, failf(codeParameterInvalid, "No version condition is specified while querying row.")
		}
		return selection{}, failf(codeParameterInvalid, "No version condition is specified.")
	}
	if n < 0 {
		return selection{}, failf(codeParameterInvalid, "The max versions must be positive, not %d.", n)
	}
	if n := len(q.GetColumnsToGet()); n > maxColumnsToGet {
		return selection{}, failf(codeParameterInvalid, "The number of columns from the request exceeds the limit, limit count: %d, column count: %d.", maxColumnsToGet, n)
	}
	s := selection{
		names:       q.GetColumnsToGet(),
		start:       q.GetStartColumn(),
		end:         q.GetEndColumn(),
		maxVersions: math.MaxInt32,
		to:          math.MaxInt64,
	}
	if n > 0 {
		s.maxVersions = int(n)
	}
	switch {
	case r != nil && r.SpecificTime != nil:
		s.from = r.GetSpecificTime()
		s.to = s.from + 1
	case r != nil:
		s.from, s.to = r.GetStartTime(), r.GetEndTime()
	}
	if s.from < 0 || s.to <= s.from {
		return selection{}, failf(codeParameterInvalid, "Invalid time range: [%d, %d).", s.from, s.to)
	}
	var err error
	s.filter, err = parseFilter(q.GetFilter())
	return s, err
}

// selected is what a selection leaves of a row.
type selected struct {
	row   plainbuffer.Row
	there bool
	// size is how many bytes of it were read, also if the filter left nothing.
	size int
}

// of selects from a visible row. A row of which columns were asked for, and
// has none of them, is not there. The filter sees what else is selected and
// all of the key: that the key need not be named is a guess.
func (s *selection) of(r *row) selected {
	out := selected{row: plainbuffer.Row{Key: r.key}}
	for _, c := range r.columns {
		if c.Timestamp >= s.from && c.Timestamp < s.to && s.hasColumn(c.Name) {
			out.row.Columns = append(out.row.Columns, c)
		}
	}
	out.row.Columns = newest(out.row.Columns, s.maxVersions)
	named := func(c plainbuffer.Cell) bool { return slices.Contains(s.names, string(c.Name)) }
	if len(out.row.Columns) == 0 && (len(s.names) > 0 || s.start != "" || s.end != "") && !slices.ContainsFunc(r.key, named) {
		return out
	}
	out.size = dataSize(out.row.Key) + dataSize(out.row.Columns)
	if s.filter.condition != nil && !s.filter.condition.holds(&out.row) {
		return out
	}
	if s.filter.page != nil {
		out.row.Columns = s.filter.page.of(out.row.Columns)
	}
	if s.named && len(s.names) > 0 {
		out.row.Key = slices.DeleteFunc(slices.Clone(out.row.Key), func(c plainbuffer.Cell) bool { return !named(c) })
	}
	out.there = true
	return out
}

func (s *selection) hasColumn(name []byte) bool {
	return (len(s.names) == 0 || slices.Contains(s.names, string(name))) &&
		string(name) >= s.start && (s.end == "" || string(name) < s.end)
}

// refuseRead refuses what of GetRow and GetRange is left out.
func refuseRead(q interface {
	GetTransactionId() string
	GetToken() []byte
}) error {
	switch {
	case q.GetTransactionId() != "":
		return unsupported("local transactions")
	case len(q.GetToken()) > 0:
		return unsupported("tokens of wide rows")
	}
	return nil
}

func (e *Emulator) getRow(q *tablepb.GetRowRequest) (*tablepb.GetRowResponse, error) {
	if err := refuseRead(q); err != nil {
		return nil, err
	}
	t, err := e.table(q.GetTableName())
	if err != nil {
		return nil, err
	}
	s, err := selectionOf(q)
	if err != nil {
		return nil, err
	}
	key, err := t.decodeKey(q.GetPrimaryKey(), false)
	if err != nil {
		return nil, err
	}
	consumed, encoded := t.read(&s, key)
	return &tablepb.GetRowResponse{Consumed: consumed, Row: encoded}, nil
}

// read answers one row, encoded; without any bytes if it is not there.
func (t *table) read(s *selection, key []plainbuffer.Cell) (*tablepb.ConsumedCapacity, []byte) {
	encoded, size := []byte{}, 0
	if r := t.get(key); r != nil {
		out := s.of(r)
		if size = out.size; out.there {
			encoded = plainbuffer.Append(encoded, &out.row)
		}
	}
	return consumedReading(size), encoded
}

// decodeKey decodes a key of the table, or a bound of a range.
func (t *table) decodeKey(encoded []byte, bound bool) ([]plainbuffer.Cell, error) {
	key, err := parseKey(encoded, bound)
	if err != nil {
		return nil, err
	}
	return key, t.fitsKey(key)
}

// parseKey decodes a key, or a bound of a range, of whatever table.
func parseKey(encoded []byte, bound bool) ([]plainbuffer.Cell, error) {
	var r plainbuffer.Row
	if err := r.Decode(encoded); err != nil {
		return nil, failf(codeParameterInvalid, "Invalid primary key: %v.", err)
	}
	if len(r.Columns) > 0 {
		return nil, failf(codeParameterInvalid, "A primary key holds no attribute columns.")
	}
	if bound {
		return r.Key, checkKey(r.Key, plainbuffer.InfMin, plainbuffer.InfMax)
	}
	return r.Key, checkKey(r.Key)
}
