package dispatcher_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel/emulator"
)

// Whatever the service does where nobody knows what it does, and whatever goes
// wrong on the way to it and in the function: every change has its effect, no
// key is ever in two batches at once, none of its changes is left out, and once
// nothing goes wrong any more, all of it is committed.
func TestUnderEverySwitchAndFaultNothingIsLostOrOutOfOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := troubled{
			partitions: rapid.IntRange(1, 3).Draw(rt, "partitions"),
			parallel:   rapid.IntRange(1, 4).Draw(rt, "parallel"),
			records:    rapid.IntRange(1, 10).Draw(rt, "records"),
			switches:   drawSwitches(rt),
			seed:       rapid.Uint64().Draw(rt, "seed"),
			often:      rapid.IntRange(1, 20).Draw(rt, "often"),
			without:    rapid.SliceOfDistinct(rapid.SampledFrom(mixedKinds()), rapid.ID).Draw(rt, "without"),
			writes:     rapid.SliceOfN(rapid.IntRange(0, 7), 10, 50).Draw(rt, "writes"),
			gap:        time.Duration(rapid.IntRange(0, 20).Draw(rt, "gap")) * 10 * time.Millisecond,
			second:     rapid.IntRange(0, 25).Draw(rt, "second"),
		}
		var failure string
		synctest.Test(t, func(t *testing.T) { failure = plan.run(t) })
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

// troubled is a run in which the service makes trouble, and the function a
// little.
type troubled struct {
	partitions, parallel, records int
	switches                      emulator.Switches
	seed                          uint64
	often                         int                  // by what the rates of the seed's mix are multiplied
	without                       []emulator.FaultKind // what is left out of it
	writes                        []int                // the key of each
	gap                           time.Duration        // between writes
	second                        int                  // the write at which a second dispatcher comes, if there are so many
}

func (p troubled) faults() emulator.Faults {
	f := emulator.RandomFaults(p.seed, false)
	f.Rules = slices.DeleteFunc(f.Rules, func(r emulator.Fault) bool { return slices.Contains(p.without, r.Kind) })
	for i := range f.Rules {
		f.Rules[i].Rate = min(0.5, f.Rules[i].Rate*float64(p.often))
	}
	return f
}

func (p troubled) run(t *testing.T) (failure string) {
	w := newWorld(t, emulator.Config{Partitions: p.partitions, PageRecords: 7, Switches: p.switches})
	trigger := &w.config.Triggers[0]
	trigger.Parallel, trigger.Batch.Records = p.parallel, p.records
	trigger.Timeout, trigger.Retry.Max = time.Second, time.Second
	stubborn := &stubborn{t: t, working: map[*work]bool{}, effects: map[string][]int64{}}
	w.function.behave = stubborn.behave

	first, last := map[string]int64{}, map[string]int64{} // of each key, the revisions that a tunnel has to deliver
	write := func(k int) {
		key := fmt.Sprint(k)
		last[key]++
		w.put(key, last[key])
		if first[key] == 0 {
			first[key] = last[key]
		}
	}
	half := len(p.writes) / 2
	for _, k := range p.writes[:half] {
		write(k)
	}
	maps.Copy(first, last) // base data: the row as it is
	one := w.start()
	w.until("the tunnel is there", func() bool { return len(w.emulator.State().Tunnels) == 1 })
	if err := w.emulator.SetFaults(p.faults()); err != nil {
		t.Fatal(err)
	}
	var two *running
	for i, k := range p.writes[half:] {
		write(k)
		if i == p.second {
			two = w.start()
		}
		<-time.After(p.gap)
	}
	<-time.After(5 * time.Second)
	if err := w.emulator.SetFaults(emulator.Faults{}); err != nil {
		t.Fatal(err)
	}

	wrong := func() string {
		for key := range last {
			if says := inOrder(stubborn.of(key), first[key], last[key], !p.switches.ForeignCheckpoint); says != "" {
				return fmt.Sprintf("key %s: %s", key, says)
			}
		}
		n, err := w.emulator.Remaining("orders", "orders-feed")
		if err != nil || n > 0 {
			return fmt.Sprintf("%d records are not committed, %v", n, err)
		}
		return ""
	}
	for range 600 { // ten minutes, which no plan needs
		if wrong() == "" {
			break
		}
		<-time.After(time.Second)
	}
	<-time.After(5 * time.Second) // what nobody waits for has its effect too
	if failure = wrong(); failure != "" {
		state, err := json.MarshalIndent(w.emulator.State().Tunnels, "", "  ")
		failure = fmt.Sprintf("after ten minutes without faults: %s\n%s %v", failure, state, err)
	}
	one.drain()
	if two != nil {
		two.drain()
	}
	return failure
}

// of is the effects on a key, in their order.
func (s *stubborn) of(key string) []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.effects[key])
}

// inOrder says what is wrong with the effects on a key whose revisions from
// first to last were to be delivered. They may begin again from an earlier one
// at any time, and then come to the last again.
//
// Where the service takes the checkpoint of a client that has lost the channel,
// its next owner may be cut short while it repeats what that one has settled:
// it goes on behind the checkpoint, so that the last effect is a repeat's.
func inOrder(effects []int64, first, last int64, repeatsToTheEnd bool) string {
	newest := first - 1
	for _, revision := range effects {
		if revision < first || revision > newest+1 {
			return fmt.Sprintf("revision %d came without the one before it: %v", revision, effects)
		}
		newest = max(newest, revision)
	}
	if newest != last || repeatsToTheEnd && effects[len(effects)-1] != last {
		return fmt.Sprintf("the last effect must be of revision %d: %v", last, effects)
	}
	return ""
}

// mixedKinds are the kinds of faults that a mix has.
func mixedKinds() []emulator.FaultKind {
	var kinds []emulator.FaultKind
	for _, r := range emulator.RandomFaults(0, false).Rules {
		if !slices.Contains(kinds, r.Kind) {
			kinds = append(kinds, r.Kind)
		}
	}
	return kinds
}

// drawSwitches draws a setting of every switch.
func drawSwitches(rt *rapid.T) emulator.Switches {
	var on []string
	for _, name := range emulator.SwitchNames() {
		if name == "early-heartbeats" {
			on = append(on, name+"="+rapid.SampledFrom([]string{"taken", "ignored", "throttled"}).Draw(rt, name))
		} else if rapid.Bool().Draw(rt, name) {
			on = append(on, name)
		}
	}
	s, err := emulator.ParseSwitches(on...)
	if err != nil {
		rt.Fatal(err)
	}
	return s
}
