package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/culvertio/culvert/dispatcher/invoke"
	"github.com/culvertio/culvert/functions"
	"github.com/culvertio/culvert/tunnel/emulator"
)

// Whatever the function answers and however often the dispatcher is stopped,
// every change succeeds, and the changes of a key succeed in their order.
func TestNothingIsLostOrOutOfOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := planned{
			partitions: rapid.IntRange(1, 3).Draw(rt, "partitions"),
			page:       rapid.IntRange(1, 20).Draw(rt, "page"),
			parallel:   rapid.IntRange(1, 6).Draw(rt, "parallel"),
			records:    rapid.IntRange(1, 10).Draw(rt, "records"),
			window:     time.Duration(rapid.IntRange(0, 300).Draw(rt, "window")) * time.Millisecond,
			atOnce:     rapid.IntRange(1, 4).Draw(rt, "at once"),
			writes:     rapid.SliceOfN(rapid.IntRange(0, 9), 1, 120).Draw(rt, "writes"),
			answers:    rapid.SliceOfN(rapid.IntRange(0, 5), 1, 40).Draw(rt, "answers"),
			stops:      rapid.SliceOfN(rapid.IntRange(0, 2000), 0, 3).Draw(rt, "stops"),
		}
		var failure string
		synctest.Test(t, func(t *testing.T) { failure = plan.run(t) })
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

type planned struct {
	partitions, page, parallel, records, atOnce int
	window                                      time.Duration
	writes                                      []int // the key of each
	answers                                     []int // what the function does, in turn, at first
	stops                                       []int // milliseconds between clean restarts
}

func (p planned) run(t *testing.T) (failure string) {
	w := newWorld(t, emulator.Config{Partitions: p.partitions, PageRecords: p.page})
	trigger := &w.config.Triggers[0]
	trigger.Parallel, trigger.Batch.Records, trigger.Batch.Window, trigger.Limit.AtOnce = p.parallel, p.records, p.window, p.atOnce
	trigger.Retry.Max = time.Second
	w.function.behave = p.behave()

	last := map[string]int64{}
	due := map[string][]int64{} // the revisions of each key that a tunnel has to deliver
	write := func(keys []int) {
		for _, k := range keys {
			key := fmt.Sprint(k)
			last[key]++
			w.put(key, last[key])
			due[key] = append(due[key], last[key])
			<-time.After(10 * time.Millisecond)
		}
	}
	write(p.writes[:len(p.writes)/2])
	for key, revision := range last { // base data: the row as it is
		due[key] = []int64{revision}
	}
	d := w.start()
	w.until("the tunnel is there", func() bool { return d.Stats().Channels > 0 })
	write(p.writes[len(p.writes)/2:])
	for _, ms := range p.stops {
		<-time.After(time.Duration(ms) * time.Millisecond)
		d.drain()
		d = w.start()
	}
	wrong := func() string {
		for key, revisions := range due {
			if got := w.function.of(key); !slices.Equal(firsts(got), revisions) {
				return fmt.Sprintf("key %s succeeded as %v (of %v), want %v", key, firsts(got), got, revisions)
			}
		}
		return ""
	}
	for range 60_000 { // ten minutes, which no plan needs
		if wrong() == "" {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	d.drain()
	return wrong()
}

// behave answers as planned, and well when the plan is used up.
func (p planned) behave() func(context.Context, *functions.Event) invoke.Result {
	var turn atomic.Int64
	return func(_ context.Context, e *functions.Event) invoke.Result {
		<-time.After(20 * time.Millisecond)
		i := int(turn.Add(1)) - 1
		if i >= len(p.answers) {
			return invoke.Result{Class: invoke.Done}
		}
		switch p.answers[i] {
		case 0:
			return failed
		case 1:
			return invoke.Result{Class: invoke.Throttled, Err: errors.New("too many"), RetryAfter: time.Second}
		case 2:
			return invoke.Result{Class: invoke.MayHaveRun, Err: errors.New("cut")}
		case 3: // the record in the middle fails
			return invoke.Result{Class: invoke.Done, Answer: fmt.Appendf(nil, `{"batchItemFailures":[{"itemIdentifier":%q}]}`, e.Records[len(e.Records)/2].ID)}
		}
		return invoke.Result{Class: invoke.Done}
	}
}

// firsts drops what came before. A function that fails one record of a key
// answers success for those behind it, which does not count: they succeed
// again.
func firsts(revisions []int64) []int64 {
	var kept []int64
	for _, r := range slices.Backward(revisions) {
		if len(kept) == 0 || r < kept[len(kept)-1] {
			kept = append(kept, r)
		}
	}
	slices.Reverse(kept)
	return kept
}
