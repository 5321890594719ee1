// Package check judges whether what was written arrived: every change, each
// key's changes in the order of writing, nothing that nobody wrote. It reads
// what the handlers themselves recorded and what the writer noted, and knows
// nothing of the code in between.
//
// The rules, for one key:
//
//   - A change is delivered when an invocation that holds it ends well and
//     does not name it as failed. A change never delivered is lost.
//   - What was in the table when the tunnel was made arrives once per row, as
//     a PutRow that shows the row as it was then.
//   - A delivery goes on from where the key stands to the next change, or back
//     to an earlier one: a repeat. After a repeat the order goes on rising
//     without a gap, since whoever keeps the last delivery of a key must end
//     with the last change. A delivery that passes over a change which does
//     arrive, before or after, is out of order.
//   - A delivery that starts while an earlier change of its key, outside its
//     own event, is still being worked on, or has last failed and succeeds
//     later, is out of order too.
//   - A record has one content and a batch one list of records, in every
//     attempt and after every restart; anything else is corrupt.
package check

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Kinds of changes, as events name them.
const (
	PutRow    = "PutRow"
	UpdateRow = "UpdateRow"
	DeleteRow = "DeleteRow"
)

// RevisionColumn is the integer column by which puts and updates are told
// apart.
const RevisionColumn = "revision"

// Write is one change as its writer noted it.
type Write struct {
	Key  string // the primary key as [KeyText] writes it
	Kind string // PutRow, UpdateRow or DeleteRow
	// Revision rises with each write of a key. A put or an update writes it
	// into the column [RevisionColumn].
	Revision int64
	// Version, if not 0, stands in the place of that column, where rows must
	// stay as their owner has them: a put gives it to each column that it
	// writes, as the version, and it rises with each write of a key. Then
	// others may write the key too, and what they write is only counted.
	Version int64
	// Base says that it was written before the tunnel was made. A key's base
	// writes come before its others.
	Base bool
	// Values are columns that the write put, as JSON, to be compared with what
	// arrived: integers by their digits, doubles and strings by what they say.
	// A column left out is not compared.
	Values map[string]string
}

// KeyText writes a primary key as [Write] wants it. It takes names and values
// of the key columns in turn, the values as JSON, however they are escaped.
func KeyText(namesAndValues ...string) string {
	var text strings.Builder
	for i := 0; i+1 < len(namesAndValues); i += 2 {
		if i > 0 {
			text.WriteString(", ")
		}
		text.WriteString(namesAndValues[i] + "=" + oneWay(namesAndValues[i+1]))
	}
	return text.String()
}

// oneWay writes a JSON string in the one way of this package; other values
// stay as they are.
func oneWay(value string) string {
	var said string
	if !strings.HasPrefix(value, `"`) || json.Unmarshal([]byte(value), &said) != nil {
		return value
	}
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(said) // a string can always be encoded
	return strings.TrimSuffix(out.String(), "\n")
}

// Finding is one way in which a run was wrong.
type Finding struct {
	Count    int
	Examples []string // the first few
}

const maxExamples = 5

func (f *Finding) add(format string, args ...any) {
	f.Count++
	if len(f.Examples) < maxExamples {
		f.Examples = append(f.Examples, fmt.Sprintf(format, args...))
	}
}

// Verdict is what a run came to.
type Verdict struct {
	Written   int // changes that a tunnel had to deliver
	Delivered int // of these, the ones that a handler finished

	Lost       Finding // written and not delivered
	OutOfOrder Finding // deliveries that a key's order forbids
	Unknown    Finding // deliveries of what nobody wrote
	Corrupt    Finding // deliveries whose content is not what was written or delivered before

	Invocations int
	Retries     int // invocations with an attempt above 1
	Repeats     int // deliveries of changes that were delivered already
	Others      int // deliveries of what others wrote to keys with a [Write.Version]

	Time time.Duration // from the journals' first line to their last
}

// OK says whether nothing was wrong. Retries and repeats are not wrong.
func (v Verdict) OK() bool {
	return v.Lost.Count+v.OutOfOrder.Count+v.Unknown.Count+v.Corrupt.Count == 0
}

// String is the verdict in lines.
func (v Verdict) String() string {
	return fmt.Sprintf("written %d, delivered %d, invocations %d, retries %d, repeats %d, seconds %.1f\n",
		v.Written, v.Delivered, v.Invocations, v.Retries, v.Repeats, v.Time.Seconds()) + v.Findings()
}

// Findings is what was wrong, in lines with examples.
func (v Verdict) Findings() string {
	var text strings.Builder
	fmt.Fprintf(&text, "lost %d, out of order %d, unknown %d, corrupt %d\n",
		v.Lost.Count, v.OutOfOrder.Count, v.Unknown.Count, v.Corrupt.Count)
	for _, f := range []struct {
		name string
		Finding
	}{{"lost", v.Lost}, {"out of order", v.OutOfOrder}, {"unknown", v.Unknown}, {"corrupt", v.Corrupt}} {
		for _, example := range f.Examples {
			fmt.Fprintf(&text, "  %s: %s\n", f.name, example)
		}
		if more := f.Count - len(f.Examples); more > 0 {
			fmt.Fprintf(&text, "  %s: and %d more\n", f.name, more)
		}
	}
	return text.String()
}

// Judge compares what was written, in the order of writing, with what the
// handlers recorded, in any order. The run must have come to rest: what is
// still under way would be judged as lost.
func Judge(written []Write, journal []Entry) Verdict {
	all, strays := invocations(journal)
	j := judgement{keys: map[string]*history{}}
	j.verdict.Invocations = len(all)
	for range strays {
		j.verdict.Corrupt.add("a journal ends an invocation that it never began")
	}
	j.expect(written)
	j.arrive(all)
	for _, name := range j.order {
		j.judgeKey(j.keys[name])
	}
	j.verdict.Time = span(journal)
	return j.verdict
}

func span(journal []Entry) time.Duration {
	if len(journal) == 0 {
		return 0
	}
	first, last := journal[0].Time, journal[0].Time
	for _, e := range journal {
		if e.Time.Before(first) {
			first = e.Time
		}
		if e.Time.After(last) {
			last = e.Time
		}
	}
	return last.Sub(first)
}
