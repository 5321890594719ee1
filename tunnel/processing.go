package tunnel

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// processing is the consumer of one run of a [Processor].
type processing struct {
	*Processor
	stop context.CancelFunc

	once    sync.Once
	expired error // why the run was stopped from within; read when all channels have ended
}

var _ Consumer = (*processing)(nil)

// Consume makes processing a [Consumer].
func (p *processing) Consume(ctx context.Context, ch *Channel) (End, error) {
	c := &consumption{
		p:    p.Processor,
		ch:   ch,
		view: ch.view(),
		log:  p.cfg.Logger.With("tunnel_id", ch.TunnelID(), "channel", ch.ID()),
	}
	p.keep(c, true)
	defer p.keep(c, false)
	if p.cfg.OnOpen != nil {
		p.cfg.OnOpen(c.view)
	}
	end, err := c.run(ctx)
	if errors.Is(err, CodeTunnelExpired) {
		p.once.Do(func() { p.expired = err })
		p.stop()
	}
	if p.cfg.OnEnd != nil {
		p.cfg.OnEnd(c.view, end)
	}
	return end, err
}

// keep has the processor know of a channel that is being consumed, or forget
// it.
func (p *Processor) keep(c *consumption, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if open {
		p.open[c] = struct{}{}
	} else {
		delete(p.open, c)
	}
}

// consumption is one channel being consumed. Its loop decides and commits;
// a goroutine reads and one calls the callback.
type consumption struct {
	p    *Processor
	ch   *Channel
	view *Channel
	log  *slog.Logger

	settled    string // the newest token that may be committed
	committed  string // the newest one that the service has
	committing bool
	refused    bool // the newest commit failed
	commits    chan tried
	working    sync.WaitGroup
	oldest     atomic.Int64 // when the first record that the callback works on was made, microseconds; 0: none, or base data
}

// tried is a commit and what came of it.
type tried struct {
	token string
	err   error
}

func (c *consumption) run(ctx context.Context) (End, error) {
	hard, cut := context.WithCancel(ctx)
	soft, stop := context.WithCancel(hard)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	watching.Go(func() {
		select {
		case <-c.ch.Draining():
			stop()
		case <-soft.Done():
		}
	})
	defer cut()

	token, err := c.checkpoint(soft)
	switch {
	case ctx.Err() != nil:
		return EndLost, ctx.Err()
	case soft.Err() != nil:
		return EndDrained, nil
	case err != nil:
		return EndLost, err
	}
	c.settled, c.committed = token, token

	cfg := &c.p.cfg
	ahead := max(cfg.ReadAhead, 0)
	window := newWindow(c.p.turns, ahead, cfg.ReadAheadBytes, &c.p.counts.held)
	reader := &pageReader{p: c.p, ch: c.ch, log: c.log, window: window, pages: make(chan decodedPage, ahead+1)}
	failed := make(chan error, 1)
	settled := make(chan string)
	c.commits = make(chan tried, 1)
	defer window.close()
	defer c.working.Wait()
	defer cut()
	c.working.Go(func() { failed <- reader.run(soft, token) })
	c.working.Go(func() {
		defer close(settled)
		c.work(soft, hard, window, reader.pages, settled)
	})

	drains := soft.Done()
	tick := time.NewTicker(cfg.CheckpointInterval)
	defer tick.Stop()
	for {
		if settled == nil && ctx.Err() == nil {
			if end, ok := c.ended(soft, hard); ok {
				return end, nil
			}
		}
		select {
		case token, ok := <-settled:
			if !ok {
				settled = nil
				c.refused = false // the last commit is tried, whatever became of earlier ones
				continue
			}
			c.settled = token
		case err := <-failed:
			if err != nil {
				return EndLost, err
			}
		case t := <-c.commits:
			if err := c.judge(t); err != nil {
				return EndLost, err
			}
		case <-drains:
			// The callback under way may outlast the drain limit: what is
			// settled shall not be repeated for it.
			drains = nil
			c.commit(hard)
		case <-tick.C:
			c.commit(hard)
		case <-ctx.Done():
			return EndLost, ctx.Err()
		}
	}
}

