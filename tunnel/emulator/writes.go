package emulator

import (
	"errors"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// The calls that write rows.

// maxBatchRows is the service's limit of rows in one BatchWriteRow.
const maxBatchRows = 200

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
	return t.writeEncoded(action, encoded, q.GetCondition(), q.GetReturnContent())
}

// writeEncoded writes one row and gives what the answer says of it.
func (t *table) writeEncoded(action tunnelpb.ActionType, encoded []byte, condition *tablepb.Condition, content *tablepb.ReturnContent) (*tablepb.ConsumedCapacity, []byte, error) {
	if len(condition.GetColumnCondition()) > 0 {
		return nil, nil, unsupported("column conditions")
	}
	if content.GetReturnType() == tablepb.ReturnType_RT_AFTER_MODIFY || len(content.GetReturnColumnNames()) > 0 {
		return nil, nil, unsupported("returning columns after the change (RT_AFTER_MODIFY)")
	}
	w, err := t.decode(action, encoded)
	if err != nil {
		return nil, nil, err
	}
	w.expect = condition.GetRowExistence()
	if err := t.write(w); err != nil {
		return nil, nil, err
	}
	var row []byte
	if content.GetReturnType() == tablepb.ReturnType_RT_PK {
		row = plainbuffer.Append(nil, &plainbuffer.Row{Key: w.row.Key})
	}
	return consumedWriting(w.size), row, nil
}

// batchWriteRow writes each row for itself: one that fails stops no other.
func (e *Emulator) batchWriteRow(q *tablepb.BatchWriteRowRequest) (*tablepb.BatchWriteRowResponse, error) {
	if q.GetTransactionId() != "" {
		return nil, unsupported("local transactions")
	}
	if q.GetIsAtomic() {
		return nil, unsupported("atomic batches")
	}
	rows := 0
	tables := make([]*table, len(q.GetTables()))
	for i, in := range q.GetTables() {
		t, err := e.table(in.GetTableName())
		if err != nil {
			return nil, err
		}
		tables[i] = t
		rows += len(in.GetRows())
	}
	if rows == 0 {
		return nil, failf(codeParameterInvalid, "No row is specified in BatchWriteRow.")
	}
	if rows > maxBatchRows {
		return nil, failf(codeParameterInvalid, "Rows count exceeds the upper limit: %d, limit count: %d.", rows, maxBatchRows)
	}
	answer := &tablepb.BatchWriteRowResponse{}
	for i, in := range q.GetTables() {
		out := &tablepb.TableInBatchWriteRowResponse{TableName: in.TableName}
		for _, r := range in.GetRows() {
			action := map[tablepb.OperationType]tunnelpb.ActionType{
				tablepb.OperationType_PUT:    tunnelpb.ActionType_PUT_ROW,
				tablepb.OperationType_UPDATE: tunnelpb.ActionType_UPDATE_ROW,
				tablepb.OperationType_DELETE: tunnelpb.ActionType_DELETE_ROW,
			}[r.GetType()]
			consumed, row, err := tables[i].writeEncoded(action, r.GetRowChange(), r.GetCondition(), r.GetReturnContent())
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
