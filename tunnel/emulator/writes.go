package emulator

import (
	"errors"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// The calls that write rows.

// The service's limits of one BatchWriteRow.
const (
	maxBatchRows  = 200
	maxBatchBytes = 4 << 20
)

func (e *Emulator) putRow(q *tablepb.PutRowRequest) (*tablepb.PutRowResponse, error) {
	consumed, row, err := e.writeRow(tunnelpb.ActionType_PUT_ROW, q, q.GetRow())
	if err != nil {
		return nil, err
	}
	return &tablepb.PutRowResponse{Consumed: consumed, Row: row}, nil
}

func (e *Emulator) updateRow(q *tablepb.UpdateRowRequest) (*tablepb.UpdateRowResponse, error) {
	consumed, row, err := e.writeRow(tunnelpb.ActionType_UPDATE_ROW, q, q.GetRowChange())
	if err != nil {
		return nil, err
	}
	return &tablepb.UpdateRowResponse{Consumed: consumed, Row: row}, nil
}

func (e *Emulator) deleteRow(q *tablepb.DeleteRowRequest) (*tablepb.DeleteRowResponse, error) {
	consumed, row, err := e.writeRow(tunnelpb.ActionType_DELETE_ROW, q, q.GetPrimaryKey())
	if err != nil {
		return nil, err
	}
	return &tablepb.DeleteRowResponse{Consumed: consumed, Row: row}, nil
}

// rowRequest is what PutRow, UpdateRow and DeleteRow have in common.
type rowRequest interface {
	GetTableName() string
	GetCondition() *tablepb.Condition
	GetReturnContent() *tablepb.ReturnContent
	GetTransactionId() string
}

func (e *Emulator) writeRow(action tunnelpb.ActionType, q rowRequest, encoded []byte) (*tablepb.ConsumedCapacity, []byte, error) {
	if q.GetTransactionId() != "" {
		return nil, nil, unsupported("local transactions")
	}
	t, err := e.table(q.GetTableName())
	if err != nil {
		return nil, nil, err
	}
	w, err := t.check(action, encoded, q.GetCondition(), q.GetReturnContent())
	if err != nil {
		return nil, nil, err
	}
	return t.perform(w)
}

// check makes a write of an encoded row and checks everything that does not
// depend on the table's rows.
func (t *table) check(action tunnelpb.ActionType, encoded []byte, condition *tablepb.Condition, content *tablepb.ReturnContent) (*write, error) {
	if len(condition.GetColumnCondition()) > 0 {
		return nil, unsupported("column conditions")
	}
	if content.GetReturnType() == tablepb.ReturnType_RT_AFTER_MODIFY || len(content.GetReturnColumnNames()) > 0 {
		return nil, unsupported("returning columns after the change (RT_AFTER_MODIFY)")
	}
	w, err := t.decode(action, encoded)
	if err != nil {
		return nil, err
	}
	w.expect = condition.GetRowExistence()
	w.returnKey = content.GetReturnType() == tablepb.ReturnType_RT_PK
	return w, nil
}

// perform applies a write and gives what the answer says of it.
func (t *table) perform(w *write) (*tablepb.ConsumedCapacity, []byte, error) {
	if err := t.write(w); err != nil {
		return nil, nil, err
	}
	var row []byte
	if w.returnKey {
		row = plainbuffer.Append(nil, &plainbuffer.Row{Key: w.row.Key})
	}
	return consumedWriting(w.size), row, nil
}

// batchWriteRow refuses the whole batch, and writes nothing, if a row of it is
// not right in itself. What depends on the table, its schema included, is
// judged row by row, and one that fails stops no other. A key may come more
// than once: the service's document says otherwise, the tests of its SDK for
// Python find it so.
func (e *Emulator) batchWriteRow(q *tablepb.BatchWriteRowRequest) (*tablepb.BatchWriteRowResponse, error) {
	if q.GetTransactionId() != "" {
		return nil, unsupported("local transactions")
	}
	if q.GetIsAtomic() {
		return nil, unsupported("atomic batches")
	}
	batch, err := e.checkBatch(q)
	if err != nil {
		return nil, err
	}
	answer := &tablepb.BatchWriteRowResponse{}
	for _, b := range batch {
		answer.Tables = append(answer.Tables, b.perform())
	}
	return answer, nil
}

// tableBatch is what a batch writes to one table: for each row a write, or the
// error of one that does not fit the table.
type tableBatch struct {
	table  *table
	writes []*write
	errs   []error
}

func (e *Emulator) checkBatch(q *tablepb.BatchWriteRowRequest) ([]tableBatch, error) {
	rows, size := 0, 0
	for _, in := range q.GetTables() {
		if len(in.GetRows()) == 0 {
			return nil, failf(codeParameterInvalid, "No operation is specified for table: '%s'.", in.GetTableName())
		}
		rows += len(in.GetRows())
		for _, r := range in.GetRows() {
			size += len(r.GetRowChange())
		}
	}
	switch {
	case rows == 0:
		return nil, failf(codeParameterInvalid, "No row is specified in BatchWriteRow.")
	case rows > maxBatchRows:
		return nil, failf(codeParameterInvalid, "Rows count exceeds the upper limit: %d, limit count: %d.", rows, maxBatchRows)
	case size > maxBatchBytes:
		return nil, failf(codeParameterInvalid, "The total data size of BatchWriteRow exceeds the limit: %d, limit size: %d.", size, maxBatchBytes)
	}
	var batch []tableBatch
	for _, in := range q.GetTables() {
		t, err := e.table(in.GetTableName())
		if err != nil {
			return nil, err
		}
		b := tableBatch{table: t}
		for _, r := range in.GetRows() {
			w, err := t.check(actions[r.GetType()], r.GetRowChange(), r.GetCondition(), r.GetReturnContent())
			if fail, ok := errors.AsType[*Error](err); err != nil && (!ok || fail.Code != codeInvalidPK) {
				return nil, err
			}
			b.writes, b.errs = append(b.writes, w), append(b.errs, err)
		}
		batch = append(batch, b)
	}
	return batch, nil
}

// perform applies the writes, in their order.
func (b *tableBatch) perform() *tablepb.TableInBatchWriteRowResponse {
	out := &tablepb.TableInBatchWriteRowResponse{TableName: &b.table.name}
	for i, w := range b.writes {
		row, err := new(tablepb.RowInBatchWriteRowResponse), b.errs[i]
		if err == nil {
			row.Consumed, row.Row, err = b.table.perform(w)
		}
		if row.IsOk = new(err == nil); err != nil {
			fail, ok := errors.AsType[*Error](err)
			if !ok {
				fail = failf(codeInternal, "%v", err)
			}
			row.Error = &tablepb.Error{Code: &fail.Code, Message: &fail.Message}
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}

var actions = map[tablepb.OperationType]tunnelpb.ActionType{
	tablepb.OperationType_PUT:    tunnelpb.ActionType_PUT_ROW,
	tablepb.OperationType_UPDATE: tunnelpb.ActionType_UPDATE_ROW,
	tablepb.OperationType_DELETE: tunnelpb.ActionType_DELETE_ROW,
}
