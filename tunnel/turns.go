package tunnel

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// turns bounds how many channels are at work at a time. They take turns in
// the order in which they asked. A nil turns knows no bound.
type turns struct {
	free    *semaphore.Weighted
	waiting atomic.Int64
}

// newTurns lets n channels work at a time; 0: all.
func newTurns(n int) *turns {
	if n == 0 {
		return nil
	}
	return &turns{free: semaphore.NewWeighted(int64(n))}
}

// take waits for a turn, or returns the context's error.
func (t *turns) take(ctx context.Context) error {
	if t == nil {
		return ctx.Err()
	}
	if t.free.TryAcquire(1) {
		return nil
	}
	t.waiting.Add(1)
	defer t.waiting.Add(-1)
	return t.free.Acquire(ctx, 1)
}

func (t *turns) giveBack() {
	if t != nil {
		t.free.Release(1)
	}
}

// wanted says whether a channel waits for a turn.
func (t *turns) wanted() bool { return t != nil && t.waiting.Load() > 0 }
