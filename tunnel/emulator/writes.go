package emulator

import (
	"errors"
	"slices"

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
// not right in itself, or if two rows of a table have one key: the service's
// document of the call says so. What depends on the rows that are there is
// judged row by row, and one that fails stops no other.
func (e *Emulator) batchWriteRow(q *tablepb.BatchWriteRowRequest) (*tablepb.BatchWriteRowResponse, error) {
	if q.GetTransactionId() != "" {
		return nil, unsupported("local transactions")
	}
	if q.GetIsAtomic() {
		return nil, unsupported("atomic batches")
	}
	tables, writes, err := e.checkBatch(q)
	if err != nil {
		return nil, err
	}
	answer := &tablepb.BatchWriteRowResponse{}
	for i, t := range tables {
		out := &tablepb.TableInBatchWriteRowResponse{TableName: &t.name}
		for _, w := range writes[i] {
			consumed, row, err := t.perform(w)
			if err != nil {
				fail, ok := errors.AsType[*Error](err)
				if !ok {
					return nil, err
				}
				out.Rows = append(out.Rows, &tablepb.RowInBatchWriteRowResponse{
					IsOk:  new(false),
					Error: &tablepb.Error{Code: &fail.Code, Message: &fail.Message},
				})
				continue
			}
			out.Rows = append(out.Rows, &tablepb.RowInBatchWriteRowResponse{IsOk: new(true), Consumed: consumed, Row: row})
		}
		answer.Tables = append(answer.Tables, out)
	}
	return answer, nil
}

// checkBatch gives a batch's tables, and the writes to each.
func (e *Emulator) checkBatch(q *tablepb.BatchWriteRowRequest) ([]*table, [][]*write, error) {
	rows, size := 0, 0
	for _, in := range q.GetTables() {
		rows += len(in.GetRows())
		if len(in.GetRows()) == 0 {
			return nil, nil, failf(codeParameterInvalid, "No row is specified in table %s of BatchWriteRow.", in.GetTableName())
		}
	}
	if rows == 0 {
		return nil, nil, failf(codeParameterInvalid, "No row is specified in BatchWriteRow.")
	}
	if rows > maxBatchRows {
		return nil, nil, failf(codeParameterInvalid, "Rows count exceeds the upper limit: %d, limit count: %d.", rows, maxBatchRows)
	}
	var tables []*table
	var writes [][]*write
	for _, in := range q.GetTables() {
		t, err := e.table(in.GetTableName())
		if err != nil {
			return nil, nil, err
		}
		if slices.Contains(tables, t) {
			return nil, nil, failf(codeParameterInvalid, "Duplicated table name in BatchWriteRow: '%s'.", t.name)
		}
		keys := make(map[string]bool, len(in.GetRows()))
		var its []*write
		for _, r := range in.GetRows() {
			w, err := t.check(actions[r.GetType()], r.GetRowChange(), r.GetCondition(), r.GetReturnContent())
			if err != nil {
				return nil, nil, err
			}
			if keys[string(w.row.KeyBytes)] {
				return nil, nil, failf(codeParameterInvalid, "Duplicated primary key in BatchWriteRow: row %d of table %s.", len(its), t.name)
			}
			keys[string(w.row.KeyBytes)] = true
			if size += w.size; size > maxBatchBytes {
				return nil, nil, failf(codeParameterInvalid, "The total data size of BatchWriteRow exceeds the limit: %d bytes.", maxBatchBytes)
			}
			its = append(its, w)
		}
		tables, writes = append(tables, t), append(writes, its)
	}
	return tables, writes, nil
}

var actions = map[tablepb.OperationType]tunnelpb.ActionType{
	tablepb.OperationType_PUT:    tunnelpb.ActionType_PUT_ROW,
	tablepb.OperationType_UPDATE: tunnelpb.ActionType_UPDATE_ROW,
	tablepb.OperationType_DELETE: tunnelpb.ActionType_DELETE_ROW,
}
