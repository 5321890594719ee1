package emulator

import (
	"slices"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// The calls that write rows.

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
	w, err := newWrite(action, encoded, q.GetCondition(), q.GetReturnContent())
	if err != nil {
		return nil, nil, err
	}
	t, err := e.table(q.GetTableName())
	if err != nil {
		return nil, nil, err
	}
	if err := t.fits(w); err != nil {
		return nil, nil, err
	}
	changes, err := t.write(w)
	if err != nil {
		return nil, nil, err
	}
	return w.consumed(), w.answer(&changes[0]), nil
}

// newWrite makes a write of what a call asks for and checks everything that
// does not depend on the table.
func newWrite(action tunnelpb.ActionType, encoded []byte, expected *tablepb.Condition, content *tablepb.ReturnContent) (*write, error) {
	w, err := decodeWrite(action, encoded)
	if err != nil {
		return nil, err
	}
	w.expect = expected.GetRowExistence()
	if w.condition, err = parseCondition(expected.GetColumnCondition()); err != nil {
		return nil, err
	}
	names := content.GetReturnColumnNames()
	switch content.GetReturnType() {
	case tablepb.ReturnType_RT_AFTER_MODIFY:
		if action != tunnelpb.ActionType_UPDATE_ROW {
			return nil, failf(codeParameterInvalid, "Only an update returns columns after the change (RT_AFTER_MODIFY).")
		}
		for _, name := range names {
			if !w.increments([]byte(name)) {
				return nil, failf(codeParameterInvalid, "Only columns that the update increments can be returned: '%s'.", name)
			}
		}
		w.returnKey, w.returnColumns = true, names
	default:
		if len(names) > 0 {
			return nil, failf(codeParameterInvalid, "Columns are returned only with the return type RT_AFTER_MODIFY.")
		}
		w.returnKey = content.GetReturnType() == tablepb.ReturnType_RT_PK
	}
	return w, nil
}

// answer is what the write's answer returns of its change. The new values of
// columns come with the key: that they do is a guess, some clients take no row
// without one.
func (w *write) answer(c *change) []byte {
	if !w.returnKey {
		return nil
	}
	r := plainbuffer.Row{Key: c.record.Key}
	for _, column := range c.record.Columns {
		if slices.Contains(w.returnColumns, string(column.Name)) {
			r.Columns = append(r.Columns, column)
		}
	}
	return plainbuffer.Append(nil, &r)
}
