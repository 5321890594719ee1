package dispatcher

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/culvertio/culvert/dispatcher/internal/lane"
	"github.com/culvertio/culvert/dispatcher/internal/progress"
	"github.com/culvertio/culvert/state"
	"github.com/culvertio/culvert/tunnel"
)

// consume works on one channel until it ends: it attaches to the ledger, and
// then reads the checkpoint. In this order, since the former owner could
// commit and trim in between.
func (d *Dispatcher) consume(ctx context.Context, ch *tunnel.Channel) (tunnel.End, error) {
	log := d.log.With("channel", ch.ID(), "channel_version", ch.Version())
	counts := newChannelCounts(ch.ID())
	d.held.add(counts)
	defer d.held.remove(counts)
	soft, stop := whileNotDraining(ctx, ch)
	defer stop()

	request := state.AttachRequest{
		Channel: state.Channel{Tunnel: ch.TunnelID(), Channel: ch.ID()},
		Version: ch.Version(),
		Nonce:   d.nonce,
		Layouts: map[string]string{d.trigger.Name: d.trigger.layout()},
	}
	claim, left, err := attach(soft, d.parts.Ledger, request, d.rnd, log)
	if err != nil {
		return beforeStart(ctx, soft, err)
	}
	token, err := ch.GetCheckpoint(soft)
	if err != nil {
		claim.release(context.WithoutCancel(ctx), false)
		return beforeStart(ctx, soft, err)
	}
	if token == tunnel.Finished {
		return finish(ctx, soft, claim)
	}
	if err := d.outlast(soft, left, log); err != nil {
		claim.release(context.WithoutCancel(ctx), false)
		return beforeStart(ctx, soft, err)
	}
	c := &consumption{
		d:        d,
		ch:       ch,
		claim:    claim,
		log:      log,
		counts:   counts,
		lanes:    lane.NewSet[record](d.trigger.Parallel, d.trigger.limits()),
		reports:  make(chan report),
		last:     map[state.Lane]record{},
		commits:  make(chan commit, 1),
		draining: ch.Draining(),
	}
	counts.state.Store(Reading)
	end, err := c.run(ctx, soft, token)
	if end == tunnel.EndFinished {
		return finish(ctx, soft, claim)
	}
	return end, err
}

// finish ends a channel whose checkpoint is finished. Its children begin when
// that is reported, so it waits until no attempt of the channel can have an
// effect any more.
func finish(ctx, soft context.Context, claim *claim) (tunnel.End, error) {
	if owed := claim.owed(); owed > 0 && !sleep(soft, owed) {
		claim.release(context.WithoutCancel(ctx), false)
		return beforeStart(ctx, soft, ctx.Err())
	}
	claim.release(ctx, true)
	return tunnel.EndFinished, nil
}

// whileNotDraining returns a context that ends with ctx, or when the channel
// is to be drained.
func whileNotDraining(ctx context.Context, ch *tunnel.Channel) (soft context.Context, stop func()) {
	soft, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-ch.Draining():
			cancel()
		case <-soft.Done():
		}
	})
	return soft, func() {
		cancel()
		watch.Wait()
	}
}

// beforeStart says how a channel ends on which nothing has begun.
func beforeStart(ctx, soft context.Context, err error) (tunnel.End, error) {
	if ctx.Err() == nil && soft.Err() != nil {
		return tunnel.EndDrained, nil
	}
	return tunnel.EndLost, err
}

// outlast reports what the former owner left in flight, which is delivered
// again from the checkpoint. Under the same layout the ledger makes each lane
// wait for its own unanswered attempt; under another one a key may have moved
// to another lane, so that all of them wait here.
func (d *Dispatcher) outlast(ctx context.Context, left state.Attachment, log *slog.Logger) error {
	var inFlight int
	var wait time.Duration
	for _, l := range left.Lanes {
		if l.InFlight != nil {
			inFlight++
		}
		wait = max(wait, l.Wait)
	}
	if inFlight > 0 {
		log.Info("the former owner left batches in flight: they are delivered again", "batches", inFlight)
	}
	if len(left.Lanes) == 0 || left.Layouts[d.trigger.Name] == d.trigger.layout() {
		return nil
	}
	log.Info("the layout has changed: nothing begins until the former owner's attempts have ended",
		"from", left.Layouts, "to", d.trigger.layout(), "wait", wait)
	if !sleep(ctx, wait) {
		return ctx.Err()
	}
	return nil
}

