package emulator

import (
	"errors"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// maxBatchGetRows is the service's limit of one BatchGetRow.
const maxBatchGetRows = 100

// batchGetRow refuses the whole batch for what is wrong with a table's query
// or a key in itself. A key that does not fit its table fails alone, and so
// does every key of a table that is not there: the service's document has the
// whole batch refused for that, the tests of its SDK for C# do not.
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
	queries := make([]batchQuery, 0, len(q.GetTables()))
	for _, in := range q.GetTables() {
		b, err := e.parseBatchQuery(in)
		if err != nil {
			return nil, err
		}
		queries = append(queries, b)
	}
	answer := &tablepb.BatchGetRowResponse{}
	for _, b := range queries {
		answer.Tables = append(answer.Tables, b.read())
	}
	return answer, nil
}

// batchQuery is what a batch reads of one table.
type batchQuery struct {
	name *string
	selection
	keys   [][]plainbuffer.Cell
	table  *table
	absent error // instead of the table
}

// parseBatchQuery leaves a query without keys as it is: nothing else of it is
// looked at.
func (e *Emulator) parseBatchQuery(in *tablepb.TableInBatchGetRowRequest) (b batchQuery, err error) {
	b.name = in.TableName
	if len(in.GetPrimaryKey()) == 0 {
		return b, nil
	}
	for _, token := range in.GetToken() {
		if len(token) > 0 {
			return b, unsupported("tokens of wide rows")
		}
	}
	b.table, err = e.table(in.GetTableName())
	if fail, ok := errors.AsType[*Error](err); ok && fail.Code == codeObjectNotExist {
		b.absent = err
	} else if err != nil {
		return b, err
	}
	if b.selection, err = selectionOf(in); err != nil {
		return b, err
	}
	for _, encoded := range in.GetPrimaryKey() {
		key, err := parseKey(encoded, false)
		if err != nil {
			return b, err
		}
		b.keys = append(b.keys, key)
	}
	return b, nil
}

func (b *batchQuery) read() *tablepb.TableInBatchGetRowResponse {
	out := &tablepb.TableInBatchGetRowResponse{TableName: b.name}
	for _, key := range b.keys {
		err := b.absent
		if err == nil {
			err = b.table.fitsKey(key)
		}
		if err != nil {
			out.Rows = append(out.Rows, &tablepb.RowInBatchGetRowResponse{IsOk: new(false), Error: errorMessage(err)})
			continue
		}
		consumed, encoded := b.table.read(&b.selection, key)
		out.Rows = append(out.Rows, &tablepb.RowInBatchGetRowResponse{IsOk: new(true), Consumed: consumed, Row: encoded})
	}
	return out
}
