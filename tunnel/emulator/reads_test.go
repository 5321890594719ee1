package emulator

import (
	"strings"
	"testing"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

func TestAReadThatIsNotRightIsToldWhy(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	for _, tt := range []struct {
		name   string
		change func(*tablepb.GetRowRequest)
		code   string
	}{
		{"filter", func(q *tablepb.GetRowRequest) { q.Filter = []byte("f") }, "OTSParameterInvalid"},
		{"too many columns", func(q *tablepb.GetRowRequest) { q.ColumnsToGet = make([]string, maxColumnsToGet+1) }, "OTSParameterInvalid"},
		{"a key to be chosen", func(q *tablepb.GetRowRequest) {
			q.PrimaryKey = plainbuffer.Append(nil, &plainbuffer.Row{Key: []plainbuffer.Cell{{Name: []byte("k"), Value: plainbuffer.BoundValue(plainbuffer.AutoIncrement)}}})
		}, "OTSParameterInvalid"},
		{"token", func(q *tablepb.GetRowRequest) { q.Token = []byte("t") }, "OTSUnsupportOperation"},
		{"transaction", func(q *tablepb.GetRowRequest) { q.TransactionId = new("t") }, "OTSUnsupportOperation"},
		{"no version", func(q *tablepb.GetRowRequest) { q.MaxVersions = nil }, "OTSParameterInvalid"},
		{"no time", func(q *tablepb.GetRowRequest) {
			q.TimeRange = &tablepb.TimeRange{StartTime: new(int64(2)), EndTime: new(int64(2))}
		}, "OTSParameterInvalid"},
		{"no key", func(q *tablepb.GetRowRequest) { q.PrimaryKey = nil }, "OTSParameterInvalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := &tablepb.GetRowRequest{TableName: new("t"), MaxVersions: new(int32(1)),
				PrimaryKey: plainbuffer.Append(nil, &plainbuffer.Row{Key: keyOf("a")})}
			tt.change(q)
			_, err := call[tablepb.GetRowResponse](t, e, "/GetRow", q)
			wantCode(t, err, tt.code)
		})
	}
}

func TestABatchLooksAtNothingOfATableWithoutKeys(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	here := &tablepb.TableInBatchGetRowRequest{TableName: new("t")}
	elsewhere := &tablepb.TableInBatchGetRowRequest{TableName: new("1st"), MaxVersions: new(int32(-1)), Token: [][]byte{[]byte("t")}}
	q := &tablepb.BatchGetRowRequest{Tables: []*tablepb.TableInBatchGetRowRequest{here, elsewhere}}
	a := must[tablepb.BatchGetRowResponse](t, e, "/BatchGetRow", q)
	for i, in := range q.GetTables() {
		if out := a.GetTables()[i]; out.GetTableName() != in.GetTableName() || len(out.GetRows()) != 0 {
			t.Errorf("of %s it read %v", in.GetTableName(), out)
		}
	}
	for _, in := range q.GetTables() {
		in.PrimaryKey = [][]byte{plainbuffer.Append(nil, &plainbuffer.Row{Key: keyOf("a")})}
	}
	_, err := call[tablepb.BatchGetRowResponse](t, e, "/BatchGetRow", q)
	wantCode(t, err, codeParameterInvalid)
	if !strings.HasSuffix(err.Error(), "No version condition is specified while querying row.") {
		t.Error(err)
	}
}