// consumption is one channel being consumed. Its loop owns lanes and
// progress; the reader, the deliveries and the commit under way are
// goroutines that report to it, and that run waits for.
type consumption struct {
	d      *Dispatcher
	ch     *tunnel.Channel
	claim  *claim
	log    *slog.Logger
	counts *channelCounts

	lanes    *lane.Set[record]
	progress progress.Tracker
	last     map[state.Lane]record // the last record that each lane has settled
	finished bool                  // the last page has been read

	reports    chan report
	commits    chan commit
	committing bool
	committed  string          // the newest token of ours that the service has
	refused    bool            // the newest commit failed
	draining   <-chan struct{} // nil once the channel drains
	workers    sync.WaitGroup
}

// report is what a delivery says: which records have settled, and how it
// ended.
type report struct {
	lane    int
	settled []record
	ended   bool
	batch   []record // with ended: the batch as it was cut
	done    bool     // with ended: all of it is settled
	err     error    // the channel cannot go on
}

// commit is a checkpoint that was tried.
type commit struct {
	token   string
	covered map[state.Lane]state.Mark // the lanes that it leaves nothing of
	err     error
}

func (c *consumption) run(ctx, soft context.Context, token string) (tunnel.End, error) {
	hard, cancel := context.WithCancel(ctx)
	defer c.workers.Wait()
	defer cancel()
	reading, stopReading := context.WithCancel(soft)
	defer stopReading()

	reader := &reader{
		ch: c.ch, parallel: c.d.trigger.Parallel, log: c.log, rnd: c.d.rnd, counts: &c.d.counts,
		grants: make(chan struct{}), pages: make(chan pageRead),
	}
	failed := make(chan error, 1)
	c.workers.Go(func() { failed <- reader.run(reading, token) })

	commitTick := time.NewTicker(c.d.config.Checkpoint.Interval)
	defer commitTick.Stop()
	window := time.NewTimer(0)
	defer window.Stop()
	pages, granted := reader.pages, false
	for {
		full := c.progress.Held() >= c.d.share()
		c.beginDue(soft, hard, full)
		if end, ok := c.ended(hard); ok {
			return end, nil
		}
		c.arm(window)
		var grants chan<- struct{}
		if !granted && !full && pages != nil {
			grants = reader.grants
		}
		select {
		case grants <- struct{}{}:
			granted = true
		case page, ok := <-pages:
			if !ok {
				pages = nil
				continue
			}
			granted = false
			c.arrive(page)
		case err := <-failed:
			if err != nil {
				return tunnel.EndLost, err
			}
			failed = nil
		case r := <-c.reports:
			if err := c.settle(r); err != nil {
				return tunnel.EndLost, err
			}
		case done := <-c.commits:
			if err := c.judge(done); err != nil {
				return tunnel.EndLost, err
			}
		case <-commitTick.C:
			c.commit(hard)
		case <-window.C:
		case <-c.draining:
			c.draining = nil
			c.counts.state.Store(Draining)
			c.refused = false // the last commit is tried, whatever became of earlier ones
			stopReading()
			pages = nil // one under way stands behind what is forgotten now
			c.forget()
		case <-ctx.Done():
			c.logUnsettled()
			return tunnel.EndLost, ctx.Err()
		}
	}
}

// arm sets the timer for the next window that closes.
func (c *consumption) arm(window *time.Timer) {
	if at, ok := c.lanes.Wake(); ok {
		window.Reset(time.Until(at))
	} else {
		window.Stop()
	}
}

// arrive puts a page's records into their lanes.
func (c *consumption) arrive(page pageRead) {
	now := time.Now()
	n := c.progress.Add(page.token, len(page.records), int64(page.bytes), now)
	if c.finished = page.token == tunnel.Finished; c.finished {
		c.counts.state.Store(Ending)
	}
	c.counts.read.Add(int64(len(page.records)))
	c.noteOldest()
	for _, r := range page.records {
		r.page = n
		c.lanes.Push(r.lane, r, r.size(), now)
	}
}

// beginDue starts a delivery in every lane that is due. Windows are cut short
// when the channel drains, has come to its end, or may not read on before
// something settles.
func (c *consumption) beginDue(soft, hard context.Context, full bool) {
	flush := full || c.finished || c.draining == nil
	for {
		index, records, ok := c.lanes.Next(time.Now(), flush)
		if !ok {
			return
		}
		for _, r := range records {
			c.progress.Begin(r.page)
		}
		c.workers.Go(func() { c.deliver(soft, hard, index, records) })
	}
}

