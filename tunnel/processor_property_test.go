package tunnel_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
)

// However often the callback fails and however often processors are stopped,
// each change is settled once, and those of a key in their order.
func TestEveryChangeIsSettledOnceAndInOrderOverFailuresAndStops(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := processorPlan{
			partitions: rapid.IntRange(1, 4).Draw(rt, "partitions"),
			page:       rapid.IntRange(1, 8).Draw(rt, "page"),
			cfg: tunnel.ProcessorConfig{
				ReadAhead:          rapid.IntRange(-1, 3).Draw(rt, "read ahead"),
				ChannelsAtOnce:     rapid.IntRange(0, 3).Draw(rt, "channels at once"),
				CheckpointInterval: time.Duration(rapid.IntRange(10, 5000).Draw(rt, "checkpoint")) * time.Millisecond,
				Retry:              tunnel.Backoff{First: 100 * time.Millisecond, Max: time.Second},
				Expiry:             tunnel.ExpiryConfig{Interval: -1},
			},
			writes:  rapid.SliceOfN(rapid.IntRange(0, 9), 1, 80).Draw(rt, "writes"),
			answers: rapid.SliceOfN(rapid.IntRange(0, 3), 1, 30).Draw(rt, "answers"),
			stops:   rapid.SliceOfN(rapid.IntRange(0, 3000), 0, 3).Draw(rt, "stops"),
		}
		var failure string
		synctest.Test(t, func(t *testing.T) { failure = plan.run(t) })
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

type processorPlan struct {
	partitions, page int
	cfg              tunnel.ProcessorConfig
	writes           []int // the key of each
	answers          []int // of the callback, in turn, at first: 0 and 1 settle, the latter late; 2 and 3 fail
	stops            []int // milliseconds between clean restarts
}

func (p processorPlan) run(t *testing.T) string {
	s := newShop(t, emulator.Config{Partitions: p.partitions, PageRecords: p.page}, tunnel.Stream)
	h := newHistory()
	var mu sync.Mutex
	answers := p.answers
	h.before = func(ctx context.Context, _ *tunnel.Channel, _ []tunnel.DecodedRecord) error {
		mu.Lock()
		answer := 0
		if len(answers) > 0 {
			answer, answers = answers[0], answers[1:]
		}
		mu.Unlock()
		if answer%2 == 1 {
			time.Sleep(700 * time.Millisecond)
		}
		if answer >= 2 {
			return errCallback
		}
		return nil
	}
	want := make(map[string][]string)
	c := s.start(p.cfg, h.process)
	var writing sync.WaitGroup
	writing.Go(func() {
		for n, k := range p.writes {
			id := fmt.Sprint("order-", k)
			s.put(id, int64(n))
			want[id] = append(want[id], fmt.Sprint("PutRow ", n))
			time.Sleep(50 * time.Millisecond)
		}
	})
	for _, ms := range p.stops {
		time.Sleep(time.Duration(ms) * time.Millisecond)
		c.stop()
		c = s.start(p.cfg, h.process)
	}
	writing.Wait()
	time.Sleep(75 * time.Second)
	c.stop()
	if d := cmp.Diff(want, h.seen()); d != "" {
		return "records (-want +got):\n" + d
	}
	if held := c.processor.Stats().Held; held != 0 {
		return fmt.Sprintf("%d bytes are held in the end", held)
	}
	return ""
}