// hopeless says that err ends a channel for this client: another attempt
// would only meet it again.
func hopeless(err error) bool {
	return errors.Is(err, ErrTakenOver) || errors.Is(err, CodeTunnelExpired)
}

// checkpoint asks where to begin, for as long as that takes.
func (c *consumption) checkpoint(ctx context.Context) (string, error) {
	for n := 0; ; n++ {
		token, err := c.ch.GetCheckpoint(ctx)
		if err == nil || hopeless(err) || ctx.Err() != nil {
			return token, err
		}
		wait := readRetry.wait(n, rand.Float64())
		c.log.Error("the checkpoint could not be read and is asked for again; the channel waits", "wait", wait, "error", err)
		if err := sleep(ctx, wait); err != nil {
			return "", err
		}
	}
}

// work calls the callback for one page after the other, until all are settled
// or the channel drains.
func (c *consumption) work(soft, hard context.Context, window *window, pages <-chan decodedPage, settled chan<- string) {
	for page := range pages {
		if !c.settle(soft, hard, window, *page.records) {
			return
		}
		c.p.putBack(page.records)
		window.done(page.bytes)
		select {
		case settled <- page.token:
		case <-hard.Done():
			return
		}
	}
}

// settle calls the callback until it returns nil. It is false if the channel
// drains or ends before that.
func (c *consumption) settle(soft, hard context.Context, window *window, records []DecodedRecord) bool {
	if len(records) == 0 {
		return soft.Err() == nil
	}
	if first := &records[0]; first.HasSequence {
		c.oldest.Store(first.Sequence.Timestamp)
	}
	defer c.oldest.Store(0)
	for n := 0; soft.Err() == nil; n++ {
		err := c.p.process(hard, c.view, records)
		if err == nil {
			c.p.counts.settled.Add(int64(len(records)))
			return true
		}
		if hard.Err() != nil {
			return false
		}
		c.p.counts.failures.Add(1)
		wait := c.p.cfg.Retry.wait(n, rand.Float64())
		c.log.Warn("the callback failed and is called again with the same records; the channel waits",
			"records", len(records), "attempt", n+1, "wait", wait, "error", err)
		window.pause()
		if sleep(soft, wait) != nil || window.resume(soft) != nil {
			return false
		}
	}
	return false
}

// commit sends the newest token, unless it is there or one is on its way.
func (c *consumption) commit(ctx context.Context) {
	if c.committing || c.settled == c.committed {
		return
	}
	c.committing = true
	token := c.settled
	c.working.Go(func() { c.commits <- tried{token, c.ch.Commit(ctx, token)} })
}

// judge takes a commit's outcome. The error means that the channel is lost.
func (c *consumption) judge(t tried) error {
	c.committing = false
	c.refused = t.err != nil
	switch {
	case t.err == nil:
		c.committed = t.token
		c.p.counts.commits.Add(1)
		return nil
	case hopeless(t.err):
		return t.err
	}
	c.log.Error("the checkpoint was not committed and is tried again", "error", t.err)
	return nil
}

// ended says how the channel has ended on which nothing is at work any more,
// and has the last checkpoint committed first, without waiting for the
// interval.
func (c *consumption) ended(soft, hard context.Context) (End, bool) {
	if c.committing {
		return 0, false
	}
	if c.settled != c.committed && !c.refused {
		c.commit(hard)
		return 0, false
	}
	switch {
	case c.committed == Finished:
		return EndFinished, true
	case soft.Err() != nil:
		// After a commit that failed, a channel that drains is given back as
		// it is; one that was read to its end waits for the next interval.
		return EndDrained, true
	}
	return 0, false
}
