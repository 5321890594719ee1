package check

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// basePrefix begins the ids of records of base data.
const basePrefix = "base:"

// judgement is a verdict in the making.
type judgement struct {
	verdict Verdict
	keys    map[string]*history
	order   []string // of the keys, as first written or delivered
}

// history is one primary key: the changes that are due, in order, and what came.
type history struct {
	name       string
	changes    []change
	byRevision map[int64]int // places in changes; deletes are not among them
	versioned  bool          // byRevision holds versions
	deliveries []*delivery   // in the order in which they began
}

// change is what a tunnel has to deliver once.
type change struct {
	Write
	content string // of its record, when it has come
	done    bool   // some delivery succeeded
}

// delivery is one record in one invocation.
type delivery struct {
	in      *invocation
	id      string
	kind    string
	content string
	record  record
	place   int // of its change; -1: nobody wrote it
	ok      bool
}

// expect turns what was written into what is due.
func (j *judgement) expect(written []Write) {
	for _, w := range written {
		k := j.key(w.Key)
		if w.Version != 0 {
			k.versioned, w.Revision = true, w.Version
		}
		if w.Base {
			// Only the row's state at the tunnel's making is due.
			k.changes = k.changes[:0]
			if w.Kind == DeleteRow {
				continue
			}
			w.Kind = PutRow
		}
		k.changes = append(k.changes, change{Write: w})
	}
	for _, k := range j.keys {
		j.verdict.Written += len(k.changes)
		for place, c := range k.changes {
			if c.Kind != DeleteRow {
				k.byRevision[c.Revision] = place
			}
		}
	}
}

func (j *judgement) key(name string) *history {
	k := j.keys[name]
	if k == nil {
		k = &history{name: name, byRevision: map[int64]int{}}
		j.keys[name] = k
		j.order = append(j.order, name)
	}
	return k
}

// arrive hands the records of all invocations to their keys.
func (j *judgement) arrive(all []*invocation) {
	batches := map[string]string{}
	for _, in := range all {
		batch := in.event.Batch
		if batch.Attempt > 1 {
			j.verdict.Retries++
		}
		var content strings.Builder
		for _, raw := range in.event.Records {
			text := compact(raw)
			content.WriteString(text + "\n")
			d := &delivery{in: in, content: text, place: -1}
			if err := json.Unmarshal(raw, &d.record); err != nil {
				j.verdict.Corrupt.add("batch %s: a record cannot be read: %v", batch.ID, err)
				continue
			}
			d.id, d.kind = d.record.ID, d.record.Type
			d.ok = in.succeeded(d.id)
			k := j.key(keyOf(d.record))
			k.deliveries = append(k.deliveries, d)
		}
		if former, ok := batches[batch.ID]; ok && former != content.String() {
			j.verdict.Corrupt.add("batch %s came again with other records (attempt %d)", batch.ID, batch.Attempt)
		}
		batches[batch.ID] = content.String()
	}
}

func keyOf(r record) string {
	var parts []string
	for _, column := range r.PrimaryKey {
		parts = append(parts, column.ColumnName, compact(column.Value))
	}
	return KeyText(parts...)
}

// judgeKey finds each delivery's change, then judges content, completeness
// and order.
func (j *judgement) judgeKey(k *history) {
	j.placeRows(k)
	j.placeDeletes(k)
	for _, d := range k.deliveries {
		if d.place < 0 {
			continue
		}
		c := &k.changes[d.place]
		j.compare(k, c, d)
		if !d.ok {
			continue
		}
		if c.done {
			j.verdict.Repeats++
		} else {
			c.done = true
			j.verdict.Delivered++
		}
	}
	for _, c := range k.changes {
		if !c.done {
			j.verdict.Lost.add("%s", c.describe())
		}
	}
	j.judgeOrder(k)
}

func (c *change) describe() string {
	text := c.Key + " revision " + strconv.FormatInt(c.Revision, 10) + " (" + c.Kind
	if c.Base {
		text += ", base data"
	}
	return text + ")"
}

