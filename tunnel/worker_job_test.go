package tunnel_test

import (
	stdcmp "cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/tunnel"
)

func open(id string, version int64) tunnel.HeartbeatChannel {
	return tunnel.HeartbeatChannel{ID: id, Version: version, Status: tunnel.StatusOpen}
}

func closing(id string, version int64) tunnel.HeartbeatChannel {
	return tunnel.HeartbeatChannel{ID: id, Version: version, Status: tunnel.StatusClosing}
}

func closed(id string, version int64) tunnel.HeartbeatChannel {
	return tunnel.HeartbeatChannel{ID: id, Version: version, Status: tunnel.StatusClose}
}

func terminated(id string, version int64) tunnel.HeartbeatChannel {
	return tunnel.HeartbeatChannel{ID: id, Version: version, Status: tunnel.StatusTerminated}
}

// consumer keeps a diary of its runs and sees to it that no channel has two at
// a time.
type consumer struct {
	t     *testing.T
	began time.Time
	// work is Consume, as a test wants it.
	work func(ctx context.Context, ch *tunnel.Channel) (tunnel.End, error)

	mu     sync.Mutex
	active map[string]bool
	diary  []entry
}

type entry struct {
	at   time.Duration
	text string
}

func newConsumer(t *testing.T, work func(ctx context.Context, ch *tunnel.Channel) (tunnel.End, error)) *consumer {
	return &consumer{t: t, began: time.Now(), work: work, active: make(map[string]bool)}
}

func (c *consumer) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.diary = append(c.diary, entry{time.Since(c.began), fmt.Sprintf(format, args...)})
}

func (c *consumer) notes() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	diary := slices.Clone(c.diary)
	// What happens at one instant has no order.
	slices.SortFunc(diary, func(a, b entry) int {
		return stdcmp.Or(stdcmp.Compare(a.at, b.at), strings.Compare(a.text, b.text))
	})
	var notes []string
	for _, e := range diary {
		notes = append(notes, fmt.Sprintf("%v %s", e.at, e.text))
	}
	return notes
}

func (c *consumer) Consume(ctx context.Context, ch *tunnel.Channel) (tunnel.End, error) {
	c.mu.Lock()
	if c.active[ch.ID()] {
		c.t.Errorf("channel %s has two runs", ch.ID())
	}
	c.active[ch.ID()] = true
	c.mu.Unlock()
	c.note("%s v%d begins", ch.ID(), ch.Version())

	end, err := c.work(ctx, ch)

	c.note("%s ends %v", ch.ID(), end)
	c.mu.Lock()
	c.active[ch.ID()] = false
	c.mu.Unlock()
	return end, err
}

// drains is a consumer's work that needs a while to drain.
func drains(d time.Duration) func(context.Context, *tunnel.Channel) (tunnel.End, error) {
	return func(ctx context.Context, ch *tunnel.Channel) (tunnel.End, error) {
		select {
		case <-ch.Draining():
		case <-ctx.Done():
			return tunnel.EndLost, ctx.Err()
		}
		select {
		case <-time.After(d):
			return tunnel.EndDrained, nil
		case <-ctx.Done():
			return tunnel.EndLost, ctx.Err()
		}
	}
}

// job is a worker at work.
type job struct {
	t      *testing.T
	stop   context.CancelFunc
	result chan error
}

func begin(t *testing.T, client *tunnel.Client, c tunnel.Consumer) *job {
	t.Helper()
	worker, err := tunnel.NewWorker(client, tunnel.WorkerConfig{
		TunnelID:  "t",
		ClientTag: "test",
		Logger:    slog.New(slog.DiscardHandler),
	}, c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	j := &job{t: t, stop: stop, result: make(chan error, 1)}
	go func() { j.result <- worker.Run(ctx) }()
	return j
}

// end stops the worker and waits for it.
func (j *job) end() {
	j.t.Helper()
	j.stop()
	if err := <-j.result; err != nil {
		j.t.Errorf("Run: %v", err)
	}
}

func times(calls []seen) []time.Duration {
	var at []time.Duration
	for _, c := range calls {
		at = append(at, c.At)
	}
	return at
}

func equal[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
