package main

import (
	"context"
	"sync"
	"time"

	"github.com/culvertio/culvert/dispatcher/invoke"
)

// attempts is a target that knows what is under way in it, and how the last
// attempt went.
type attempts struct {
	invoke.Target
	mu       sync.Mutex
	underWay map[*attempt]bool
	last     error // of the attempt that was answered last; nil: it brought an answer
}

// attempt is one that is under way.
type attempt struct {
	batch  string
	number int
	began  time.Time
}

// Invoke is the target's.
func (a *attempts) Invoke(ctx context.Context, in invoke.Invocation) invoke.Result {
	now := &attempt{in.BatchID, in.Attempt, time.Now()}
	a.mu.Lock()
	if a.underWay == nil {
		a.underWay = map[*attempt]bool{}
	}
	a.underWay[now] = true
	a.mu.Unlock()
	result := a.Target.Invoke(ctx, in)
	a.mu.Lock()
	delete(a.underWay, now)
	a.last = result.Err
	a.mu.Unlock()
	return result
}

// oldest is the attempt that is under way for longest, or nil, and the error
// of the attempt that was answered last.
func (a *attempts) oldest() (oldest *attempt, last error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for other := range a.underWay {
		if oldest == nil || other.began.Before(oldest.began) {
			oldest = other
		}
	}
	return oldest, a.last
}
