package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/functions"
	"github.com/culvertio/culvert/functions/runtime"
)

func TestEachChangeIsPrintedAndAMalformedOrderAloneFails(t *testing.T) {
	binary, cleanup, err := runtime.Build(t.Context(), ".", t.TempDir())
	defer cleanup()
	if err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	r, err := runtime.Start(t.Context(), runtime.Config{Command: []string{binary}, Output: &printed, Name: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := r.Invoke(t.Context(), []byte(`{"Version":"Sync-v1","Batch":{"Id":"0123456789abcdef","Attempt":2},"Records":[
		{"Id":"r1","Type":"PutRow","PrimaryKey":[{"ColumnName":"order_id","Value":"A-1"}],"Columns":[
			{"Type":"Put","ColumnName":"customer","Value":"Jörg"},{"Type":"Put","ColumnName":"amount","Value":12.5},{"Type":"Put","ColumnName":"paid","Value":false}]},
		{"Id":"r2","Type":"PutRow","PrimaryKey":[{"ColumnName":"order_id","Value":"A-2"}],"Columns":[
			{"Type":"Put","ColumnName":"amount","Value":"a lot"}]},
		{"Id":"r3","Type":"UpdateRow","PrimaryKey":[{"ColumnName":"order_id","Value":"A-1"}],"Columns":[
			{"Type":"Put","ColumnName":"paid","Value":true},{"Type":"DeleteAllVersions","ColumnName":"note","Value":null}]},
		{"Id":"r4","Type":"UpdateRow","PrimaryKey":[{"ColumnName":"order_id","Value":"A-1"}],"Columns":[
			{"Type":"Put","ColumnName":"amount","Value":9007199254740993}]},
		{"Id":"r5","Type":"DeleteRow","PrimaryKey":[{"ColumnName":"order_id","Value":"A-1"}],"Columns":[]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(context.Background()); err != nil { // and the output is complete
		t.Fatal(err)
	}
	got, err := functions.ParseAnswer(answer)
	if diff := cmp.Diff(functions.Answer{BatchItemFailures: []functions.ItemFailure{{ItemIdentifier: "r2"}}}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	// Each line begins with "[orders PID] ".
	var lines bytes.Buffer
	for line := range bytes.Lines(printed.Bytes()) {
		_, rest, _ := bytes.Cut(line, []byte("] "))
		lines.Write(rest)
	}
	want := `order A-1 placed customer=Jörg amount=12.5 paid=false
order A-1 paid paid=true note=none
order A-1 changed amount=9007199254740993
order A-1 cancelled
batch 01234567, attempt 2: map[cancelled:1 changed:1 paid:1 placed:1]
record r2 of batch 0123456789abcdef failed: its amount "a lot" is a string, not a number
`
	if diff := cmp.Diff(want, lines.String()); diff != "" {
		t.Error(diff)
	}
}
