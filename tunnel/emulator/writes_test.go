package emulator

import (
	"testing"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

func batchOf(rows ...*tablepb.RowInBatchWriteRowRequest) *tablepb.TableInBatchWriteRowRequest {
	return &tablepb.TableInBatchWriteRowRequest{TableName: new("t"), Rows: rows}
}

func rowInBatch(typ tablepb.OperationType, r plainbuffer.Row) *tablepb.RowInBatchWriteRowRequest {
	return &tablepb.RowInBatchWriteRowRequest{
		Type:      typ.Enum(),
		RowChange: plainbuffer.Append(nil, &r),
		Condition: &tablepb.Condition{RowExistence: tablepb.RowExistenceExpectation_IGNORE.Enum()},
	}
}

func TestABatchThatIsNotRightWritesNothing(t *testing.T) {
	good := rowInBatch(tablepb.OperationType_PUT, putOf("good", 1).Row)
	conditional := rowInBatch(tablepb.OperationType_PUT, putOf("b", 1).Row)
	conditional.Condition.ColumnCondition = []byte("c")
	returning := rowInBatch(tablepb.OperationType_PUT, putOf("b", 1).Row)
	returning.ReturnContent = &tablepb.ReturnContent{ReturnType: tablepb.ReturnType_RT_AFTER_MODIFY.Enum()}
	naming := rowInBatch(tablepb.OperationType_UPDATE, putOf("b", 1).Row)
	naming.ReturnContent = &tablepb.ReturnContent{ReturnType: tablepb.ReturnType_RT_PK.Enum(), ReturnColumnNames: []string{"n"}}
	increment := rowInBatch(tablepb.OperationType_UPDATE, plainbuffer.Row{Key: keyOf("good"), Columns: []plainbuffer.Cell{
		{Name: []byte("n"), Op: plainbuffer.Increment, Value: plainbuffer.IntegerValue(1)},
	}})
	large := func(k string) *tablepb.RowInBatchWriteRowRequest {
		c := putOf(k, 1)
		c.Row.Columns = append(c.Row.Columns, plainbuffer.Cell{Name: []byte("b"), Value: plainbuffer.BlobValue(make([]byte, maxColumnBytes))})
		return rowInBatch(tablepb.OperationType_PUT, c.Row)
	}
	many := batchOf(good)
	for i := range maxBatchRows {
		many.Rows = append(many.Rows, rowInBatch(tablepb.OperationType_PUT, putOf(string(rune('a'+i)), 1).Row))
	}
	other := batchOf(good)
	other.TableName = new("other")
	for _, tt := range []struct {
		name   string
		tables []*tablepb.TableInBatchWriteRowRequest
		change func(*tablepb.BatchWriteRowRequest)
		code   string
	}{
		{"no table", nil, nil, codeParameterInvalid},
		{"a table without rows", []*tablepb.TableInBatchWriteRowRequest{batchOf(good), batchOf()}, nil, codeParameterInvalid},
		{"a table that is not there", []*tablepb.TableInBatchWriteRowRequest{batchOf(good), other}, nil, codeObjectNotExist},
		{"a wrong column", []*tablepb.TableInBatchWriteRowRequest{batchOf(good, rowInBatch(tablepb.OperationType_UPDATE, plainbuffer.Row{Key: keyOf("b")}))}, nil, codeParameterInvalid},
		{"a row without a key", []*tablepb.TableInBatchWriteRowRequest{batchOf(good, rowInBatch(tablepb.OperationType_PUT, plainbuffer.Row{}))}, nil, codeParameterInvalid},
		{"a row that is none", []*tablepb.TableInBatchWriteRowRequest{batchOf(good, &tablepb.RowInBatchWriteRowRequest{
			Type: tablepb.OperationType_PUT.Enum(), RowChange: []byte("x"), Condition: good.GetCondition(),
		})}, nil, codeParameterInvalid},
		{"a column condition that is none", []*tablepb.TableInBatchWriteRowRequest{batchOf(good, conditional)}, nil, codeParameterInvalid},
		{"a row to return", []*tablepb.TableInBatchWriteRowRequest{batchOf(good, returning)}, nil, codeParameterInvalid},
		{"columns to return with the key", []*tablepb.TableInBatchWriteRowRequest{batchOf(good, naming)}, nil, codeParameterInvalid},
		{"a row that is put and incremented", []*tablepb.TableInBatchWriteRowRequest{batchOf(good, increment)}, nil, codeParameterInvalid},
		{"a row that is incremented twice", []*tablepb.TableInBatchWriteRowRequest{batchOf(increment, increment)}, nil, codeParameterInvalid},
		{"too many rows", []*tablepb.TableInBatchWriteRowRequest{many}, nil, codeParameterInvalid},
		{"too many bytes", []*tablepb.TableInBatchWriteRowRequest{batchOf(good, large("b"), large("c"))}, nil, codeParameterInvalid},
		{"transaction", []*tablepb.TableInBatchWriteRowRequest{batchOf(good)}, func(q *tablepb.BatchWriteRowRequest) { q.TransactionId = new("x") }, codeUnsupported},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEmulator(t, Config{})
			newTableOf(t, e, 1)
			id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
			q := &tablepb.BatchWriteRowRequest{Tables: tt.tables}
			if tt.change != nil {
				tt.change(q)
			}
			_, err := call[tablepb.BatchWriteRowResponse](t, e, "/BatchWriteRow", q)
			wantCode(t, err, tt.code)
			if records := consume(t, e, id); len(records) != 0 {
				t.Errorf("%d changes were written", len(records))
			}
		})
	}
}

func TestARowOfABatchThatFailsStopsNoOther(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	missing := rowInBatch(tablepb.OperationType_DELETE, plainbuffer.Row{Key: keyOf("missing")})
	missing.Condition.RowExistence = tablepb.RowExistenceExpectation_EXPECT_EXIST.Enum()
	otherKey := []plainbuffer.Cell{{Name: []byte("other"), Value: plainbuffer.StringValue("x")}}
	old := putOf("old", 1)
	old.Row.Columns[0].HasTimestamp, old.Row.Columns[0].Timestamp = true, 1
	a := must[tablepb.BatchWriteRowResponse](t, e, "/BatchWriteRow", &tablepb.BatchWriteRowRequest{
		Tables: []*tablepb.TableInBatchWriteRowRequest{batchOf(
			missing,
			rowInBatch(tablepb.OperationType_PUT, old.Row),
			rowInBatch(tablepb.OperationType_PUT, plainbuffer.Row{Key: otherKey}),
			rowInBatch(tablepb.OperationType_PUT, putOf("good", 1).Row),
			rowInBatch(tablepb.OperationType_PUT, putOf("good", 2).Row),
		)},
	})
	rows := a.GetTables()[0].GetRows()
	for i, code := range []string{codeConditionCheckFail, codeParameterInvalid, codeInvalidPK, "", ""} {
		if got := rows[i].GetError().GetCode(); got != code || rows[i].GetIsOk() != (code == "") {
			t.Errorf("row %d: %v", i, rows[i])
		}
	}
	records := consume(t, e, id)
	if len(records) != 2 {
		t.Fatalf("%d changes were written, want 2", len(records))
	}
	for i, r := range records {
		if n := decodeRow(t, r).Columns[0].Value.Integer(); n != int64(i+1) {
			t.Errorf("change %d puts %d", i, n)
		}
	}
}
