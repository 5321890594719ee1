package emulator

import (
	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// The service's limits of one GetRange: of rows and of bytes that are looked
// at. A filter makes an answer smaller than that, and may leave nothing of it.
const (
	maxRangeRows  = 5000
	maxRangeBytes = 4 << 20
)

// getRange answers rows in PlainBuffer, whatever encoding the request hints
// at.
func (e *Emulator) getRange(q *tablepb.GetRangeRequest) (*tablepb.GetRangeResponse, error) {
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
	s.named = !q.GetReturnEntirePrimaryKeys()
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
			return nil, failf(codeParameterInvalid, "The limit must be greater than 0.")
		}
		limit = min(limit, int(q.GetLimit()))
	}

	t.mu.RLock()
	defer t.mu.RUnlock()
	now := t.clock.now()
	rows, sign, than := t.rows.ascend(start), 1, "less"
	if q.GetDirection() == tablepb.Direction_BACKWARD {
		rows, sign, than = t.rows.descend(start), -1, "more"
	}
	if sign*compareKeys(start, end) >= 0 {
		return nil, failf(codeParameterInvalid, "Begin key must %s than end key in %v", than, q.GetDirection())
	}
	answer := &tablepb.GetRangeResponse{Rows: []byte{}}
	found, scanned, size := 0, 0, 0
	for r := range rows {
		if sign*compareKeys(r.key, end) >= 0 {
			break
		}
		if r = t.visible(r, now); r == nil {
			continue
		}
		out := s.of(r)
		if found == limit || scanned == maxRangeRows || scanned > 0 && size+out.size > maxRangeBytes {
			answer.NextStartPrimaryKey = plainbuffer.Append(nil, &plainbuffer.Row{Key: r.key})
			break
		}
		scanned++
		if size += out.size; !out.there {
			continue
		}
		if found == 0 {
			answer.Rows = plainbuffer.AppendHeader(answer.Rows)
		}
		answer.Rows = plainbuffer.AppendRow(answer.Rows, &out.row)
		found++
	}
	answer.Consumed = consumedReading(size)
	return answer, nil
}
