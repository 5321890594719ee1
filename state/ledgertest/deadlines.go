package ledgertest

import (
	"time"

	"github.com/culvertio/culvert/state"
)

// deadlines is about how long a lane's next batch has to wait for attempts
// that nobody answered.
var deadlines = map[string]func(*fixture){
	"after an answer the next batch need not wait": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		f.begin(a, lane, again(batch("1")))
		f.settled(a, batch("1"))
		f.equal(f.begin(a, lane, batch("2")), time.Duration(0))
	},

	"the next batch waits for an attempt that was given up unanswered": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		f.settle(a, state.Settlement{Lane: lane, BatchID: "1", Unanswered: true})
		f.equal(f.begin(a, lane, batch("2")), time.Hour)
		// So does every later one, until the deadline has passed.
		f.settled(a, batch("2"))
		f.equal(f.begin(a, lane, batch("3")), time.Hour)
		f.equal(f.begin(a, other, batch("3")), time.Duration(0))
	},

	"the next batch waits for an unanswered attempt though a later one was answered": func(f *fixture) {
		a := f.attach("a").Owner
		first := batch("1")
		first.Timeout = 2 * time.Hour
		f.begin(a, lane, first)
		second := again(batch("1"))
		second.Unanswered = true
		f.equal(f.begin(a, lane, second), time.Duration(0))
		f.begin(a, lane, again(again(batch("1"))))
		f.settled(a, batch("1"))
		f.equal(f.begin(a, lane, batch("2")), 2*time.Hour)
	},

	"the next batch after a remainder waits for what its batch left unanswered": func(f *fixture) {
		a := f.attach("a").Owner
		first := batch("1")
		first.Timeout = 2 * time.Hour
		f.begin(a, lane, first)
		second := again(batch("1"))
		second.Unanswered = true
		f.begin(a, lane, second)
		rest := batch("rest")
		f.settle(a, state.Settlement{Lane: lane, BatchID: "1", Remainder: &rest})
		f.equal(f.begin(a, lane, again(rest)), time.Duration(0))
		f.settled(a, rest)
		f.equal(f.begin(a, lane, batch("2")), 2*time.Hour)
	},

	"a deadline that has passed holds up nothing": func(f *fixture) {
		a := f.attach("a").Owner
		b := batch("1")
		b.Timeout = 0
		f.begin(a, lane, b)
		f.settle(a, state.Settlement{Lane: lane, BatchID: "1", Unanswered: true})
		f.equal(f.begin(a, lane, batch("2")), time.Duration(0))
	},

	"a new owner begins the batch that it found without waiting": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		b := f.attach("b").Owner
		f.equal(f.begin(b, lane, again(batch("1"))), time.Duration(0))
		// Its next batch waits: the former owner's attempt may still run.
		f.settled(b, batch("1"))
		f.equal(f.begin(b, lane, batch("2")), time.Hour)
	},

	"a new owner that begins another batch waits for the one it found": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		b := f.attach("b").Owner
		short := batch("2")
		short.Timeout = 0
		f.equal(f.begin(b, lane, short), time.Hour)
		// A later owner still has to.
		found := f.attach("c")
		f.equal(found.Lanes, []state.LaneState{{Lane: lane, InFlight: &short, Former: true, Wait: time.Hour}})
		f.equal(f.begin(found.Owner, lane, batch("3")), time.Hour)
	},

	"the latest of several deadlines counts": func(f *fixture) {
		for _, timeouts := range [][2]time.Duration{{time.Hour, 2 * time.Hour}, {2 * time.Hour, time.Hour}} {
			f.channel = newChannel()
			for i, nonce := range []string{"a", "b"} {
				b := batch(nonce)
				b.Timeout = timeouts[i]
				f.begin(f.attach(nonce).Owner, lane, b)
			}
			c := f.attach("c").Owner
			f.equal(f.begin(c, lane, batch("c")), 2*time.Hour)
		}
	},

	"a release leaves the deadlines of what was not answered": func(f *fixture) {
		a := f.attach("a").Owner
		f.begin(a, lane, batch("1"))
		f.settle(a, state.Settlement{Lane: lane, BatchID: "1", Last: batch("1").Last, Unanswered: true})
		f.begin(a, other, batch("1"))
		f.settle(a, state.Settlement{Lane: other, BatchID: "1", Last: batch("1").Last})
		f.release(a, false)
		last := batch("1").Last
		f.equal(f.lanes(), []state.LaneState{{Lane: lane, Watermark: &last, Wait: time.Hour}, {Lane: other, Watermark: &last}})
	},
}
