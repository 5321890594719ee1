package state_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/culvertio/culvert/state"
)

// gate holds up groups on their way to the server, and counts their calls.
type gate struct {
	mu     sync.Mutex
	groups []int
	open   chan struct{} // a round trip takes one from it; nil: none has to
}

func (g *gate) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return next(ctx, network, address)
	}
}

func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		g.mu.Lock()
		g.groups = append(g.groups, len(cmds))
		open := g.open
		g.mu.Unlock()
		if open != nil {
			<-open
		}
		return next(ctx, cmds)
	}
}

// shut makes the next round trips wait, and forgets those before.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.groups, g.open = nil, make(chan struct{})
}

func (g *gate) seen() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.groups
}

// gated is an embedded ledger behind a gate, and an owner on it.
func gated(t *testing.T) (*state.Redis, *gate, state.Owner) {
	r, err := state.OpenEmbedded(nil)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{}
	r.AddHook(g)
	a, err := r.Attach(t.Context(), state.AttachRequest{Channel: state.Channel{Tunnel: "t", Channel: "c"}, Nonce: "n"})
	if err != nil {
		t.Fatal(err)
	}
	g.shut()
	return r, g, a.Owner
}

func TestCallersThatWaitShareARoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, g, o := gated(t)
		defer r.Close()
		var callers sync.WaitGroup
		begin := func(i int) {
			callers.Go(func() {
				if _, err := r.Begin(t.Context(), o, state.Lane{Trigger: "x", Index: i}, state.Batch{ID: "1"}); err != nil {
					t.Error(err)
				}
			})
		}
		begin(0)
		synctest.Wait() // under way
		for i := range 2500 {
			begin(i + 1)
		}
		synctest.Wait() // waiting
		close(g.open)
		callers.Wait()
		if d := cmp.Diff([]int{1, 1000, 1000, 500}, g.seen()); d != "" {
			t.Errorf("calls in each round trip, got + and want -:\n%s", d)
		}
	})
}

func TestCallsKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, g, o := gated(t)
		defer r.Close()
		var callers sync.WaitGroup
		lane := state.Lane{Trigger: "x"}
		for i := range 20 {
			id := strconv.Itoa(i)
			callers.Go(func() {
				if _, err := r.Begin(t.Context(), o, lane, state.Batch{ID: id}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			callers.Go(func() {
				if err := r.Settle(t.Context(), o, state.Settlement{Lane: lane, BatchID: id}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		close(g.open)
		callers.Wait()
		if d := cmp.Diff([]int{1, 39}, g.seen()); d != "" {
			t.Errorf("calls in each round trip, got + and want -:\n%s", d)
		}
	})
}

func TestACallerThatLeavesIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, g, o := gated(t)
		defer r.Close()
		answers := make(chan error, 3)
		begin := func(ctx context.Context, i int) {
			_, err := r.Begin(ctx, o, state.Lane{Trigger: "x", Index: i}, state.Batch{ID: "1"})
			answers <- err
		}
		sent, leaveSent := context.WithCancel(t.Context())
		go begin(sent, 1)
		synctest.Wait()
		waiting, leaveWaiting := context.WithTimeout(t.Context(), time.Second)
		defer leaveWaiting()
		go begin(waiting, 2)
		go begin(t.Context(), 3)
		synctest.Wait()

		leaveSent()
		if err := <-answers; !errors.Is(err, context.Canceled) || errors.Is(err, state.ErrUnavailable) {
			t.Errorf("the caller that was sent got %v", err)
		}
		if err := <-answers; !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, state.ErrUnavailable) {
			t.Errorf("the caller that waited got %v", err)
		}
		close(g.open)
		if err := <-answers; err != nil {
			t.Errorf("the caller that stayed got %v", err)
		}
		a, err := r.Attach(t.Context(), state.AttachRequest{Channel: o.Channel, Nonce: "n"})
		if err != nil {
			t.Fatal(err)
		}
		var begun []int
		for _, l := range a.Lanes {
			begun = append(begun, l.Lane.Index)
		}
		// What was sent was done; what was not was withdrawn.
		if d := cmp.Diff([]int{1, 3}, begun); d != "" {
			t.Errorf("lanes begun, got + and want -:\n%s", d)
		}
	})
}

func TestClosingEndsTheCallsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, g, o := gated(t)
		answers := make(chan error, 10)
		for i := range cap(answers) {
			go func() {
				_, err := r.Begin(t.Context(), o, state.Lane{Trigger: "x", Index: i}, state.Batch{ID: "1"})
				answers <- err
			}()
		}
		synctest.Wait()
		closed := make(chan error)
		go func() { closed <- r.Close() }()
		synctest.Wait()
		close(g.open)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		for range cap(answers) {
			if err := <-answers; !errors.Is(err, state.ErrUnavailable) || errors.Is(err, context.Canceled) {
				t.Errorf("a call under way got %v", err)
			}
		}
	})
}