// deliver takes a batch to its settlement and reports what becomes of it.
func (c *consumption) deliver(soft, hard context.Context, index int, records []record) {
	c.counts.inFlight.Add(1)
	defer c.counts.inFlight.Add(-1)
	tell := func(r report) {
		r.lane = index
		select {
		case c.reports <- r:
		case <-hard.Done():
		}
	}
	d := &delivery{
		trigger: c.d.trigger,
		claim:   c.claim,
		channel: c.ch,
		lane:    state.Lane{Trigger: c.d.trigger.Name, Index: index},
		log:     c.log.With("trigger", c.d.trigger.Name, "lane", index),
		rnd:     c.d.rnd,
		counts:  &c.d.counts,
	}
	if err := d.encode(records); err != nil {
		tell(report{err: err})
		return
	}
	done, err := d.run(soft, hard, func(settled []record) { tell(report{settled: settled}) })
	tell(report{ended: true, done: done, batch: d.span, err: err})
}

// settle takes a delivery's report into progress and lanes. The error means
// that the channel cannot go on.
func (c *consumption) settle(r report) error {
	for _, record := range r.settled {
		if err := c.progress.Settle(record.page); err != nil {
			return err
		}
	}
	c.d.counts.settled.Add(int64(len(r.settled)))
	c.counts.settled.Add(int64(len(r.settled)))
	c.noteOldest()
	switch {
	case !r.ended:
	case r.done:
		last := r.batch[len(r.batch)-1]
		c.last[state.Lane{Trigger: c.d.trigger.Name, Index: r.lane}] = last
		c.lanes.Done(r.lane, len(r.batch))
	default:
		c.lanes.Abandon(r.lane)
	}
	return r.err
}

// forget drops what was read and not begun, so that a channel that drains has
// little to finish: whoever comes next reads it again. Pages of which a
// record has begun are finished, since a checkpoint stands between pages.
func (c *consumption) forget() {
	from := c.progress.Forget()
	c.lanes.Forget(func(r record) bool { return r.page >= from })
	c.finished = false
	c.noteOldest()
}

// commit sends the newest committable token, if there is one and none is on
// its way, and trims the ledger when it has arrived.
func (c *consumption) commit(ctx context.Context) {
	if c.committing {
		return
	}
	token, next, ok := c.progress.Take()
	if !ok {
		return
	}
	try := commit{token: token, covered: map[state.Lane]state.Mark{}}
	for lane, last := range c.last {
		if last.page < next {
			try.covered[lane] = last.mark
		}
	}
	c.committing = true
	c.workers.Go(func() {
		try.err = c.ch.Commit(ctx, token)
		if try.err == nil && len(try.covered) > 0 {
			try.err = c.claim.trim(ctx, try.covered)
		}
		c.commits <- try
	})
}

// judge takes a commit's outcome. The error means that the channel is lost.
func (c *consumption) judge(done commit) error {
	c.committing = false
	c.refused = done.err != nil
	switch {
	case done.err == nil:
		c.committed = done.token
		c.d.counts.commits.Add(1)
		maps.DeleteFunc(c.last, func(lane state.Lane, last record) bool { return done.covered[lane] == last.mark })
		return nil
	case errors.Is(done.err, tunnel.ErrTakenOver), errors.Is(done.err, state.ErrForeign):
		return done.err
	}
	c.log.Error("the checkpoint was not committed and is tried again", "error", done.err)
	c.progress.Return()
	return nil
}

// ended says whether the channel has come to its end, or is drained, and has
// the last checkpoint committed first, without waiting for the interval.
func (c *consumption) ended(ctx context.Context) (tunnel.End, bool) {
	read := c.finished && c.progress.Settled()
	drained := c.draining == nil && c.lanes.Stuck()
	if !read && !drained || c.committing {
		return 0, false
	}
	if read && c.committed == tunnel.Finished {
		return tunnel.EndFinished, true
	}
	if !c.refused {
		c.commit(ctx)
	}
	// After a commit that failed, a channel that drains is given back as it
	// is; one that was read to its end waits for the next interval.
	if c.committing || !drained {
		return 0, false
	}
	c.logUnsettled()
	c.claim.release(ctx, false)
	return tunnel.EndDrained, true
}

// logUnsettled says what is left behind by a channel that is given up.
func (c *consumption) logUnsettled() {
	if n := c.progress.Unsettled(); n > 0 {
		c.log.Warn("the channel is given up with records that are not settled: whoever has it next delivers them again", "records", n)
	}
}
