package examples

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/functions"
	"github.com/culvertio/culvert/functions/runtime"
)

const orders = `{"Version":"Sync-v1","Batch":{"Id":"0123456789abcdef","Attempt":2},"Records":[
	{"Id":"r1","Type":"PutRow","PrimaryKey":[{"ColumnName":"order_id","Value":"A-1"},{"ColumnName":"line","Value":7}],"Columns":[
		{"Type":"Put","ColumnName":"customer","Value":"Jörg"},{"Type":"Put","ColumnName":"amount","Value":12.5},{"Type":"Put","ColumnName":"paid","Value":false}]},
	{"Id":"r2","Type":"PutRow","PrimaryKey":[{"ColumnName":"order_id","Value":"A-2"},{"ColumnName":"line","Value":8}],"Columns":[
		{"Type":"Put","ColumnName":"amount","Value":"a lot"}]},
	{"Id":"r3","Type":"UpdateRow","PrimaryKey":[{"ColumnName":"order_id","Value":"A-1"},{"ColumnName":"line","Value":7}],"Columns":[
		{"Type":"Put","ColumnName":"photo","Value":{"Base64":"Zm9v"}},{"Type":"Put","ColumnName":"amount","Value":{"Double":"NaN"}},
		{"Type":"DeleteAllVersions","ColumnName":"note","Value":null}]},
	{"Id":"r4","Type":"DeleteRow","PrimaryKey":[{"ColumnName":"order_id","Value":"A-1"},{"ColumnName":"line","Value":7}],"Columns":[]}]}`

// Both need their language on the machine.
func TestTheHandlersInOtherLanguagesPrintEachChangeAndFailAMalformedOneAlone(t *testing.T) {
	for _, c := range []struct {
		command []string
		prints  string
		broken  string // the type of the error for what is no event
	}{
		{[]string{"python3", "python/handler.py"}, `PutRow order_id=A-1 line=7 customer=Jörg amount=12.5 paid=False
record r2 of batch 0123456789abcdef failed: its amount 'a lot' is not a number
UpdateRow order_id=A-1 line=7 photo=b'foo' amount=nan note=None
DeleteRow order_id=A-1 line=7
`, "JSONDecodeError"},
		{[]string{"node", "node/handler.js"}, `PutRow order_id=A-1 line=7 customer=Jörg amount=12.5 paid=false
record r2 of batch 0123456789abcdef failed: its amount 'a lot' is not a number
UpdateRow order_id=A-1 line=7 photo=foo amount=NaN note=null
DeleteRow order_id=A-1 line=7
`, "SyntaxError"},
	} {
		t.Run(c.command[0], func(t *testing.T) {
			t.Parallel()
			var printed bytes.Buffer
			r, err := runtime.Start(t.Context(), runtime.Config{
				Command: c.command, Custom: true, Output: &printed, Name: "orders", Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			answer, err := r.Invoke(t.Context(), []byte(orders))
			if err != nil {
				t.Fatal(err)
			}
			got, err := functions.ParseAnswer(answer)
			if diff := cmp.Diff(functions.Answer{BatchItemFailures: []functions.ItemFailure{{ItemIdentifier: "r2"}}}, got); diff != "" || err != nil {
				t.Error(diff, err)
			}
			_, err = r.Invoke(t.Context(), []byte("no event"))
			if e, ok := errors.AsType[*runtime.FunctionError](err); !ok || e.Type != c.broken || e.Message == "" {
				t.Errorf("%+v", err)
			}
			if err := r.Close(context.Background()); err != nil { // and the output is complete
				t.Fatal(err)
			}
			var lines strings.Builder // each begins with "[orders PID] "
			for line := range strings.Lines(printed.String()) {
				_, rest, _ := strings.Cut(line, "] ")
				lines.WriteString(rest)
			}
			if got := lines.String(); !strings.HasPrefix(got, c.prints) {
				t.Error(cmp.Diff(c.prints, got))
			}
		})
	}
}
