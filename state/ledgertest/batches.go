package ledgertest

import (
	"time"

	"github.com/culvertio/culvert/state"
)

// batches is about what a lane holds.
var batches = map[string]func(*fixture){
	"a batch in flight is found as it was begun": func(f *fixture) {
		a := f.attach("a").Owner
		b := batch("1")
		b.First = state.Mark{Position: " \x00\xff\r\n 7 ", Fingerprint: 0}
		b.Last = state.Mark{Position: "", Fingerprint: 1 << 63}
		b.Settled = []byte{0, 0x80, 0xff}
		f.begin(a, lane, b)
		f.equal(f.lanes(), []state.LaneState{{Lane: lane, InFlight: &b, Former: true, Wait: b.Timeout}})
	},

	"a trigger's name may hold anything": func(f *fixture) {
		a := f.attach("a").Owner
		b := batch("1")
		odd := state.Lane{Trigger: "a/b:c {d} %s ü", Index: 12}
		f.begin(a, odd, b)
		f.equal(f.lanes(), []state.LaneState{{Lane: odd, InFlight: &b, Former: true, Wait: b.Timeout}})
	},

	"settling moves the watermark and empties the lane": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		f.settled(a, batch("1"))
		f.begin(a, lane, batch("2"))
		f.settled(a, batch("2"))
		last := batch("2").Last
		f.equal(f.lanes(), []state.LaneState{{Lane: lane, Watermark: &last}})
	},

	"settling what is settled changes nothing": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		f.settled(a, batch("1"))
		f.begin(a, lane, batch("2"))
		f.settled(a, batch("1"))
		last, two := batch("1").Last, batch("2")
		f.equal(f.lanes(), []state.LaneState{{Lane: lane, Watermark: &last, InFlight: &two, Former: true, Wait: two.Timeout}})
	},

	"settling what was never begun changes nothing": func(f *fixture) {
		a := f.attach("a").Owner
		f.settled(a, batch("1"))
		f.equal(f.lanes(), []state.LaneState(nil))
	},

	"the next attempt replaces the one before": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		b := again(batch("1"))
		b.Timeout = 2 * time.Hour
		f.equal(f.begin(a, lane, b), time.Duration(0))
		f.equal(f.lanes(), []state.LaneState{{Lane: lane, InFlight: &b, Former: true, Wait: b.Timeout}})
	},

	"another batch is refused while one is in flight": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		_, err := f.ledger.Begin(f.Context(), a, lane, batch("2"))
		f.refused(err, state.ErrInFlight)
		f.begin(a, other, batch("2"))
		f.settled(a, batch("1"))
		f.begin(a, lane, batch("3"))
	},

	"a remainder takes the batch's place and leaves the watermark": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		f.settled(a, batch("1"))
		f.begin(a, lane, batch("2"))
		rest := batch("2")
		rest.ID, rest.Settled = "2-rest", []byte{0b101}
		s := state.Settlement{Lane: lane, BatchID: "2", Last: batch("2").Last, Remainder: &rest}
		f.settle(a, s)
		f.settle(a, s)
		last := batch("1").Last
		f.equal(f.lanes(), []state.LaneState{{Lane: lane, Watermark: &last, InFlight: &rest, Former: true, Wait: rest.Timeout}})
	},

	"a remainder is settled like any batch": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		rest := batch("rest")
		f.settle(a, state.Settlement{Lane: lane, BatchID: "1", Remainder: &rest})
		f.begin(a, lane, again(rest))
		f.settled(a, rest)
		f.equal(f.lanes(), []state.LaneState{{Lane: lane, Watermark: &rest.Last}})
	},

	"trimming forgets a watermark and leaves one that moved on": func(f *fixture) {
		a := f.attach("a").Owner
		for _, l := range []state.Lane{lane, other} {
			f.begin(a, l, batch("1"))
			f.settle(a, state.Settlement{Lane: l, BatchID: "1", Last: batch("1").Last})
		}
		f.begin(a, other, batch("2"))
		f.settle(a, state.Settlement{Lane: other, BatchID: "2", Last: batch("2").Last})
		covered := map[state.Lane]state.Mark{lane: batch("1").Last, other: batch("1").Last, {Trigger: "none"}: {}}
		for range 2 {
			if err := f.ledger.Trim(f.Context(), a, covered); err != nil {
				f.Fatal(err)
			}
		}
		last := batch("2").Last
		f.equal(f.lanes(), []state.LaneState{{Lane: other, Watermark: &last}})
	},

	"a watermark of the same position and another fingerprint is not trimmed": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		f.settled(a, batch("1"))
		mark := batch("1").Last
		mark.Fingerprint++
		if err := f.ledger.Trim(f.Context(), a, map[state.Lane]state.Mark{lane: mark}); err != nil {
			f.Fatal(err)
		}
		f.equal(len(f.lanes()), 1)
	},

	"thousands of lanes are restored, found and trimmed": func(f *fixture) {
		a := f.attach("a").Owner
		f.server.Flush(f)
		q := f.request("a")
		q.Epoch = a.Epoch
		covered := map[state.Lane]state.Mark{}
		for i := range 6000 {
			l := state.LaneState{Lane: state.Lane{Trigger: "index", Index: i}, Watermark: &state.Mark{Position: "p"}}
			q.Restore = append(q.Restore, l)
			covered[l.Lane] = *l.Watermark
		}
		f.equal(f.attached(q).Lanes, q.Restore)
		if err := f.ledger.Trim(f.Context(), a, covered); err != nil {
			f.Fatal(err)
		}
		f.equal(f.lanes(), []state.LaneState(nil))
	},

	"what makes no sense is refused": func(f *fixture) {
		a := f.attach("a").Owner
		for _, b := range []state.Batch{{}, {ID: "a b"}, {ID: "1", Attempt: -1}, {ID: "1", Timeout: -1}} {
			if _, err := f.ledger.Begin(f.Context(), a, lane, b); err == nil {
				f.Errorf("begun: %+v", b)
			}
			if err := f.ledger.Settle(f.Context(), a, state.Settlement{Lane: lane, BatchID: "0", Remainder: &b}); err == nil {
				f.Errorf("begun as a remainder: %+v", b)
			}
		}
		one := batch("1")
		if err := f.ledger.Settle(f.Context(), a, state.Settlement{Lane: lane, BatchID: "1", Remainder: &one}); err == nil {
			f.Error("a batch was its own remainder")
		}
		for _, nonce := range []string{"", "a b", "a\n"} {
			if _, err := f.ledger.Attach(f.Context(), f.request(nonce)); err == nil {
				f.Errorf("attached with the nonce %q", nonce)
			}
		}
		q := f.request("a")
		q.Version = -1
		if _, err := f.ledger.Attach(f.Context(), q); err == nil {
			f.Error("attached with a negative version")
		}
		q = f.request("a")
		q.Restore = []state.LaneState{}
		if _, err := f.ledger.Attach(f.Context(), q); err == nil {
			f.Error("restored under no epoch")
		}
	},
}
