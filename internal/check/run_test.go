package check

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// run is a history and what a faultless dispatcher and its handlers make of
// it: lanes at once, attempts that fail in whole or in part, handlers that
// are killed, dispatchers that begin anew at a checkpoint.
type run struct {
	written []Write
	log     []logged // as the tunnel delivers it
	calls   []*call
	// versioned says that puts are told apart by their columns' version. Such
	// a run has nothing but puts.
	versioned bool
}

// logged is a change in the log.
type logged struct {
	key    int
	record string // JSON
}

// call is one invocation: which places of the log it brought, and how it went.
type call struct {
	batch    string
	attempt  int
	places   []int
	begin    int // ticks
	end      int // 0: killed
	failed   bool
	failures []int // places
}

func key(n int) string { return KeyText("order", strconv.Quote(fmt.Sprint("o-", n))) }

// drawRun draws a run in which nothing is wrong.
func drawRun(t *rapid.T) *run {
	r := &run{versioned: rapid.Bool().Draw(t, "versioned")}
	r.drawHistory(t)
	r.drawDeliveries(t)
	return r
}

func (r *run) drawHistory(t *rapid.T) {
	keys := rapid.IntRange(1, 5).Draw(t, "keys")
	rows := make([]string, keys) // the record of the row as it is, "" where there is none
	revisions := make([]int64, keys)
	write := func(base bool) {
		k := rapid.IntRange(0, keys-1).Draw(t, "key")
		kind := PutRow
		if rows[k] != "" && !r.versioned {
			kind = rapid.SampledFrom([]string{PutRow, UpdateRow, DeleteRow}).Draw(t, "kind")
		}
		revisions[k]++
		w := Write{Key: key(k), Kind: kind, Revision: revisions[k], Base: base}
		columns := "[]"
		if kind != DeleteRow {
			amount := strconv.Itoa(rapid.IntRange(0, 9).Draw(t, "amount"))
			w.Values = map[string]string{"amount": amount}
			columns = fmt.Sprintf(`[{"Type":"Put","ColumnName":"amount","Value":%s,"Timestamp":1},{"Type":"Put","ColumnName":"revision","Value":%d,"Timestamp":1}]`,
				amount, revisions[k])
			if r.versioned {
				w.Revision, w.Version = 0, 1_700_000_000_000+revisions[k]
				columns = fmt.Sprintf(`[{"Type":"Put","ColumnName":"amount","Value":%s,"Timestamp":%d},{"Type":"Put","ColumnName":"revision","Value":1,"Timestamp":%d}]`,
					amount, w.Version, w.Version)
			}
		}
		r.written = append(r.written, w)
		id, stamp := fmt.Sprintf("%08x:%016x:%08x", 0, 1000+len(r.written), 0), 1000+len(r.written)
		if base {
			id, stamp, kind = fmt.Sprintf("base:%016x", 7*len(r.written)), 0, PutRow
		}
		record := fmt.Sprintf(`{"Id":%q,"Type":%q,"Info":{"Timestamp":%d},"PrimaryKey":[{"ColumnName":"order","Value":"o-%d"}],"Columns":%s}`,
			id, kind, stamp, k, columns)
		rows[k] = record
		if w.Kind == DeleteRow {
			rows[k] = ""
		}
		if !base {
			r.log = append(r.log, logged{k, record})
		}
	}
	for range rapid.IntRange(0, 8).Draw(t, "base") {
		write(true)
	}
	for k, row := range rows {
		if row != "" {
			r.log = append(r.log, logged{k, row})
		}
	}
	for range rapid.IntRange(1, 25).Draw(t, "changes") {
		write(false)
	}
}

func (r *run) drawDeliveries(t *rapid.T) {
	type lane struct {
		log     []int // places
		settled int   // in log
		next    int   // in log
		call    *call // under way
		retry   []int // what is left of a batch, before next
		attempt int
	}
	lanes := make([]*lane, rapid.IntRange(1, 3).Draw(t, "lanes"))
	for i := range lanes {
		lanes[i] = &lane{}
	}
	for place, l := range r.log {
		at := lanes[l.key%len(lanes)]
		at.log = append(at.log, place)
	}
	crashes := rapid.IntRange(0, 3).Draw(t, "crashes")
	for tick := 1; ; tick++ {
		busy := slices.DeleteFunc(slices.Clone(lanes), func(l *lane) bool {
			return l.call == nil && l.retry == nil && l.next == len(l.log)
		})
		if len(busy) == 0 {
			return
		}
		if crashes > 0 && rapid.IntRange(0, 19).Draw(t, "crash") == 0 {
			crashes--
			for _, l := range lanes { // everything since a checkpoint comes again
				l.call, l.retry = nil, nil
				l.next = rapid.IntRange(0, l.settled).Draw(t, "checkpoint")
				l.settled = l.next
			}
			continue
		}
		l := rapid.SampledFrom(busy).Draw(t, "lane")
		if l.call == nil {
			if l.retry == nil {
				count := rapid.IntRange(1, min(4, len(l.log)-l.next)).Draw(t, "count")
				l.retry, l.attempt = l.log[l.next:l.next+count], 0
				l.next += count
			}
			l.attempt++
			l.call = &call{batch: fmt.Sprint(l.retry), attempt: l.attempt, places: l.retry, begin: tick}
			r.calls = append(r.calls, l.call)
			continue
		}
		c := l.call
		l.call = nil
		switch rapid.IntRange(0, 9).Draw(t, "outcome") {
		case 0: // killed
		case 1:
			c.end, c.failed = tick, true
		case 2:
			c.end = tick
			bad := rapid.SampledFrom(c.places).Draw(t, "bad")
			c.failures = []int{bad}
			l.retry, l.attempt = slices.DeleteFunc(slices.Clone(c.places), func(place int) bool {
				return place < bad || r.log[place].key != r.log[bad].key
			}), 0
		default:
			c.end = tick
			l.retry, l.settled = nil, l.next
		}
	}
}

// journal writes the run as handlers do, each invocation in a process of its
// own.
func (r *run) journal(t interface{ Fatal(...any) }) []Entry {
	var all []Entry
	for n, c := range r.calls {
		stamp := func(tick int) string {
			return time.Unix(1_700_000_000, int64(tick)*1000).UTC().Format(time.RFC3339Nano)
		}
		var records, failures []string
		for _, place := range c.places {
			records = append(records, r.log[place].record)
		}
		for _, place := range c.failures {
			failures = append(failures, idOf(r.log[place].record))
		}
		text := fmt.Sprintf(`{"time":%q,"phase":"begin","event":{"Version":"Sync-v1","Batch":{"Id":%q,"Attempt":%d,"Trigger":"t","Tunnel":"u","Channel":"c","Lane":0},"Records":[%s]}}`+"\n",
			stamp(c.begin), c.batch, c.attempt, strings.Join(records, ","))
		if c.end > 0 {
			outcome := OK
			if c.failed {
				outcome = Failed
			}
			named, _ := json.Marshal(failures)
			text += fmt.Sprintf(`{"time":%q,"phase":"end","batch":%q,"attempt":%d,"outcome":%q,"failures":%s}`+"\n",
				stamp(c.end), c.batch, c.attempt, outcome, named)
		} else {
			text += `{"time":"2026-`
		}
		entries, err := ReadJournal(strings.NewReader(text), fmt.Sprint(n, ".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entries...)
	}
	return all
}

func idOf(text string) string {
	var parsed record
	if err := json.Unmarshal([]byte(text), &parsed); err != nil {
		panic(err)
	}
	return parsed.ID
}
