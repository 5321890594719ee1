package check

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAFaultlessRunPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRun(t)
		v := Judge(r.written, r.journal(t))
		if !v.OK() {
			t.Fatalf("%s\nof %s", v, r)
		}
		if v.Delivered != len(r.log) || v.Written != len(r.log) || v.Invocations != len(r.calls) {
			t.Fatalf("%s, want %d changes in %d invocations", v, len(r.log), len(r.calls))
		}
	})
}

// faults each break a faultless run in one way, or say that this run does not
// lend itself to it.
var faults = map[string]struct {
	inject func(t *rapid.T, r *run) bool
	caught func(v Verdict) bool
}{
	"a change that never comes": {
		func(t *rapid.T, r *run) bool {
			lost := rapid.IntRange(0, len(r.log)-1).Draw(t, "lost")
			for _, c := range r.calls {
				c.places = slices.DeleteFunc(slices.Clone(c.places), func(place int) bool { return place == lost })
			}
			return true
		},
		func(v Verdict) bool { return v.Lost.Count == 1 },
	},
	"a change that always fails": {
		func(t *rapid.T, r *run) bool {
			bad := rapid.IntRange(0, len(r.log)-1).Draw(t, "bad")
			for _, c := range r.calls {
				c.failures = append(c.failures, bad)
			}
			return true
		},
		func(v Verdict) bool { return v.Lost.Count == 1 },
	},
	"two changes of a key the other way round": {
		func(t *rapid.T, r *run) bool {
			pairs := r.successors(func(int, int) bool { return true })
			if len(pairs) == 0 {
				return false
			}
			pair := rapid.SampledFrom(pairs).Draw(t, "pair")
			r.log[pair[0]], r.log[pair[1]] = r.log[pair[1]], r.log[pair[0]]
			return true
		},
		func(v Verdict) bool { return v.OutOfOrder.Count > 0 },
	},
	"a later change starts while an earlier one is worked on": {
		func(t *rapid.T, r *run) bool {
			pairs := r.successors(func(a, b int) bool { return r.lastOf(a) != r.lastOf(b) })
			if len(pairs) == 0 {
				return false
			}
			pair := rapid.SampledFrom(pairs).Draw(t, "pair")
			r.lastOf(pair[0]).end = r.lastOf(pair[1]).begin + 1
			return true
		},
		func(v Verdict) bool { return v.OutOfOrder.Count > 0 },
	},
	"an earlier change comes last of all, alone": {
		func(t *rapid.T, r *run) bool {
			pairs := r.successors(func(int, int) bool { return true })
			if len(pairs) == 0 {
				return false
			}
			early := rapid.SampledFrom(pairs).Draw(t, "pair")[0]
			r.calls = append(r.calls, r.late(early))
			return true
		},
		func(v Verdict) bool { return v.OutOfOrder.Count > 0 },
	},
	"a repeat that leaves one out": {
		func(t *rapid.T, r *run) bool {
			pairs := r.successors(func(_, b int) bool {
				return slices.ContainsFunc(r.log[b+1:], func(l logged) bool { return l.key == r.log[b].key })
			})
			if len(pairs) == 0 {
				return false
			}
			early := rapid.SampledFrom(pairs).Draw(t, "pair")
			r.calls = append(r.calls, r.late(early[0]))
			left := r.late(early[0])
			left.places = nil
			for place := early[1] + 1; place < len(r.log); place++ {
				if r.log[place].key == r.log[early[0]].key {
					left.places = append(left.places, place)
				}
			}
			left.batch = "late again"
			left.begin, left.end = left.begin+10, left.end+10
			r.calls = append(r.calls, left)
			return true
		},
		func(v Verdict) bool { return v.OutOfOrder.Count == 1 },
	},
	"a change that nobody wrote": {
		func(t *rapid.T, r *run) bool {
			if r.versioned {
				return false
			}
			r.log[r.drawPut(t)].record = `{"Id":"1","Type":"PutRow","PrimaryKey":[{"ColumnName":"order","Value":"o-0"}],"Columns":[{"Type":"Put","ColumnName":"revision","Value":99}]}`
			return true
		},
		func(v Verdict) bool { return v.Unknown.Count > 0 && v.Lost.Count == 1 },
	},
	"a delete that nobody did": {
		func(t *rapid.T, r *run) bool {
			if r.versioned {
				return false
			}
			r.log = append(r.log, logged{0, `{"Id":"ffffffff:0:0","Type":"DeleteRow","PrimaryKey":[{"ColumnName":"order","Value":"o-0"}],"Columns":[]}`})
			r.calls = append(r.calls, r.late(len(r.log)-1))
			return true
		},
		func(v Verdict) bool { return v.Unknown.Count == 1 },
	},
	"base data once more from the stream": {
		func(t *rapid.T, r *run) bool {
			place := slices.IndexFunc(r.log, func(l logged) bool { return strings.Contains(l.record, `"Id":"base:`) })
			if place < 0 {
				return false
			}
			again := r.log[place]
			again.record = strings.Replace(again.record, `"Id":"base:`, `"Id":"0`, 1)
			r.log = append(r.log, again)
			r.calls = append(r.calls, r.late(len(r.log)-1))
			return true
		},
		func(v Verdict) bool { return v.Unknown.Count == 1 },
	},
	"a version that is not the written one": {
		func(t *rapid.T, r *run) bool {
			if !r.versioned {
				return false
			}
			l := &r.log[r.drawPut(t)]
			l.record = strings.ReplaceAll(l.record, `"Timestamp":17`, `"Timestamp":18`)
			return true
		},
		func(v Verdict) bool { return v.Lost.Count == 1 && v.Others > 0 },
	},
	"a value that is not the written one": {
		func(t *rapid.T, r *run) bool {
			l := &r.log[r.drawPut(t)]
			l.record = strings.Replace(l.record, `"ColumnName":"amount","Value":`, `"ColumnName":"amount","Value":1`, 1)
			return true
		},
		func(v Verdict) bool { return v.Corrupt.Count > 0 && v.Lost.Count == 0 },
	},
	"a put that comes as an update": {
		func(t *rapid.T, r *run) bool {
			l := &r.log[r.drawPut(t)]
			to := `"Type":"UpdateRow"`
			if strings.Contains(l.record, to) {
				to = `"Type":"PutRow"`
			}
			l.record = strings.NewReplacer(`"Type":"PutRow"`, to, `"Type":"UpdateRow"`, to).Replace(l.record)
			return true
		},
		func(v Verdict) bool { return v.Corrupt.Count > 0 },
	},
	"other content in a repeat": {
		func(t *rapid.T, r *run) bool {
			place := len(r.log) - 1 // the last of its key
			again := r.log[place]
			again.record = strings.Replace(again.record, `{"Id":`, `{"More":1,"Id":`, 1)
			r.log = append(r.log, again)
			r.calls = append(r.calls, r.late(len(r.log)-1))
			return true
		},
		func(v Verdict) bool { return v.Corrupt.Count == 1 },
	},
	"a batch with other records": {
		func(t *rapid.T, r *run) bool {
			place := len(r.log) - 1
			again := r.late(place)
			again.batch = r.lastOf(place).batch
			r.lastOf(place).places = append([]int{}, r.lastOf(place).places...)
			again.places = append(again.places, place)
			r.calls = append(r.calls, again)
			return true
		},
		func(v Verdict) bool { return v.Corrupt.Count == 1 },
	},
}

