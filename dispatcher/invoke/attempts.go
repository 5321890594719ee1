package invoke

import (
	"context"
	"errors"
	"sync"
)

// ErrClosed says that a target was asked to invoke after it had been closed.
var ErrClosed = errors.New("the target is closed")

// attempts counts those under way, so that closing can wait for them. Its
// zero value is ready for use.
type attempts struct {
	mu     sync.Mutex
	n      int
	closed bool
	none   chan struct{} // made by close; closed when closed and n is 0
}

// begin reports whether an attempt may begin; if so, end must follow.
func (a *attempts) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	a.n++
	return true
}

func (a *attempts) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n--
	if a.closed && a.n == 0 {
		close(a.none)
	}
}

// close lets nothing more begin and waits for what is under way. When ctx
// ends first it calls abort, which must make every attempt return, and
// waits on; the error is then the context's.
func (a *attempts) close(ctx context.Context, abort func()) error {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		a.none = make(chan struct{})
		if a.n == 0 {
			close(a.none)
		}
	}
	a.mu.Unlock()
	select {
	case <-a.none:
		return nil
	case <-ctx.Done():
		abort()
		<-a.none
		return context.Cause(ctx)
	}
}
