package ledgertest

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/state"
)

// known is the model of one channel: what a ledger has to know of it. Its
// times are what was left when they were written; that they pass is left out.
type known struct {
	nonce           string // the owner's
	released        bool
	epoch, version  int64
	layouts, former map[string]string // per trigger
	lanes           map[state.Lane]*knownLane
}

type knownLane struct {
	mark           *state.Mark
	batch          *state.Batch // in flight
	epoch          int64        // of the owner that began it
	deadline, owed time.Duration
	hold           time.Duration // of earlier batches
}

// fill writes the given layouts for triggers of which no lane holds anything.
func (k *known) fill(layouts map[string]string) {
	busy := map[string]bool{}
	for lane, l := range k.lanes {
		busy[lane.Trigger] = busy[lane.Trigger] || l.mark != nil || l.batch != nil
	}
	k.former = maps.Clone(k.layouts)
	maps.DeleteFunc(k.layouts, func(trigger, _ string) bool { return !busy[trigger] })
	for trigger, layout := range layouts {
		if _, kept := k.layouts[trigger]; !kept {
			k.layouts[trigger] = layout
		}
	}
}

func (k *known) attachment(c state.Channel, nonce string) state.Attachment {
	a := state.Attachment{Owner: state.Owner{Channel: c, Nonce: nonce, Epoch: k.epoch}}
	if len(k.former) > 0 {
		a.Layouts = maps.Clone(k.former)
	}
	for _, lane := range modelLanes {
		l := k.lanes[lane]
		s := state.LaneState{Lane: lane, Watermark: l.mark, InFlight: l.batch, Wait: l.hold}
		if l.batch != nil {
			s.Former = l.epoch != k.epoch
			s.Wait = max(l.hold, l.deadline, l.owed)
		}
		if s.Watermark != nil || s.InFlight != nil || s.Wait > 0 {
			a.Lanes = append(a.Lanes, s)
		}
	}
	return a
}

func newKnown() *known {
	k := &known{layouts: map[string]string{}, lanes: map[state.Lane]*knownLane{}}
	for _, lane := range modelLanes {
		k.lanes[lane] = &knownLane{}
	}
	return k
}

// In the order in which a ledger returns them.
var modelLanes = []state.Lane{{Trigger: "copy", Index: 0}, {Trigger: "index", Index: 0}, {Trigger: "index", Index: 1}}

func model(t *testing.T, s Server) {
	ledger := s.Open(t)
	rapid.Check(t, func(t *rapid.T) {
		m := &play{ledger: ledger, channel: newChannel(), owners: map[string]state.Owner{}}
		for _, nonce := range []string{"a", "b"} {
			m.owners[nonce] = state.Owner{Channel: m.channel, Nonce: nonce, Epoch: 1}
		}
		t.Repeat(map[string]func(*rapid.T){
			"attach":  m.attach,
			"restore": m.restore,
			"begin":   m.begin,
			"settle":  m.settle,
			"trim":    m.trim,
			"release": m.release,
		})
	})
}

// play runs every operation on the ledger and on the model.
type play struct {
	ledger  state.Ledger
	channel state.Channel
	known   *known                 // nil: the channel is absent
	owners  map[string]state.Owner // each process's latest attachment
}

// owner draws the process that acts; it may have been fenced long ago.
func (m *play) owner(t *rapid.T) state.Owner {
	return m.owners[rapid.SampledFrom([]string{"a", "b"}).Draw(t, "owner")]
}

// standing is the error that the owner has to get, or nil.
func (m *play) standing(o state.Owner) error {
	switch {
	case m.known == nil:
		return state.ErrAbsent
	case m.known.nonce != o.Nonce || m.known.epoch != o.Epoch || m.known.released:
		return state.ErrForeign
	}
	return nil
}

func (m *play) lane(t *rapid.T) state.Lane { return rapid.SampledFrom(modelLanes).Draw(t, "lane") }

