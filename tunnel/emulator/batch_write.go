package emulator

import (
	"errors"
	"strconv"
	"strings"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// The service's limits of one BatchWriteRow.
const (
	maxBatchRows  = 200
	maxBatchBytes = 4 << 20
)

// batchWriteRow refuses the whole batch, and writes nothing, if a row of it is
// not right in itself. What depends on the table, its schema included, is
// judged row by row, and one that fails stops no other, unless the batch is
// atomic: then all rows of a table are written or none, and each tells the
// error of the one that failed. A key may come more than once, but for one
// whose row is incremented: of the service's document and the tests of its
// SDKs, which contradict each other, this follows the tests.
func (e *Emulator) batchWriteRow(q *tablepb.BatchWriteRowRequest) (*tablepb.BatchWriteRowResponse, error) {
	if q.GetTransactionId() != "" {
		return nil, unsupported("local transactions")
	}
	batch, err := e.checkBatch(q)
	if err != nil {
		return nil, err
	}
	answer := &tablepb.BatchWriteRowResponse{}
	for _, b := range batch {
		out := &tablepb.TableInBatchWriteRowResponse{TableName: &b.table.name}
		if q.GetIsAtomic() {
			out.Rows = b.performTogether()
		} else {
			out.Rows = b.perform()
		}
		answer.Tables = append(answer.Tables, out)
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
	}
	switch {
	case rows == 0:
		return nil, failf(codeParameterInvalid, "No row is specified in BatchWriteRow.")
	case rows > maxBatchRows:
		return nil, failf(codeParameterInvalid, "Rows count exceeds the upper limit: %d.", maxBatchRows)
	}
	var batch []tableBatch
	for _, in := range q.GetTables() {
		t, err := e.table(in.GetTableName())
		if err != nil {
			return nil, err
		}
		b := tableBatch{table: t}
		for _, r := range in.GetRows() {
			w, err := newWrite(actions[r.GetType()], r.GetRowChange(), r.GetCondition(), r.GetReturnContent())
			if err != nil {
				return nil, err
			}
			size += w.dataSize()
			err = t.fits(w)
			if err != nil && !isInvalidPK(err) {
				return nil, err
			}
			b.writes, b.errs = append(b.writes, w), append(b.errs, err)
		}
		if err := b.checkIncrements(); err != nil {
			return nil, err
		}
		batch = append(batch, b)
	}
	if size > maxBatchBytes {
		return nil, failf(codeParameterInvalid, "The total data size of BatchWriteRow request exceeds the limit, limit size: %d, data size: %d.", maxBatchBytes, size)
	}
	return batch, nil
}

// isInvalidPK says whether a key does not fit its table: that fails a row of a
// batch and not the batch.
func isInvalidPK(err error) bool {
	fail, ok := errors.AsType[*Error](err)
	return ok && fail.Code == codeInvalidPK
}

// checkIncrements refuses a batch that changes a row in another way too when
// it increments it.
func (b *tableBatch) checkIncrements() error {
	changed := make(map[string]bool) // and whether one of the changes increments
	for i, w := range b.writes {
		if b.errs[i] != nil || w.placeholder() {
			continue
		}
		increments, again := changed[string(w.row.KeyBytes)]
		if again && (increments || w.increments(nil)) {
			return failf(codeParameterInvalid, "A row that is incremented can be changed once in a BatchWriteRow.")
		}
		changed[string(w.row.KeyBytes)] = increments || w.increments(nil)
	}
	return nil
}

// perform applies the writes one by one, in their order.
func (b *tableBatch) perform() []*tablepb.RowInBatchWriteRowResponse {
	var rows []*tablepb.RowInBatchWriteRowResponse
	for i, w := range b.writes {
		err := b.errs[i]
		if err == nil {
			var changes []change
			if changes, err = b.table.write(w); err == nil {
				rows = append(rows, rowWritten(w, &changes[0]))
				continue
			}
		}
		rows = append(rows, rowRefused(err))
	}
	return rows
}

// performTogether applies the writes, all or none of them.
func (b *tableBatch) performTogether() []*tablepb.RowInBatchWriteRowResponse {
	err := errors.Join(b.errs...)
	if err == nil {
		err = b.checkScope()
	}
	var changes []change
	if err == nil {
		changes, err = b.table.write(b.writes...)
	}
	var rows []*tablepb.RowInBatchWriteRowResponse
	for i, w := range b.writes {
		if err != nil {
			rows = append(rows, rowRefused(err))
		} else {
			rows = append(rows, rowWritten(w, &changes[i]))
		}
	}
	return rows
}

// checkScope refuses writes that do not all have one value of the first key
// column.
func (b *tableBatch) checkScope() error {
	first := b.writes[0].row.Key[0].Value
	for _, w := range b.writes {
		if v := w.row.Key[0].Value; !v.Equal(first) {
			return failf(codeDataOutOfRange, "Data out of scope of atomic. Atomic PartKey:%s. Data PartKey:%s", keyText(first), keyText(v))
		}
	}
	return nil
}

func rowWritten(w *write, c *change) *tablepb.RowInBatchWriteRowResponse {
	return &tablepb.RowInBatchWriteRowResponse{IsOk: new(true), Consumed: w.consumed(), Row: w.answer(c)}
}

func rowRefused(err error) *tablepb.RowInBatchWriteRowResponse {
	return &tablepb.RowInBatchWriteRowResponse{IsOk: new(false), Error: errorMessage(err)}
}

// errorMessage is how an answer tells the error of one row.
func errorMessage(err error) *tablepb.Error {
	fail, ok := errors.AsType[*Error](err)
	if !ok {
		fail = failf(codeInternal, "%v", err)
	}
	return &tablepb.Error{Code: &fail.Code, Message: &fail.Message}
}

// keyText is a value of a key as errors write it.
func keyText(v plainbuffer.Value) string {
	if v.Type() == plainbuffer.Integer {
		return strconv.FormatInt(v.Integer(), 10)
	}
	return strings.ToValidUTF8(string(v.Bytes()), "?")
}

var actions = map[tablepb.OperationType]tunnelpb.ActionType{
	tablepb.OperationType_PUT:    tunnelpb.ActionType_PUT_ROW,
	tablepb.OperationType_UPDATE: tunnelpb.ActionType_UPDATE_ROW,
	tablepb.OperationType_DELETE: tunnelpb.ActionType_DELETE_ROW,
}
