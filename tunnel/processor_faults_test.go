package tunnel_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
)

// Whatever the service does and whatever fails, the callbacks of two
// processors get every change, those of a key in their order but for what
// comes again, and each channel one page at a time. Once the trouble is over,
// all is delivered.
func TestOverFaultsOfAllKindsNothingIsLostAndKeysKeepTheirOrder(t *testing.T) {
	switches := []string{"early-heartbeats=ignored", "early-heartbeats=throttled"}
	for _, name := range emulator.SwitchNames() {
		if name != "early-heartbeats" {
			switches = append(switches, name)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		plan := faultPlan{
			seed:       rapid.Uint64().Draw(rt, "seed"),
			partitions: rapid.IntRange(1, 3).Draw(rt, "partitions"),
			page:       rapid.IntRange(1, 8).Draw(rt, "page"),
			kind:       rapid.SampledFrom([]tunnel.TunnelType{tunnel.Stream, tunnel.BaseAndStream}).Draw(rt, "type"),
			cfg: tunnel.ProcessorConfig{
				HeartbeatInterval:  6 * time.Second,
				HeartbeatTimeout:   30 * time.Second,
				HeartbeatGap:       3 * time.Second,
				DrainLimit:         time.Duration(rapid.IntRange(1, 15).Draw(rt, "drain limit")) * time.Second,
				ReadAhead:          rapid.IntRange(-1, 3).Draw(rt, "read ahead"),
				ChannelsAtOnce:     rapid.IntRange(0, 2).Draw(rt, "channels at once"),
				CheckpointInterval: time.Duration(rapid.IntRange(500, 20_000).Draw(rt, "checkpoint")) * time.Millisecond,
				Retry:              tunnel.Backoff{First: 100 * time.Millisecond, Max: time.Second},
				Expiry:             tunnel.ExpiryConfig{Interval: -1},
			},
			writes: rapid.IntRange(1, 120).Draw(rt, "writes"),
			stops:  rapid.SliceOfN(rapid.IntRange(1, 40), 0, 2).Draw(rt, "stops"),
		}
		var err error
		plan.switches, err = emulator.ParseSwitches(rapid.SliceOfDistinct(rapid.SampledFrom(switches), rapid.ID).Draw(rt, "switches")...)
		if err != nil {
			rt.Fatal(err)
		}
		var wrong []string
		synctest.Test(t, func(t *testing.T) { wrong = plan.run(t) })
		if len(wrong) > 0 {
			rt.Fatal(strings.Join(wrong, "\n"))
		}
	})
}

type faultPlan struct {
	seed             uint64
	partitions, page int
	kind             tunnel.TunnelType
	switches         emulator.Switches
	cfg              tunnel.ProcessorConfig
	writes           int
	stops            []int // seconds between clean restarts of the first processor
}

// run plays the plan and says what went wrong.
func (p faultPlan) run(t *testing.T) []string {
	s := newShop(t, emulator.Config{Partitions: p.partitions, PageRecords: p.page, Switches: p.switches}, p.kind)
	if err := s.emulator.SetFaults(emulator.RandomFaults(p.seed, false)); err != nil {
		t.Fatal(err)
	}
	w := &witness{seen: make(map[string]int64), random: rand.New(rand.NewPCG(p.seed, 1)), trouble: true}
	processors := []*consuming{s.start(p.cfg, w.callback()), s.start(p.cfg, w.callback())}

	want := make(map[string]int64)
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := range p.writes {
			id := fmt.Sprint("order-", n%7)
			want[id]++
			s.put(id, want[id])
			time.Sleep(300 * time.Millisecond)
		}
	})
	for _, seconds := range p.stops {
		time.Sleep(time.Duration(seconds) * time.Second)
		processors[0].stop()
		processors[0] = s.start(p.cfg, w.callback())
	}
	writing.Wait()
	time.Sleep(20 * time.Second)
	if err := s.emulator.SetFaults(emulator.Faults{}); err != nil {
		t.Fatal(err)
	}
	w.quiet()
	late := time.Now().Add(15 * time.Minute)
	for !w.has(want) && time.Now().Before(late) {
		time.Sleep(5 * time.Second)
	}
	for _, c := range processors {
		c.stop()
		if stats := c.processor.Stats(); stats.Held != 0 || stats.Channels != 0 {
			w.accuse("in the end: %+v", stats)
		}
	}
	if !w.has(want) {
		w.accuse("delivered %v, written %v", w.seen, want)
	}
	return w.wrong
}

// witness sees what the callbacks of all processors are given.
type witness struct {
	mu      sync.Mutex
	seen    map[string]int64 // by key, the newest of changes numbered from 1
	random  *rand.Rand
	trouble bool // callbacks fail and dawdle
	wrong   []string
}

func (w *witness) accuse(format string, args ...any) {
	if len(w.wrong) < 10 {
		w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
	}
}

// callback is that of one processor.
func (w *witness) callback() tunnel.Process {
	busy := make(map[string]bool) // channels
	return func(ctx context.Context, ch *tunnel.Channel, records []tunnel.DecodedRecord) error {
		w.mu.Lock()
		if busy[ch.ID()] {
			w.accuse("two callbacks of channel %s at a time", ch.ID())
		}
		busy[ch.ID()] = true
		chance, takes := w.random.IntN(10), time.Duration(w.random.IntN(3000))*time.Millisecond
		if !w.trouble {
			chance, takes = 0, 0
		}
		w.mu.Unlock()
		if chance == 9 {
			takes = time.Minute // beyond every drain limit
		}
		late := time.NewTimer(takes)
		defer late.Stop()
		var err error
		select {
		case <-late.C:
		case <-ctx.Done():
			err = ctx.Err()
		}

		w.mu.Lock()
		defer w.mu.Unlock()
		delete(busy, ch.ID())
		if err != nil || chance >= 7 {
			return errCallback
		}
		for i := range records {
			id, _ := records[i].KeyColumn("id")
			n, _ := records[i].Column("n")
			key := string(id.Bytes())
			// Base data has a row as it is when it is read.
			if n.Integer() > w.seen[key]+1 && !ch.IsBaseData() {
				w.accuse("of %s, change %d comes after %d", key, n.Integer(), w.seen[key])
			}
			w.seen[key] = max(w.seen[key], n.Integer())
		}
		return nil
	}
}

// quiet has callbacks settle at once.
func (w *witness) quiet() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trouble = false
}

// has says whether all changes have been seen.
func (w *witness) has(want map[string]int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, n := range want {
		if w.seen[key] != n {
			return false
		}
	}
	return true
}