func (m *play) mark(t *rapid.T) state.Mark {
	return state.Mark{Position: rapid.SampledFrom([]string{"", "p", "q"}).Draw(t, "position"), Fingerprint: rapid.Uint64Max(1).Draw(t, "fingerprint")}
}

func (m *play) batch(t *rapid.T) *state.Batch {
	return &state.Batch{
		ID:         rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "id"),
		Attempt:    rapid.IntRange(1, 3).Draw(t, "attempt"),
		Timeout:    time.Duration(rapid.IntRange(0, 3).Draw(t, "timeout")) * time.Hour,
		Unanswered: rapid.Bool().Draw(t, "unanswered"),
		Last:       m.mark(t),
		Settled:    rapid.SliceOfN(rapid.Byte(), 0, 2).Draw(t, "settled"),
	}
}

func (m *play) layouts(t *rapid.T) map[string]string {
	return rapid.MapOfN(rapid.SampledFrom([]string{"copy", "index"}), rapid.SampledFrom([]string{"x", "y"}), 0, 2).Draw(t, "layouts")
}

func (m *play) attach(t *rapid.T) {
	nonce := m.owner(t).Nonce
	q := state.AttachRequest{Channel: m.channel, Nonce: nonce, Version: rapid.Int64Range(9, 10).Draw(t, "version"), Layouts: m.layouts(t)}
	got, err := m.ledger.Attach(context.Background(), q)
	if m.known != nil && q.Version < m.known.version {
		check(t, err, state.ErrForeign)
		return
	}
	check(t, err, nil)
	if m.known == nil {
		m.known = newKnown()
	}
	m.known.nonce, m.known.released, m.known.version = nonce, false, q.Version
	m.known.epoch++
	m.known.fill(q.Layouts)
	m.found(t, got)
}

// restore draws what an owner might write back; unless the channel is absent
// it must not matter.
func (m *play) restore(t *rapid.T) {
	o := m.owner(t)
	q := state.AttachRequest{Channel: m.channel, Nonce: o.Nonce, Version: 10, Layouts: m.layouts(t), Epoch: o.Epoch, Restore: []state.LaneState{}}
	written := newKnown()
	for _, lane := range modelLanes {
		s := state.LaneState{Lane: lane, Wait: time.Duration(rapid.IntRange(0, 3).Draw(t, "wait")) * time.Hour}
		if rapid.Bool().Draw(t, "marked") {
			mark := m.mark(t)
			s.Watermark = &mark
		}
		if rapid.Bool().Draw(t, "in flight") {
			s.InFlight = m.batch(t)
			s.Former = rapid.Bool().Draw(t, "former")
		}
		q.Restore = append(q.Restore, s)
		l := written.lanes[lane]
		l.mark = s.Watermark
		if s.InFlight != nil {
			l.batch, l.deadline = stored(s.InFlight), s.Wait
			if !s.Former {
				l.epoch = o.Epoch
			}
		}
		if s.InFlight == nil || s.Former {
			l.hold = s.Wait
		}
	}
	got, err := m.ledger.Attach(context.Background(), q)
	if m.known == nil {
		written.nonce, written.epoch, written.version, written.layouts = o.Nonce, o.Epoch, q.Version, maps.Clone(q.Layouts)
		m.known = written
	}
	want := m.standing(o)
	check(t, err, want)
	if want == nil {
		m.found(t, got)
	}
}

func (m *play) found(t *rapid.T, got state.Attachment) {
	for i := range got.Lanes {
		got.Lanes[i].Wait = hours(got.Lanes[i].Wait)
	}
	m.owners[got.Owner.Nonce] = got.Owner
	if d := cmp.Diff(m.known.attachment(m.channel, m.known.nonce), got); d != "" {
		t.Fatalf("attached: got + and want -:\n%s", d)
	}
}

