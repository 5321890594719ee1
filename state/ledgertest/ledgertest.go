// Package ledgertest is what every [state.Ledger] must do, as tests.
package ledgertest

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/state"
)

// Server is where the ledgers under test keep their state. A nil function
// means that the server has no such thing; the tests of it are left out.
type Server struct {
	// Open makes another ledger on the same server and closes it at the end of
	// the test.
	Open func(t testing.TB) state.Ledger
	// Flush forgets every channel, as a server does that lost its data.
	Flush func(t testing.TB)
	// ForgetScripts forgets the scripts and nothing else.
	ForgetScripts func(t testing.TB)
	// Stop makes the server unreachable, Start brings it back with its data.
	Stop, Start func(t testing.TB)
	// Address is how errors name the server.
	Address string
}

// Run runs the suite. It calls Flush and Stop, so that nothing else may use
// the server meanwhile. It needs no clock of its own: deadlines are hours
// away or have passed at once, and a wait is compared to the hour.
func Run(t *testing.T, s Server) {
	tests := map[string]func(*fixture){}
	for _, some := range []map[string]func(*fixture){owners, batches, deadlines, losses} {
		for name, test := range some {
			tests[name] = test
		}
	}
	if s.ForgetScripts != nil {
		tests["a server that forgot the scripts gets them again"] = forgottenScripts
	}
	if s.Stop != nil {
		tests["a server that is down is named, and works again when it is back"] = outage
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(newFixture(t, s)) })
	}
	t.Run("two owners on one channel do what the model does", func(t *testing.T) { model(t, s) })
}

// fixture is one test's ledger and channel.
type fixture struct {
	testing.TB
	server  Server
	ledger  state.Ledger
	channel state.Channel
}

func newFixture(t testing.TB, s Server) *fixture {
	return &fixture{TB: t, server: s, ledger: s.Open(t), channel: newChannel()}
}

// newChannel is one that no other test uses.
func newChannel() state.Channel {
	return state.Channel{Tunnel: rand.Text(), Channel: "channel"}
}

var (
	lane  = state.Lane{Trigger: "index", Index: 3}
	other = state.Lane{Trigger: "index", Index: 4}
)

// request claims the fixture's channel, version 1.
func (f *fixture) request(nonce string) state.AttachRequest {
	return state.AttachRequest{Channel: f.channel, Version: 1, Nonce: nonce, Layouts: map[string]string{"index": "8 lanes"}}
}

func (f *fixture) attach(nonce string) state.Attachment {
	f.Helper()
	return f.attached(f.request(nonce))
}

func (f *fixture) attached(q state.AttachRequest) state.Attachment {
	f.Helper()
	a, err := f.ledger.Attach(f.Context(), q)
	if err != nil {
		f.Fatalf("attach: %v", err)
	}
	for i := range a.Lanes {
		a.Lanes[i].Wait = hours(a.Lanes[i].Wait)
	}
	return a
}

// begin begins and returns the wait, to the hour.
func (f *fixture) begin(o state.Owner, l state.Lane, b state.Batch) time.Duration {
	f.Helper()
	began, err := f.ledger.Begin(f.Context(), o, l, b)
	if err != nil {
		f.Fatalf("begin %s: %v", b.ID, err)
	}
	return hours(began.Wait)
}

func (f *fixture) settle(o state.Owner, s state.Settlement) {
	f.Helper()
	if err := f.ledger.Settle(f.Context(), o, s); err != nil {
		f.Fatalf("settle %s: %v", s.BatchID, err)
	}
}

// settled settles a batch, answered, in lane.
func (f *fixture) settled(o state.Owner, b state.Batch) {
	f.Helper()
	f.settle(o, state.Settlement{Lane: lane, BatchID: b.ID, Last: b.Last})
}

func (f *fixture) release(o state.Owner, end bool) {
	f.Helper()
	if err := f.ledger.Release(f.Context(), o, end); err != nil {
		f.Fatalf("release: %v", err)
	}
}

// refused fails unless err is want.
func (f *fixture) refused(err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Fatalf("got error %v, want %v", err, want)
	}
}

func (f *fixture) equal(got, want any) {
	f.Helper()
	if d := cmp.Diff(want, got); d != "" {
		f.Fatalf("got + and want -:\n%s", d)
	}
}

// lanes is what the next owner finds.
func (f *fixture) lanes() []state.LaneState {
	f.Helper()
	return f.attach(rand.Text()).Lanes
}

// hours rounds a wait: the tests know deadlines to the hour.
func hours(d time.Duration) time.Duration { return d.Round(time.Hour) }

// batch is a batch of three records, with an hour to its deadline.
func batch(id string) state.Batch {
	return state.Batch{
		ID:      id,
		First:   state.Mark{Position: "00000001:0000000000000002:00000003", Fingerprint: 1<<64 - 1},
		Last:    state.Mark{Position: "last of " + id, Fingerprint: 5},
		Count:   3,
		Digest:  1 << 63,
		Attempt: 1,
		Timeout: time.Hour,
	}
}

// again is the batch's next attempt.
func again(b state.Batch) state.Batch {
	b.Attempt++
	return b
}