func TestEveryFaultIsCaught(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			injected := 0
			rapid.Check(t, func(t *rapid.T) {
				r := drawRun(t)
				if !fault.inject(t, r) {
					return
				}
				injected++
				if v := Judge(r.written, r.journal(t)); v.OK() || !fault.caught(v) {
					t.Fatalf("not caught: %s\nin %s", v, r)
				}
			})
			if injected == 0 {
				t.Fatal("no run lent itself to this fault")
			}
		})
	}
}

// successors are pairs of places that follow each other in one key and that
// keep says are wanted.
func (r *run) successors(keep func(a, b int) bool) (pairs [][2]int) {
	last := map[int]int{}
	for place, l := range r.log {
		if former, ok := last[l.key]; ok && keep(former, place) {
			pairs = append(pairs, [2]int{former, place})
		}
		last[l.key] = place
	}
	return pairs
}

// lastOf is the last call that brought a place.
func (r *run) lastOf(place int) *call {
	for _, c := range slices.Backward(r.calls) {
		if slices.Contains(c.places, place) {
			return c
		}
	}
	panic("a place that never came")
}

// late is a call of one place after everything else.
func (r *run) late(place int) *call {
	return &call{batch: "late", attempt: 1, places: []int{place}, begin: 1_000_000, end: 1_000_001}
}