// placeRows finds the changes of puts and updates, by their revision.
func (j *judgement) placeRows(k *history) {
	for _, d := range k.deliveries {
		if d.kind == DeleteRow {
			continue
		}
		if k.versioned {
			j.placeVersion(k, d)
			continue
		}
		revision, ok := revisionOf(d.record)
		if !ok {
			j.verdict.Unknown.add("%s: record %s (%s) has no integer column %s", k.name, d.id, d.kind, RevisionColumn)
			continue
		}
		place, ok := k.byRevision[revision]
		if !ok {
			j.verdict.Unknown.add("%s: record %s (%s) has revision %d, which was not written", k.name, d.id, d.kind, revision)
			continue
		}
		if base := strings.HasPrefix(d.id, basePrefix); base != k.changes[place].Base {
			j.verdict.Unknown.add("%s: record %s (%s) has revision %d, which is not due from this side of the switch from base data to stream",
				k.name, d.id, d.kind, revision)
			continue
		}
		d.place = place
	}
}

// placeVersion finds the change of a put by its version. A row of base data
// without columns has none: it is the key's only base change.
func (j *judgement) placeVersion(k *history, d *delivery) {
	base := strings.HasPrefix(d.id, basePrefix)
	if base && len(d.record.Columns) == 0 && len(k.changes) > 0 && k.changes[0].Base {
		d.place = 0
		return
	}
	place, ok := -1, false
	if len(d.record.Columns) > 0 {
		place, ok = k.byRevision[d.record.Columns[0].Timestamp]
	}
	switch {
	case !ok:
		j.verdict.Others++
	case base != k.changes[place].Base:
		j.verdict.Unknown.add("%s: record %s (%s) has version %d, which is not due from this side of the switch from base data to stream",
			k.name, d.id, d.kind, d.record.Columns[0].Timestamp)
	default:
		d.place = place
	}
}

func revisionOf(r record) (int64, bool) {
	for _, column := range r.Columns {
		if column.ColumnName == RevisionColumn {
			revision, err := strconv.ParseInt(string(column.Value), 10, 64)
			return revision, err == nil
		}
	}
	return 0, false
}

// placeDeletes finds the changes of deletes. They carry no column, so a
// delete is known by its place in the log: its id, which is its position,
// lies between those of the puts and updates around it. Where ids do not rise
// with the changes, as the log's clock has stepped back, the first delivery's
// place among the others decides.
func (j *judgement) placeDeletes(k *history) {
	ids := map[int]string{}    // per change, its record's id
	firsts := map[string]int{} // per delete, the highest place that the key had reached before its first delivery
	reached := -1
	for _, d := range k.deliveries {
		switch {
		case d.place >= 0:
			ids[d.place] = d.id
			reached = max(reached, d.place)
		case d.kind == DeleteRow:
			if _, ok := firsts[d.id]; !ok {
				firsts[d.id] = reached
			}
		}
	}
	var byID, byArrival []gap
	for id, first := range firsts {
		byID = append(byID, gapOf(id, ids, len(k.changes)))
		byArrival = append(byArrival, gap{id: id, low: first, high: len(k.changes)})
	}
	rising := k.rising(ids)
	placed, all := k.fill(byID)
	if !rising || !all {
		if other, fits := k.fill(byArrival); !rising || fits {
			placed = other
		}
	}
	for _, d := range k.deliveries {
		if d.kind != DeleteRow {
			continue
		}
		if d.place = placed[d.id]; d.place < 0 && k.versioned {
			j.verdict.Others++
		} else if d.place < 0 {
			j.verdict.Unknown.add("%s: record %s deletes the row where nobody did", k.name, d.id)
		}
	}
}

// rising says whether the ids of puts and updates rise with their places.
func (k *history) rising(ids map[int]string) bool {
	former := ""
	for place, c := range k.changes {
		if id, ok := ids[place]; ok && !c.Base {
			if former >= id {
				return false
			}
			former = id
		}
	}
	return true
}

// gap is where the change of a delete may be: between two places.
type gap struct {
	id        string // the delete's
	low, high int
}

