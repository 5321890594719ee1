package ledgertest

import (
	"maps"
	"strconv"

	"github.com/culvertio/culvert/state"
)

// owners is about who may do what to a channel.
var owners = map[string]func(*fixture){
	"the first owner finds nothing and has epoch 1": func(f *fixture) {
		f.equal(f.attach("a"), state.Attachment{Owner: state.Owner{Channel: f.channel, Nonce: "a", Epoch: 1}})
	},

	"each attachment has an epoch of its own": func(f *fixture) {
		f.attach("a")
		f.equal(f.attach("a").Owner.Epoch, int64(2))
		f.equal(f.attach("b").Owner.Epoch, int64(3))
	},

	"a fenced owner can do nothing": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		f.attach("b")
		f.fenced(a)
	},

	"an owner's own earlier epoch is fenced too": func(f *fixture) {
		first := f.attach("a").Owner
		f.attach("a")
		f.fenced(first)
	},

	"the right epoch with another nonce is foreign": func(f *fixture) {
		a := f.attach("a").Owner
		a.Nonce = "b"
		f.fenced(a)
	},

	"a lower channel version than the ledger knows is foreign": func(f *fixture) {
		for _, versions := range [][2]int64{{10, 9}, {2, 1}, {1 << 60, 1<<60 - 1}, {1 << 60, 99}} {
			f.channel = newChannel()
			q := f.request("a")
			q.Version = versions[0]
			a := f.attached(q).Owner
			q = f.request("b")
			q.Version = versions[1]
			_, err := f.ledger.Attach(f.Context(), q)
			f.refused(err, state.ErrForeign)
			f.begin(a, lane, batch("1"))
		}
	},

	"the same and a higher channel version attach": func(f *fixture) {
		for i, version := range []int64{0, 0, 9, 10, 1<<60 - 1, 1 << 60} {
			q := f.request("a" + strconv.Itoa(i))
			q.Version = version
			f.attached(q)
		}
	},

	"what an owner released is nobody's until the next attaches": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		f.release(a, false)
		_, err := f.ledger.Begin(f.Context(), a, lane, again(batch("1")))
		f.refused(err, state.ErrForeign)
		b := f.attach("b")
		f.equal(b.Owner.Epoch, int64(2))
		one := batch("1")
		f.equal(b.Lanes, []state.LaneState{{Lane: lane, InFlight: &one, Former: true, Wait: one.Timeout}})
		f.refused(f.ledger.Release(f.Context(), a, false), state.ErrForeign)
		f.refused(f.ledger.Release(f.Context(), a, true), state.ErrForeign)
	},

	"releasing again changes nothing": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		f.settled(a, batch("1"))
		f.release(a, false)
		f.release(a, false)
		last := batch("1").Last
		f.equal(f.lanes(), []state.LaneState{{Lane: lane, Watermark: &last}})
	},

	"a channel released at its end is forgotten": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		f.release(a, true)
		f.release(a, true)
		f.equal(f.attach("b"), state.Attachment{Owner: state.Owner{Channel: f.channel, Nonce: "b", Epoch: 2}})
	},

	"an earlier owner is foreign also after the channel's end": func(f *fixture) {
		a := f.attach("a").Owner
		b := f.attach("b").Owner
		f.release(b, true)
		f.fenced(a)
	},

	"channels do not know each other": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		f.channel.Channel = "another"
		f.equal(f.attach("a"), state.Attachment{Owner: state.Owner{Channel: f.channel, Nonce: "a", Epoch: 1}})
	},

	"layouts are as the former owner wrote them": func(f *fixture) {
		q := f.request("a")
		q.Layouts = map[string]string{"index": "8 lanes\nfilter: a == 'ä'", "copy": ""}
		former := maps.Clone(q.Layouts)
		f.attached(q)
		q.Layouts = map[string]string{"index": "4 lanes"}
		f.equal(f.attached(q).Layouts, former)
		f.equal(f.attached(q).Layouts, q.Layouts)
	},

	"a layout stays while one of its lanes holds something": func(f *fixture) {
		q := f.request("a")
		q.Layouts = map[string]string{"index": "old", "copy": "old"}
		a := f.attached(q).Owner
		f.begin(a, lane, batch("1"))

		q.Layouts = map[string]string{"index": "new", "copy": "new"}
		f.equal(f.attached(q).Layouts, map[string]string{"index": "old", "copy": "old"})
		a = f.attached(q).Owner
		f.settled(a, batch("1"))
		f.equal(f.attached(q).Layouts, map[string]string{"index": "old", "copy": "new"})

		a = f.attached(q).Owner
		if err := f.ledger.Trim(f.Context(), a, map[state.Lane]state.Mark{lane: batch("1").Last}); err != nil {
			f.Fatal(err)
		}
		f.equal(f.attached(q).Layouts, map[string]string{"index": "old", "copy": "new"})
		f.equal(f.attached(q).Layouts, map[string]string{"index": "new", "copy": "new"})
	},
}

// fenced fails unless every call of the owner is foreign.
func (f *fixture) fenced(o state.Owner) {
	f.Helper()
	b := batch("1")
	_, err := f.ledger.Begin(f.Context(), o, lane, b)
	f.refused(err, state.ErrForeign)
	f.refused(f.ledger.Settle(f.Context(), o, state.Settlement{Lane: lane, BatchID: b.ID, Last: b.Last}), state.ErrForeign)
	f.refused(f.ledger.Trim(f.Context(), o, map[state.Lane]state.Mark{lane: b.Last}), state.ErrForeign)
	f.refused(f.ledger.Release(f.Context(), o, false), state.ErrForeign)
	f.refused(f.ledger.Release(f.Context(), o, true), state.ErrForeign)
	q := f.request(o.Nonce)
	q.Restore, q.Epoch = []state.LaneState{}, o.Epoch
	_, err = f.ledger.Attach(f.Context(), q)
	f.refused(err, state.ErrForeign)
}