func (r *run) drawPut(t *rapid.T) int {
	var puts []int
	for place, l := range r.log {
		if strings.Contains(l.record, "amount") {
			puts = append(puts, place)
		}
	}
	if len(puts) == 0 {
		t.Skip("a history of deletes only")
	}
	return rapid.SampledFrom(puts).Draw(t, "put")
}

// String is the run as a failing test shows it.
func (r *run) String() string {
	var text strings.Builder
	for _, w := range r.written {
		fmt.Fprintf(&text, "write %+v\n", w)
	}
	for place, l := range r.log {
		fmt.Fprintf(&text, "log %d: %s\n", place, l.record)
	}
	for _, c := range r.calls {
		fmt.Fprintf(&text, "call %+v\n", *c)
	}
	return text.String()
}

func TestJournalsAreReadUpToTheirTornLine(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	begin := `{"time":"2026-01-02T03:04:05.000000006Z","phase":"begin","event":{"Version":"Sync-v1","Batch":{"Id":"b","Attempt":2},"Records":[]}}` + "\n"
	write("1.jsonl", begin+`{"time":"2026-01-02T03:04:05.5Z","phase":"end","batch":"b","attempt":2,"outcome":"ok","failures":[]}`+"\n")
	write("2.jsonl", begin+`{"time":"2026-01-02T0`)
	write("notes.txt", "not a journal")
	entries, err := ReadJournals(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 3 || entries[0].Event.Batch.ID != "b" || entries[1].Outcome != OK || entries[2].File != "2.jsonl" {
		t.Fatalf("read %+v", entries)
	}
	if v := Judge(nil, entries); v.Invocations != 2 || v.Retries != 2 || v.Time.String() != "499.999994ms" {
		t.Fatal(v)
	}

	for _, broken := range []string{"{broken}", `{"time":"2026-01-02T0` + begin[:len(begin)-1], "null", "{}", `{"phase":"ends"}`, `{"phase":"end","batch":"b","attempt":2}`} {
		write("3.jsonl", begin+broken+"\n"+begin)
		if _, err := ReadJournals(dir); err == nil || !strings.Contains(err.Error(), "3.jsonl, line 2") {
			t.Errorf("%s in the middle reads as %v", broken, err)
		}
	}
}

func TestDeletesOfOneKeyAreToldApart(t *testing.T) {
	written := []Write{
		{Key: key(0), Kind: PutRow, Revision: 1}, {Key: key(0), Kind: DeleteRow, Revision: 2},
		{Key: key(0), Kind: PutRow, Revision: 3}, {Key: key(0), Kind: DeleteRow, Revision: 4},
	}
	row := func(id, kind, columns string) string {
		return fmt.Sprintf(`{"Id":%q,"Type":%q,"PrimaryKey":[{"ColumnName":"order","Value":"o-0"}],"Columns":[%s]}`, id, kind, columns)
	}
	revision := func(n int) string {
		return fmt.Sprintf(`{"Type":"Put","ColumnName":"revision","Value":%d}`, n)
	}
	log := []logged{
		{0, row("1", PutRow, revision(1))}, {0, row("2", DeleteRow, "")},
		{0, row("3", PutRow, revision(3))}, {0, row("4", DeleteRow, "")},
	}
	judge := func(places ...int) Verdict {
		r := &run{written: written, log: log}
		for n, place := range places {
			r.calls = append(r.calls, &call{batch: fmt.Sprint(place), attempt: 1, places: []int{place}, begin: 2*n + 1, end: 2*n + 2})
		}
		return Judge(r.written, r.journal(t))
	}
	if v := judge(0, 1, 2, 3); !v.OK() {
		t.Fatal(v)
	}
	if v := judge(0, 2, 3); v.Lost.Count != 1 || !strings.Contains(v.Lost.Examples[0], "revision 2") {
		t.Fatal(v)
	}
	if v := judge(0, 1, 2); v.Lost.Count != 1 || !strings.Contains(v.Lost.Examples[0], "revision 4") {
		t.Fatal(v)
	}
	if v := judge(0, 2, 1, 3); v.OutOfOrder.Count == 0 || v.Lost.Count != 0 {
		t.Fatal(v)
	}
	log[2], log[3] = logged{0, row("0", PutRow, revision(3))}, logged{0, row("1.5", DeleteRow, "")} // the clock stepped back
	if v := judge(0, 1, 2, 3); !v.OK() {
		t.Fatal(v)
	}
	if v := judge(0, 2, 3); v.Lost.Count != 1 {
		t.Fatal(v)
	}
	written = written[:2]
	log[1] = logged{0, row("0.5", DeleteRow, "")} // it stepped back after the only put
	if v := judge(0, 1); !v.OK() {
		t.Fatal(v)
	}
	if v := judge(1, 0); v.OutOfOrder.Count == 0 {
		t.Fatal(v)
	}
}

func TestWhatOthersWriteToAVersionedKeyIsCounted(t *testing.T) {
	written := []Write{
		{Key: key(0), Kind: PutRow, Version: 1000, Base: true, Values: map[string]string{"name": `"a/b"`, "amount": "100.0", "n": "9007199254740993"}},
		{Key: key(0), Kind: PutRow, Version: 2000},
		{Key: key(1), Kind: PutRow, Version: 1000, Base: true}, // a row without columns
	}
	row := func(id, kind string, n int, columns string) logged {
		return logged{n, fmt.Sprintf(`{"Id":%q,"Type":%q,"PrimaryKey":[{"ColumnName":"order","Value":"o-%d"}],"Columns":[%s]}`, id, kind, n, columns)}
	}
	put := func(name, value string, version int) string {
		return fmt.Sprintf(`{"Type":"Put","ColumnName":%q,"Value":%s,"Timestamp":%d}`, name, value, version)
	}
	base := row("base:1", PutRow, 0, put("name", `"a\/b"`, 1000)+","+put("amount", "1e2", 1000)+","+put("n", "9007199254740993", 1000))
	log := []logged{base, row("base:2", PutRow, 1, ""), row("1", UpdateRow, 0, put("x", "1", 1500)),
		row("2", PutRow, 0, put("x", "2", 2000)), row("3", DeleteRow, 0, "")}
	judge := func() Verdict {
		r := &run{written: written, log: log}
		for place := range log {
			r.calls = append(r.calls, &call{batch: fmt.Sprint(place), attempt: 1, places: []int{place}, begin: 2*place + 1, end: 2*place + 2})
		}
		return Judge(r.written, r.journal(t))
	}
	if v := judge(); !v.OK() || v.Delivered != 3 || v.Others != 2 {
		t.Error(v, v.Others)
	}
	for _, wrong := range [][2]string{{"1e2", "100"}, {"1e2", "1e3"}, {"9007199254740993", "9007199254740992"}, {"b", "c"}} {
		log[0] = logged{0, strings.Replace(base.record, wrong[0]+`"`, wrong[1]+`"`, 1)}
		if log[0] == base {
			log[0] = logged{0, strings.Replace(base.record, `"Value":`+wrong[0], `"Value":`+wrong[1], 1)}
		}
		if v := judge(); log[0] == base || v.Corrupt.Count != 1 {
			t.Errorf("%v: %s", wrong, v)
		}
	}
}

func TestAKeyIsTheSameHoweverItsTextIsEscaped(t *testing.T) {
	for _, pair := range [][2]string{{`"a\/b\u00e9\u2028<"`, `"a/bé \u003c"`}, {`"\b\u007f"`, "\"\\u0008\x7f\""}, {"17", "17"}} {
		if a, b := KeyText("k", pair[0]), KeyText("k", pair[1]); a != b {
			t.Errorf("%s and %s", a, b)
		}
	}
	if KeyText("k", `"1"`) == KeyText("k", "1") {
		t.Error("a string and an integer are one key")
	}
}

func TestRowsOfOtherWritersAreLeftOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRun(t)
		others := 0
		for _, c := range r.calls {
			for _, place := range c.places {
				if r.log[place].key == 0 {
					others++
				}
			}
		}
		mine := func(name string) bool { return name != key(0) }
		kept, left := Split(r.journal(t), mine)
		written := slices.DeleteFunc(r.written, func(w Write) bool { return !mine(w.Key) })
		if v := Judge(written, kept); !v.OK() || left != others || v.Invocations != len(r.calls) {
			t.Fatalf("%s, left out %d of %d", v, left, others)
		}
	})
}