// gapOf is the gap between the puts and updates whose ids are around the
// delete's.
func gapOf(id string, ids map[int]string, end int) gap {
	g := gap{id: id, low: -1, high: end}
	for place, other := range ids {
		if other < id || strings.HasPrefix(other, basePrefix) {
			g.low = max(g.low, place)
		} else {
			g.high = min(g.high, place)
		}
	}
	return g
}

// fill gives each gap the first delete in it that is not taken, -1 if there is
// none, and says whether each got one.
func (k *history) fill(gaps []gap) (placed map[string]int, all bool) {
	slices.SortFunc(gaps, func(a, b gap) int { return cmp.Or(cmp.Compare(a.low, b.low), cmp.Compare(a.id, b.id)) })
	placed, all = map[string]int{}, true
	next := 0
	for _, g := range gaps {
		placed[g.id] = -1
		for place := max(next, g.low+1); place < g.high; place++ {
			if k.changes[place].Kind == DeleteRow {
				placed[g.id], next = place, place+1
				break
			}
		}
		all = all && placed[g.id] >= 0
	}
	return placed, all
}

// compare judges a delivery's content against the write and against earlier
// deliveries of the same change.
func (j *judgement) compare(k *history, c *change, d *delivery) {
	if d.kind != c.Kind {
		j.verdict.Corrupt.add("%s came as %s", c.describe(), d.kind)
	}
	if c.content != "" && c.content != d.content {
		j.verdict.Corrupt.add("%s came again with other content: %s, before: %s", c.describe(), d.content, c.content)
	}
	c.content = d.content
	for name, value := range c.Values {
		if got, ok := valueOf(d.record, name); !ok || !same(got, value) {
			j.verdict.Corrupt.add("%s: column %s is %s, written was %s", c.describe(), name, got, value)
		}
	}
}

// same compares two JSON values by the rules of [Write.Values].
func same(got, want string) bool {
	if got == want {
		return true
	}
	var g, w any
	if json.Unmarshal([]byte(got), &g) != nil || json.Unmarshal([]byte(want), &w) != nil {
		return false
	}
	switch w := w.(type) {
	case string:
		return g == w
	case float64:
		return g == w && strings.ContainsAny(got, ".eE") && strings.ContainsAny(want, ".eE")
	}
	return false
}

func valueOf(r record, name string) (string, bool) {
	for _, column := range r.Columns {
		if column.ColumnName == name && column.Type == "Put" {
			return compact(column.Value), true
		}
	}
	return "nothing", false
}

// judgeOrder walks a key's deliveries in the order in which they began.
func (j *judgement) judgeOrder(k *history) {
	stands := -1                // the place of the last delivery
	open := map[int]*delivery{} // per place, its last delivery, unless known to have succeeded
	for _, d := range k.deliveries {
		if d.place < 0 {
			continue
		}
		if over := j.passedOver(k, stands, d, open); over >= 0 {
			j.verdict.OutOfOrder.add("%s came at %s (record %s, batch %s) ahead of revision %d",
				k.changes[d.place].describe(), d.in.begin.Format("15:04:05.000000"), d.id, d.in.event.Batch.ID, k.changes[over].Revision)
		}
		stands = d.place
		open[d.place] = d
	}
	for place := len(k.changes) - 1; place > stands && stands >= 0; place-- {
		if k.changes[place].done {
			j.verdict.OutOfOrder.add("%s is the last that came, as a repeat: revision %d should have come again after it",
				k.changes[stands].describe(), k.changes[place].Revision)
			break
		}
	}
}

// passedOver gives the place of a change that should have come before d and
// was passed over, or -1.
func (j *judgement) passedOver(k *history, stands int, d *delivery, open map[int]*delivery) int {
	for place := stands + 1; place < d.place; place++ {
		if k.changes[place].done {
			return place
		}
	}
	over := -1
	for place, former := range open {
		if former.ok && !former.in.end.After(d.in.begin) {
			delete(open, place)
			continue
		}
		if place < d.place && former.in != d.in && k.changes[place].done {
			if over < 0 || place < over {
				over = place
			}
		}
	}
	return over
}
