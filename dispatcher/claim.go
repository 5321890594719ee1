package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/culvertio/culvert/dispatcher/internal/retry"
	"github.com/culvertio/culvert/state"
)

// ledgerPolicy paces the calls to a ledger that cannot be reached.
var ledgerPolicy = retry.Policy{First: 50 * time.Millisecond, Max: 2 * time.Second}

// claim is this process's attachment of one channel to the ledger. Its calls
// block while the ledger cannot be reached, write the state back when the
// ledger has forgotten it, and fail only when their context ends, with
// state.ErrForeign, or with what only a fresh start mends.
type claim struct {
	ledger  state.Ledger
	log     *slog.Logger
	rnd     *rand.Rand
	request state.AttachRequest
	owner   state.Owner

	mu    sync.Mutex
	lanes map[state.Lane]laneNote
	// restored counts the write-backs, so that of many calls that are told
	// state.ErrAbsent at once only the first writes.
	restored int
}

// laneNote is what this owner knows the ledger to hold of a lane. Times are
// this machine's.
type laneNote struct {
	watermark *state.Mark
	inFlight  *state.Batch
	former    bool      // a former owner began inFlight
	deadline  time.Time // of inFlight's newest attempt, if this owner began it
	owed      time.Time // the latest deadline of an attempt that was not answered
}

// attach claims the channel; left is what the former owner left.
func attach(ctx context.Context, ledger state.Ledger, request state.AttachRequest, rnd *rand.Rand, log *slog.Logger) (*claim, state.Attachment, error) {
	c := &claim{ledger: ledger, log: log, rnd: rnd, request: request, lanes: map[state.Lane]laneNote{}}
	var left state.Attachment
	err := c.persist(ctx, "attach", func() (err error) {
		left, err = ledger.Attach(ctx, request)
		return err
	})
	if err != nil {
		return nil, left, err
	}
	c.owner = left.Owner
	for _, lane := range left.Lanes {
		c.lanes[lane.Lane] = laneNote{
			watermark: lane.Watermark,
			inFlight:  lane.InFlight,
			former:    lane.Former,
			owed:      time.Now().Add(lane.Wait),
		}
	}
	return c, left, nil
}

// begin notes that an attempt of b starts in lane, and returns how long to
// wait before it is sent.
func (c *claim) begin(ctx context.Context, lane state.Lane, b state.Batch) (time.Duration, error) {
	var began state.Began
	err := c.call(ctx, "begin", func() (err error) {
		began, err = c.ledger.Begin(ctx, c.owner, lane, b)
		return err
	})
	if err == nil {
		c.note(lane, func(n *laneNote) {
			// The same attempt may be begun twice; it is not its own elder.
			if b.Unanswered && n.inFlight != nil && n.inFlight.Attempt != b.Attempt {
				n.owe()
			}
			n.begin(&b)
		})
	}
	return began.Wait, err
}

// settle notes that the lane's batch in flight is settled, or that s.Remainder
// is what is left of it.
func (c *claim) settle(ctx context.Context, s state.Settlement) error {
	err := c.call(ctx, "settle", func() error { return c.ledger.Settle(ctx, c.owner, s) })
	if err == nil {
		c.note(s.Lane, func(n *laneNote) {
			if s.Remainder != nil {
				n.begin(s.Remainder)
			} else {
				n.inFlight, n.watermark = nil, &s.Last
			}
		})
	}
	return err
}

// trim forgets the watermarks that a committed checkpoint covers.
func (c *claim) trim(ctx context.Context, marks map[state.Lane]state.Mark) error {
	err := c.call(ctx, "trim", func() error { return c.ledger.Trim(ctx, c.owner, marks) })
	if err != nil {
		return err
	}
	for lane, mark := range marks {
		c.note(lane, func(n *laneNote) {
			if n.watermark != nil && *n.watermark == mark {
				n.watermark = nil
			}
		})
	}
	return nil
}

// release gives the channel up. It tries once: what it saves the next owner
// is a wait, and a ledger that has forgotten the channel has nothing to give.
func (c *claim) release(ctx context.Context, end bool) {
	err := c.ledger.Release(ctx, c.owner, end)
	if err != nil && !errors.Is(err, state.ErrAbsent) {
		c.log.Warn("the channel was not released in the ledger", "error", err)
	}
}

func (c *claim) note(lane state.Lane, change func(*laneNote)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.lanes[lane]
	change(&n)
	c.lanes[lane] = n
}

// begin notes that an attempt of b starts now.
func (n *laneNote) begin(b *state.Batch) {
	n.inFlight, n.former = b, false
	n.deadline = time.Now().Add(b.Timeout)
}

// owe notes that the newest attempt of inFlight was not answered.
func (n *laneNote) owe() {
	if n.deadline.After(n.owed) {
		n.owed = n.deadline
	}
}

// state is the note as the ledger is told of it. Where an attempt is owed,
// the batch in flight is made a former owner's: its next attempt then waits
// needlessly, but whatever follows it in the lane waits as it must.
func (n laneNote) state(lane state.Lane) state.LaneState {
	s := state.LaneState{Lane: lane, Watermark: n.watermark, InFlight: n.inFlight}
	s.Former = n.inFlight != nil && (n.former || time.Now().Before(n.owed))
	if n.inFlight != nil {
		n.owe()
	}
	s.Wait = max(0, time.Until(n.owed))
	return s
}

// owed is for how long an attempt that was not answered may still have an
// effect, whatever lane it was of.
func (c *claim) owed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	var longest time.Duration
	for _, n := range c.lanes {
		longest = max(longest, time.Until(n.owed))
	}
	return longest
}

// call makes an owner's call, writing the state back when the ledger has
// forgotten it.
func (c *claim) call(ctx context.Context, operation string, do func() error) error {
	for {
		c.mu.Lock()
		seen := c.restored
		c.mu.Unlock()
		err := c.persist(ctx, operation, do)
		if !errors.Is(err, state.ErrAbsent) {
			return err
		}
		if err := c.restore(ctx, seen); err != nil {
			return err
		}
	}
}

// restore writes the state back, unless that was done since seen.
func (c *claim) restore(ctx context.Context, seen int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.restored != seen {
		return nil
	}
	c.log.Warn("the ledger has forgotten the channel (flushed, or failed over): its state is written back from memory")
	request := c.request
	request.Epoch = c.owner.Epoch
	request.Restore = make([]state.LaneState, 0, len(c.lanes))
	for lane, n := range c.lanes {
		request.Restore = append(request.Restore, n.state(lane))
	}
	err := c.persist(ctx, "attach", func() error {
		_, err := c.ledger.Attach(ctx, request)
		return err
	})
	if err == nil {
		c.restored++
	}
	return err
}

// persist repeats do for as long as the ledger cannot be reached.
func (c *claim) persist(ctx context.Context, operation string, do func() error) error {
	for failures := 0; ; {
		err := do()
		if err == nil && failures > 0 {
			c.log.Info("the ledger is back", "operation", operation)
		}
		if err == nil || !errors.Is(err, state.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		if failures == 0 {
			c.log.Error("the ledger cannot be reached: nothing new begins until it is back", "operation", operation, "error", err)
		}
		failures++
		if !sleep(ctx, ledgerPolicy.Delay(failures, c.rnd)) {
			return fmt.Errorf("%s: %w", operation, ctx.Err())
		}
	}
}

// sleep waits for d, or until ctx ends, which it reports as false.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
