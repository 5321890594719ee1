package emulator

import (
	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// maxBatchGetRows is the service's limit of one BatchGetRow.
const maxBatchGetRows = 100

// batchGetRow refuses the whole batch for what is wrong with a table's query.
// A key that does not fit its table fails alone.
func (e *Emulator) batchGetRow(q *tablepb.BatchGetRowRequest) (*tablepb.BatchGetRowResponse, error) {
	if len(q.GetTables()) == 0 {
		return nil, failf(codeParameterInvalid, "No row specified in the request of BatchGetRow.")
	}
	rows := 0
	for _, in := range q.GetTables() {
		rows += len(in.GetPrimaryKey())
	}
	if rows > maxBatchGetRows {
		return nil, failf(codeParameterInvalid, "Rows count exceeds the upper limit: %d.", maxBatchGetRows)
	}
	type query struct {
		table *table
		selection
	}
	var queries []query
	for _, in := range q.GetTables() {
		for _, token := range in.GetToken() {
			if len(token) > 0 {
				return nil, unsupported("tokens of wide rows")
			}
		}
		t, err := e.table(in.GetTableName())
		if err != nil {
			return nil, err
		}
		s, err := selectionOf(in)
		if err != nil {
			return nil, err
		}
		queries = append(queries, query{t, s})
	}
	answer := &tablepb.BatchGetRowResponse{}
	for i, in := range q.GetTables() {
		out := &tablepb.TableInBatchGetRowResponse{TableName: in.TableName}
		for _, encoded := range in.GetPrimaryKey() {
			key, err := queries[i].table.decodeKey(encoded, false)
			out.Rows = append(out.Rows, queries[i].table.rowRead(&queries[i].selection, key, err))
		}
		answer.Tables = append(answer.Tables, out)
	}
	return answer, nil
}

func (t *table) rowRead(s *selection, key []plainbuffer.Cell, err error) *tablepb.RowInBatchGetRowResponse {
	if err != nil {
		return &tablepb.RowInBatchGetRowResponse{IsOk: new(false), Error: errorMessage(err)}
	}
	consumed, encoded := t.read(s, key)
	return &tablepb.RowInBatchGetRowResponse{IsOk: new(true), Consumed: consumed, Row: encoded}
}
