package emulator

import (
	"bytes"
	"slices"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// The calls that read rows.

// The service's limits of one GetRange.
const (
	maxRangeRows  = 5000
	maxRangeBytes = 4 << 20
)

// selection says which cells of a row are asked for.
type selection struct {
	names       [][]byte // none: all
	maxVersions int
	from, to    int64 // versions, milliseconds: from inclusive, to exclusive
}

// rowQuery is what GetRow and GetRange have in common.
type rowQuery interface {
	GetTableName() string
	GetColumnsToGet() []string
	GetTimeRange() *tablepb.TimeRange
	GetMaxVersions() int32
	GetFilter() []byte
	GetStartColumn() string
	GetEndColumn() string
	GetToken() []byte
	GetTransactionId() string
}

func selectionOf(q rowQuery) (selection, error) {
	for _, refused := range []struct {
		is   bool
		what string
	}{
		{len(q.GetFilter()) > 0, "filters"},
		{q.GetStartColumn() != "" || q.GetEndColumn() != "", "column ranges (start column, end column)"},
		{len(q.GetToken()) > 0, "tokens of wide rows"},
		{q.GetTransactionId() != "", "local transactions"},
	} {
		if refused.is {
			return selection{}, unsupported(refused.what)
		}
	}
	r, n := q.GetTimeRange(), q.GetMaxVersions()
	if r == nil && n == 0 {
		return selection{}, failf(codeParameterInvalid, "No version condition is specified while querying row.")
	}
	if n < 0 {
		return selection{}, failf(codeParameterInvalid, "The max versions must be positive, not %d.", n)
	}
	s := selection{maxVersions: 1<<31 - 1, to: 1<<63 - 1}
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
	for _, name := range q.GetColumnsToGet() {
		s.names = append(s.names, []byte(name))
	}
	return s, nil
}

// apply gives what is selected of r, and whether anything is: a row of which
// columns were asked for, and has none of them, is not there. Key columns
// come always.
func (s *selection) apply(r *row) (plainbuffer.Row, bool) {
	out := plainbuffer.Row{Key: r.key}
	named := func(c plainbuffer.Cell) bool {
		return slices.ContainsFunc(s.names, func(n []byte) bool { return bytes.Equal(n, c.Name) })
	}
	for _, c := range r.columns {
		if c.Timestamp < s.from || c.Timestamp >= s.to || len(s.names) > 0 && !named(c) {
			continue
		}
		out.Columns = append(out.Columns, c)
	}
	out.Columns = newest(out.Columns, s.maxVersions)
	return out, len(out.Columns) > 0 || len(s.names) == 0 || slices.ContainsFunc(r.key, named)
}

func (e *Emulator) getRow(q *tablepb.GetRowRequest) (*tablepb.GetRowResponse, error) {
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
	encoded := []byte{}
	if r := t.get(key); r != nil {
		if out, ok := s.apply(r); ok {
			encoded = plainbuffer.Append(encoded, &out)
		}
	}
	return &tablepb.GetRowResponse{Consumed: consumedReading(len(encoded)), Row: encoded}, nil
}

func (e *Emulator) getRange(q *tablepb.GetRangeRequest) (*tablepb.GetRangeResponse, error) {
	t, err := e.table(q.GetTableName())
	if err != nil {
		return nil, err
	}
	s, err := selectionOf(q)
	if err != nil {
		return nil, err
	}
	if !q.GetReturnEntirePrimaryKeys() {
		return nil, unsupported("returning a part of the key columns")
	}
	start, err := t.decodeKey(q.GetInclusiveStartPrimaryKey(), true)
	if err != nil {
		return nil, err
	}
	end, err := t.decodeKey(q.GetExclusiveEndPrimaryKey(), true)
	if err != nil {
		return nil, err
	}
	limit := maxRangeRows
	if q.Limit != nil {
		if q.GetLimit() < 1 {
			return nil, failf(codeParameterInvalid, "The limit must be greater than 0, not %d.", q.GetLimit())
		}
		limit = min(limit, int(q.GetLimit()))
	}

	t.mu.RLock()
	defer t.mu.RUnlock()
	rows, sign, than := t.rows.ascend(start), 1, "less"
	if q.GetDirection() == tablepb.Direction_BACKWARD {
		rows, sign, than = t.rows.descend(start), -1, "more"
	}
	if sign*compareKeys(start, end) >= 0 {
		return nil, failf(codeParameterInvalid, "Begin key must %s than end key in %v.", than, q.GetDirection())
	}
	answer := &tablepb.GetRangeResponse{Rows: []byte{}}
	n := 0
	for r := range rows {
		if sign*compareKeys(r.key, end) >= 0 {
			break
		}
		if n == limit || len(answer.Rows) >= maxRangeBytes {
			answer.NextStartPrimaryKey = plainbuffer.Append(nil, &plainbuffer.Row{Key: r.key})
			break
		}
		out, ok := s.apply(r)
		if !ok {
			continue
		}
		if n == 0 {
			answer.Rows = plainbuffer.AppendHeader(answer.Rows)
		}
		answer.Rows = plainbuffer.AppendRow(answer.Rows, &out)
		n++
	}
	answer.Consumed = consumedReading(len(answer.Rows))
	return answer, nil
}

// decodeKey decodes a key, or a bound of a range.
func (t *table) decodeKey(encoded []byte, bound bool) ([]plainbuffer.Cell, error) {
	var r plainbuffer.Row
	if err := r.Decode(encoded); err != nil {
		return nil, failf(codeParameterInvalid, "Invalid primary key: %v.", err)
	}
	if len(r.Columns) > 0 {
		return nil, failf(codeParameterInvalid, "A primary key holds no attribute columns.")
	}
	return r.Key, t.checkKey(r.Key, bound)
}
