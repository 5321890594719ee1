package ledgertest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/culvertio/culvert/state"
)

// losses is about a server that lost what it knew, and calls that end early.
var losses = map[string]func(*fixture){
	"a channel that the server lost is absent, not foreign": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		f.server.Flush(f)
		_, err := f.ledger.Begin(f.Context(), a, lane, batch("1"))
		f.refused(err, state.ErrAbsent)
		f.refused(f.ledger.Settle(f.Context(), a, state.Settlement{Lane: lane, BatchID: "1"}), state.ErrAbsent)
		f.refused(f.ledger.Trim(f.Context(), a, map[state.Lane]state.Mark{lane: {}}), state.ErrAbsent)
		f.refused(f.ledger.Release(f.Context(), a, false), state.ErrAbsent)
	},

	"an owner writes back what the server lost": func(f *fixture) {
		f.attach("z")
		a := f.attach("a").Owner
		f.server.Flush(f)
		mark, one, two := batch("0").Last, batch("1"), batch("2")
		q := f.request("a")
		q.Epoch = a.Epoch
		q.Restore = []state.LaneState{
			{Lane: lane, Watermark: &mark, InFlight: &one, Wait: time.Hour},
			{Lane: other, InFlight: &two, Former: true, Wait: 2 * time.Hour},
			{Lane: state.Lane{Trigger: "later"}, Wait: 2 * time.Hour},
		}
		want := state.Attachment{Owner: a, Lanes: q.Restore}
		f.equal(f.attached(q), want)
		f.equal(f.attached(q), want)

		// Its own batch goes on as if nothing had happened.
		_, err := f.ledger.Begin(f.Context(), a, lane, batch("3"))
		f.refused(err, state.ErrInFlight)
		f.settled(a, one)
		f.equal(f.begin(a, lane, batch("3")), time.Duration(0))
		// A former owner's makes room, after its time.
		f.equal(f.begin(a, other, batch("3")), 2*time.Hour)
		f.equal(f.begin(a, state.Lane{Trigger: "later"}, batch("3")), 2*time.Hour)
		// The epoch and the layouts go on from where they were.
		next := f.attach("b")
		f.equal(next.Owner.Epoch, a.Epoch+1)
		f.equal(next.Layouts, q.Layouts)
	},

	"who restores after another attached is foreign": func(f *fixture) {
		a := f.attach("a").Owner
		f.server.Flush(f)
		b := f.attach("b").Owner
		f.equal(b.Epoch, a.Epoch)
		f.fenced(a)
		f.release(b, false)
		f.fenced(a)
	},

	"a restore does not overwrite": func(f *fixture) {
		a := f.attach("a").Owner
		one := batch("1")
		f.begin(a, lane, one)
		q := f.request("a")
		q.Epoch = a.Epoch
		two := batch("2")
		q.Restore = []state.LaneState{{Lane: lane, InFlight: &two}}
		f.equal(f.attached(q).Lanes, []state.LaneState{{Lane: lane, InFlight: &one, Wait: one.Timeout}})
	},

	"a call whose context has ended is withdrawn": func(f *fixture) {
		a := f.attach("a").Owner
		ctx, cancel := context.WithCancel(f.Context())
		cancel()
		_, err := f.ledger.Attach(ctx, f.request("b"))
		f.refused(err, context.Canceled)
		if errors.Is(err, state.ErrUnavailable) {
			f.Errorf("%v says that the server cannot be reached", err)
		}
		_, err = f.ledger.Ping(ctx)
		f.refused(err, context.Canceled)
		f.begin(a, lane, batch("1"))
	},

	"a closed ledger is unavailable": func(f *fixture) {
		l := f.server.Open(f)
		for range 2 {
			if err := l.Close(); err != nil {
				f.Fatal(err)
			}
		}
		_, err := l.Attach(f.Context(), f.request("a"))
		f.refused(err, state.ErrUnavailable)
		if errors.Is(err, context.Canceled) {
			f.Errorf("%v says that the caller gave up", err)
		}
		_, err = l.Ping(f.Context())
		f.refused(err, state.ErrUnavailable)
	},

	"many callers at once are each answered": func(f *fixture) {
		a := f.attach("a").Owner
		var callers sync.WaitGroup
		for i := range 300 {
			callers.Go(func() {
				l, b := state.Lane{Trigger: "index", Index: i}, batch("1")
				if _, err := f.ledger.Begin(f.Context(), a, l, b); err != nil {
					f.Error(err)
				}
				if err := f.ledger.Settle(f.Context(), a, state.Settlement{Lane: l, BatchID: "1", Last: b.Last}); err != nil {
					f.Error(err)
				}
			})
		}
		callers.Wait()
		lanes := f.lanes()
		f.equal(len(lanes), 300)
		for _, l := range lanes {
			if l.InFlight != nil || *l.Watermark != batch("1").Last {
				f.Errorf("%+v", l)
			}
		}
	},
}

func forgottenScripts(f *fixture) {
	a := f.attach("a").Owner
	f.begin(a, lane, batch("1"))
	f.server.ForgetScripts(f)
	f.settled(a, batch("1"))
	f.server.ForgetScripts(f)
	var callers sync.WaitGroup
	for i := range 100 {
		callers.Go(func() {
			if _, err := f.ledger.Begin(f.Context(), a, state.Lane{Trigger: "index", Index: 10 + i}, batch("2")); err != nil {
				f.Error(err)
			}
		})
	}
	callers.Wait()
	f.equal(len(f.lanes()), 101)
}

func outage(f *fixture) {
	a := f.attach("a").Owner
	f.begin(a, lane, batch("1"))
	f.server.Stop(f)
	late := f.server.Open(f) // to open a ledger is no failure
	for _, l := range []state.Ledger{f.ledger, late} {
		err := l.Settle(f.Context(), a, state.Settlement{Lane: lane, BatchID: "1", Last: batch("1").Last})
		f.refused(err, state.ErrUnavailable)
		f.named(err)
		_, err = l.Ping(f.Context())
		f.refused(err, state.ErrUnavailable)
		f.named(err)
	}
	f.server.Start(f)
	for _, l := range []state.Ledger{f.ledger, late} {
		if _, err := l.Ping(f.Context()); err != nil {
			f.Error(err)
		}
		f.settled(a, batch("1"))
	}
	last := batch("1").Last
	f.equal(f.lanes(), []state.LaneState{{Lane: lane, Watermark: &last}})
}

// named fails unless the error names the server.
func (f *fixture) named(err error) {
	f.Helper()
	if !strings.Contains(err.Error(), f.server.Address) {
		f.Errorf("%q does not name the server %s", err, f.server.Address)
	}
}
