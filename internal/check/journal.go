package check

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Phases and outcomes of an [Entry].
const (
	Begin = "begin"
	End   = "end"

	OK     = "ok"
	Failed = "failed"
)

// Entry is one line of a journal: an invocation began or ended in a handler's
// process.
type Entry struct {
	Time  time.Time `json:"time"`
	Phase string    `json:"phase"`

	Event *Event `json:"event,omitempty"` // with Begin: what the handler was given

	// With End.
	Batch    string   `json:"batch,omitempty"`
	Attempt  int      `json:"attempt,omitempty"`
	Outcome  string   `json:"outcome,omitempty"`
	Failures []string `json:"failures,omitempty"` // ids of records marked failed in an invocation that is OK
	Error    string   `json:"error,omitempty"`

	File string `json:"-"` // the journal's name: one process wrote it
	Line int    `json:"-"` // 1 and up
}

// Event is the event as a handler saw it. What is compared and not
// interpreted stays raw.
type Event struct {
	Version string
	Batch   Batch
	Records []json.RawMessage
}

// Batch is the event's batch.
type Batch struct {
	ID      string `json:"Id"`
	Attempt int
	Trigger string
	Tunnel  string
	Channel string
	Lane    int
}

// record is the part of a record that the checker interprets.
type record struct {
	ID         string `json:"Id"`
	Type       string
	PrimaryKey []struct {
		ColumnName string
		Value      json.RawMessage
	}
	Columns []struct {
		Type       string
		ColumnName string
		Value      json.RawMessage
		Timestamp  int64
	}
}

// ReadJournals reads every journal of a directory: the files whose names end
// in .jsonl, one per handler process. A last line that lacks its newline was
// torn when its process was killed and is left out; any other line that
// cannot be read is an error.
func ReadJournals(dir string) ([]Entry, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("read the journals in %s: %w", dir, err)
	}
	var all []Entry
	for _, name := range names {
		entries, err := readFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
	}
	return all, nil
}

func readFile(name string) ([]Entry, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	return ReadJournal(f, filepath.Base(name))
}

// ReadJournal reads one journal. See [ReadJournals].
func ReadJournal(r io.Reader, file string) ([]Entry, error) {
	var entries []Entry
	buffered := bufio.NewReader(r)
	for line := 1; ; line++ {
		text, err := buffered.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return entries, nil // what is left has no newline: torn, or nothing
		}
		if err != nil {
			return nil, fmt.Errorf("read journal %s, line %d: %w", file, line, err)
		}
		entry := Entry{File: file, Line: line}
		if err := json.Unmarshal(text, &entry); err != nil {
			return nil, fmt.Errorf("read journal %s, line %d: %w", file, line, err)
		}
		switch {
		case entry.Phase == Begin && entry.Event != nil:
		case entry.Phase == End && (entry.Outcome == OK || entry.Outcome == Failed):
		default:
			return nil, fmt.Errorf("read journal %s, line %d: neither a beginning with its event nor an end with its outcome", file, line)
		}
		entries = append(entries, entry)
	}
}

// Split leaves out the records whose key ours does not want, where other
// writers use the table too, and counts them. Invocations stay, if need be
// with no records.
func Split(entries []Entry, ours func(key string) bool) (kept []Entry, others int) {
	kept = slices.Clone(entries)
	for i, e := range kept {
		if e.Event == nil {
			continue
		}
		event := *e.Event
		event.Records = slices.DeleteFunc(slices.Clone(event.Records), func(raw json.RawMessage) bool {
			var r record
			return json.Unmarshal(raw, &r) == nil && !ours(keyOf(r))
		})
		others += len(e.Event.Records) - len(event.Records)
		kept[i].Event = &event
	}
	return kept, others
}

// invocation is a begin with its end.
type invocation struct {
	begin, end time.Time
	ended      bool
	failed     bool
	failures   []string
	event      *Event
}

// succeeded says whether the handler finished the record.
func (i *invocation) succeeded(id string) bool {
	return i.ended && !i.failed && !slices.Contains(i.failures, id)
}

// invocations pairs beginnings and ends, in the order of the beginnings, and
// counts the ends that have no beginning. An end belongs to the oldest open
// beginning of its batch and attempt in its own file. Time orders the files
// among each other; within a file its lines do, whatever the clock did.
func invocations(entries []Entry) (all []*invocation, strays int) {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	for i := 1; i < len(entries); i++ {
		former := entries[i-1]
		if former.File == entries[i].File && entries[i].Time.Before(former.Time) {
			entries[i].Time = former.Time
		}
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return a.Time.Compare(b.Time) })

	type attempt struct {
		file, batch string
		attempt     int
	}
	open := map[attempt][]*invocation{}
	for _, e := range entries {
		switch e.Phase {
		case Begin:
			i := &invocation{begin: e.Time, event: e.Event}
			at := attempt{e.File, e.Event.Batch.ID, e.Event.Batch.Attempt}
			open[at] = append(open[at], i)
			all = append(all, i)
		case End:
			at := attempt{e.File, e.Batch, e.Attempt}
			if len(open[at]) == 0 {
				strays++
				continue
			}
			i := open[at][0]
			open[at] = open[at][1:]
			i.end, i.ended = e.Time, true
			i.failed = e.Outcome != OK
			i.failures = e.Failures
		}
	}
	return all, strays
}

// compact is the text of a JSON value without its blanks.
func compact(raw json.RawMessage) string {
	var out bytes.Buffer
	if err := json.Compact(&out, raw); err != nil {
		return string(raw)
	}
	return out.String()
}
