package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/culvertio/culvert/internal/check"
)

func TestTheSummaryTellsWhatTheRecordOfInvocationsShows(t *testing.T) {
	t.Parallel()
	write := func(revision int64) check.Write {
		return check.Write{Key: check.KeyText("order_id", `"sample-00001"`), Kind: check.PutRow, Revision: revision}
	}
	invocation := func(revision int) string {
		return fmt.Sprintf(`{"time":"2026-01-02T03:04:%02d.1Z","phase":"begin","event":{"Version":"Sync-v1","Batch":{"Id":"b%d","Attempt":1},"Records":[`+
			`{"Id":"%032d","Type":"PutRow","PrimaryKey":[{"ColumnName":"order_id","Value":"sample-00001"}],"Columns":[{"Type":"Put","ColumnName":"revision","Value":%d}]}]}}`+"\n"+
			`{"time":"2026-01-02T03:04:%02d.5Z","phase":"end","batch":"b%d","attempt":1,"outcome":"ok","failures":[],"error":""}`+"\n",
			revision, revision, revision, revision, revision, revision)
	}
	for _, c := range []struct {
		name      string
		journal   []string // a text for each process
		remaining int64
		want      string // of the error
		printed   string
	}{
		{"all arrived", []string{invocation(1) + invocation(2)}, 0, "", "seconds          90.0\nnothing lost, each key in order"},
		{"one is missing", []string{invocation(1)}, 0, "1 lost, 0 out of order", `lost: order_id="sample-00001" revision 2`},
		{"nothing was invoked", nil, 0, "2 lost", "lost 2"},
		{"interrupted before the rest", []string{invocation(1)}, 1, "interrupted with 1 records not yet settled", "delivered           1"},
		{"the wrong way round", []string{strings.ReplaceAll(invocation(1), ":04:01.", ":04:09."), invocation(2)}, 0, "out of order", "out of order: "},
	} {
		var printed strings.Builder
		l := local{out: &printed, feed: &orderFeed{}, journals: t.TempDir(), took: 90 * time.Second, written: []check.Write{write(1), write(2)}}
		for i, text := range c.journal {
			if err := os.WriteFile(filepath.Join(l.journals, fmt.Sprint(i, ".jsonl")), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := l.summarize(c.remaining)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || !strings.Contains(printed.String(), c.printed) {
			t.Errorf("%s: %v\n%s", c.name, err, printed.String())
		}
	}
}