func (m *play) begin(t *rapid.T) {
	o, lane, b := m.owner(t), m.lane(t), m.batch(t)
	began, err := m.ledger.Begin(context.Background(), o, lane, *b)
	if want := m.standing(o); want != nil {
		check(t, err, want)
		return
	}
	l := m.known.lanes[lane]
	var owed time.Duration
	switch {
	case l.batch == nil:
	case l.batch.ID == b.ID:
		owed = l.owed
		if l.epoch != o.Epoch || (b.Unanswered && l.batch.Attempt != b.Attempt) {
			owed = max(owed, l.deadline)
		}
	case l.epoch == o.Epoch:
		check(t, err, state.ErrInFlight)
		return
	default:
		l.hold = max(l.hold, l.owed, l.deadline)
	}
	check(t, err, nil)
	l.batch, l.epoch, l.deadline, l.owed = stored(b), o.Epoch, b.Timeout, owed
	if got := hours(began.Wait); got != l.hold {
		t.Fatalf("begin says to wait %v, want %v", got, l.hold)
	}
}

func (m *play) settle(t *rapid.T) {
	o := m.owner(t)
	s := state.Settlement{
		Lane:       m.lane(t),
		BatchID:    rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "id"),
		Last:       m.mark(t),
		Unanswered: rapid.Bool().Draw(t, "unanswered"),
	}
	if rapid.Bool().Draw(t, "partly") {
		s.Remainder = m.batch(t)
		if s.Remainder.ID == s.BatchID {
			s.Remainder.ID += "-rest"
		}
	}
	err := m.ledger.Settle(context.Background(), o, s)
	want := m.standing(o)
	check(t, err, want)
	if want != nil {
		return
	}
	l := m.known.lanes[s.Lane]
	switch {
	case l.batch == nil:
	case l.batch.ID == s.BatchID:
		if s.Unanswered || l.epoch != o.Epoch {
			l.owed = max(l.owed, l.deadline)
		}
		if s.Remainder != nil {
			l.batch, l.epoch, l.deadline = stored(s.Remainder), o.Epoch, s.Remainder.Timeout
			return
		}
		*l = knownLane{mark: &s.Last, hold: max(l.hold, l.owed)}
	case s.Remainder != nil && l.batch.ID == s.Remainder.ID && l.batch.Attempt == s.Remainder.Attempt && l.epoch == o.Epoch:
		// The same settlement again.
		l.batch, l.deadline = stored(s.Remainder), s.Remainder.Timeout
	}
}

func (m *play) trim(t *rapid.T) {
	o := m.owner(t)
	covered := map[state.Lane]state.Mark{m.lane(t): m.mark(t), {Trigger: "none", Index: 7}: {}}
	if m.known != nil && rapid.Bool().Draw(t, "all") {
		for lane, l := range m.known.lanes {
			if l.mark != nil {
				covered[lane] = *l.mark
			}
		}
	}
	err := m.ledger.Trim(context.Background(), o, covered)
	want := m.standing(o)
	check(t, err, want)
	if want != nil {
		return
	}
	for lane, mark := range covered {
		if l := m.known.lanes[lane]; l != nil && l.mark != nil && *l.mark == mark {
			l.mark = nil
		}
	}
}

func (m *play) release(t *rapid.T) {
	o := m.owner(t)
	end := rapid.IntRange(0, 3).Draw(t, "end") == 0
	err := m.ledger.Release(context.Background(), o, end)
	var want error
	switch {
	case m.known == nil && !end:
		want = state.ErrAbsent
	case m.known == nil:
	case m.known.nonce != o.Nonce || m.known.epoch != o.Epoch:
		want = state.ErrForeign
	default:
		if end {
			nothing := newKnown()
			m.known.layouts, m.known.former, m.known.lanes = nothing.layouts, nil, nothing.lanes
		}
		m.known.released = true
	}
	check(t, err, want)
}

// stored is a batch as a ledger gives it back.
func stored(b *state.Batch) *state.Batch {
	c := *b
	c.Unanswered = false
	return &c
}

func check(t *rapid.T, err, want error) {
	t.Helper()
	if (err == nil) != (want == nil) || !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}
