package runtime_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/functions/runtime"
)

// recorded is each line of a directory's journals, in short.
func recorded(t *testing.T, dir string) (lines []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for scanner := bufio.NewScanner(bytes.NewReader(text)); scanner.Scan(); {
			var l struct {
				Phase, Batch, Outcome, Error string
				Attempt                      int
				Failures                     []string
				Event                        struct{ Batch struct{ ID string } }
			}
			if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
				t.Fatal(err)
			}
			if l.Phase == "begin" {
				lines = append(lines, "begin "+l.Event.Batch.ID)
			} else {
				lines = append(lines, strings.TrimSpace(fmt.Sprint(l.Phase, " ", l.Batch, " ", l.Attempt, " ", l.Outcome, " ", l.Failures, " ", l.Error)))
			}
		}
	}
	return lines
}

// change is an event with two records, and what is to be done.
func change(batch, do, text string) []byte {
	return fmt.Appendf(nil, `{"Version":"Sync-v1","Batch":{"Id":%q,"Attempt":2},"Records":[{"Id":"r1"},{"Id":"r2"}],"Do":%q,"Text":%q}`, batch, do, text)
}

func TestTheJournalTellsOfHandlersThatKeepNone(t *testing.T) {
	for name, cfg := range map[string]runtime.Config{
		"program": {Command: []string{program}, Custom: true},
		"lambda":  {Command: []string{awsAlone}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Journal = t.TempDir()
			r, _ := start(t, cfg)
			answers(t, r, change("a", "say", ""), "")
			answers(t, r, change("b", "say", `{"batchItemFailures":[{"itemIdentifier":"r2"}]}`), `{"batchItemFailures":[{"itemIdentifier":"r2"}]}`)
			answers(t, r, change("c", "say", `{"batchItemFailures":[{"itemIdentifier":"r9"}]}`), `{"batchItemFailures":[{"itemIdentifier":"r9"}]}`)
			answers(t, r, change("d", "say", `{"batchItemFail`), `{"batchItemFail`)
			_ = fails[*runtime.ExitError](t, r, change("e", "exit", ""))
			answers(t, r, event("say", "no event of Culvert's"), "no event of Culvert's")
			_ = fails[*runtime.FunctionError](t, r, change("f", "panic", "out of stock"))
			got := recorded(t, cfg.Journal)
			for i, line := range got { // what failed is told in the handler's words
				for _, end := range []string{"end d 2 failed []", "end f 2 failed []"} {
					if strings.HasPrefix(line, end+" ") {
						got[i] = end
					}
				}
			}
			want := []string{
				"begin a", "end a 2 ok []",
				"begin b", "end b 2 ok [r2]",
				"begin c", `end c 2 failed [] the answer fails record "r9", which is not in the batch`,
				"begin d", "end d 2 failed []",
				"begin e", // cut off
				"begin f", "end f 2 failed []",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAHandlerThatKeepsAJournalIsNotRecordedTwice(t *testing.T) {
	own, ours := t.TempDir(), t.TempDir()
	t.Setenv("CULVERT_JOURNAL", own)
	r, _ := start(t, runtime.Config{Command: []string{started}, Journal: ours, Env: []string{"CULVERT_JOURNAL=" + own}})
	answers(t, r, change("a", "", ""), "null")
	if diff := cmp.Diff([]string{"begin a", "end a 2 ok []"}, recorded(t, ours)); diff != "" {
		t.Error(diff)
	}
	if lines := recorded(t, own); len(lines) > 0 {
		t.Errorf("%q", lines)
	}
}

func TestAnInvocationThatCannotBeRecordedFails(t *testing.T) {
	r, _ := start(t, runtime.Config{Command: []string{started}, Journal: filepath.Join(t.TempDir(), "missing")})
	if e := fails[*runtime.FunctionError](t, r, change("a", "", "")); e.Type != "JournalError" || e.RequestID == "" {
		t.Errorf("%+v", e)
	}
}
