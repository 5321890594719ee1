package tunnel

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Process is the callback of a [Processor]. It gets the records of one page,
// in the order of the channel's log, at least one, and returns nil when all
// of them are settled. Any other answer has it called again with the same
// records, after a wait, for ever: a record that can never succeed must be
// put aside by the callback itself.
//
// It is called for one page of a channel after the other, for many channels
// at once. ctx ends when the channel belongs to somebody else, or when a stop
// takes longer than DrainLimit; what is returned then no longer matters.
// ch.Draining tells of a stop before that. Of ch, only the methods that tell
// of it may be used: its calls fail.
//
// records, and all slices in them, belong to the processor: they must not be
// changed, and are used again once the callback has returned. The bytes that
// names, strings and blobs point to are not: they, and
// [DecodedRecord.Record], may be kept.
//
// A panic is not caught: it ends the program, and what was not committed
// comes again.
type Process func(ctx context.Context, ch *Channel, records []DecodedRecord) error

// Processor consumes a tunnel with a callback: it reads ahead, decodes,
// calls, and commits. A channel's checkpoint never passes a record for which
// the callback has not returned nil. A callback that fails is called again in
// its place and holds up its channel alone.
type Processor struct {
	client  *Client
	cfg     ProcessorConfig
	process Process
	turns   *turns
	slabs   sync.Pool // of *[]DecodedRecord
	busy    atomic.Bool
	counts  processorCounts
	expiry  atomic.Pointer[Expiry]

	mu   sync.Mutex // guards open; nothing blocks while it is held
	open map[*consumption]struct{}
}

// NewProcessor returns a processor that has not begun. The error names every
// mistake in the configuration.
func NewProcessor(client *Client, cfg ProcessorConfig, process Process) (*Processor, error) {
	cfg = cfg.withDefaults()
	err := cfg.validate()
	if client == nil {
		err = errors.Join(err, errors.New("client: missing"))
	}
	if process == nil {
		err = errors.Join(err, errors.New("process: missing"))
	}
	if err != nil {
		return nil, fmt.Errorf("tunnel processor: %w", err)
	}
	return &Processor{client: client, cfg: cfg, process: process, turns: newTurns(cfg.ChannelsAtOnce), open: make(map[*consumption]struct{})}, nil
}

// Run consumes the tunnel until ctx ends or the service refuses for good.
// Every callback that it began has returned when it returns.
//
// When ctx ends, Run stops softly: callbacks under way are finished, what
// they settled is committed, the channels are given back, and Run returns
// nil. It returns an error that is [Fatal] as [Worker.Run] does, and besides
// when a read says [CodeTunnelExpired], whatever the heartbeats are told. Any other failure is tried again.
//
// Run may be called again after it has returned, but not before.
func (p *Processor) Run(ctx context.Context) error {
	if !p.busy.CompareAndSwap(false, true) {
		return errors.New("tunnel processor: it is running already")
	}
	defer p.busy.Store(false)

	id, err := p.tunnelID(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	r := &processing{Processor: p, stop: stop}
	worker, err := NewWorker(p.client, p.cfg.worker(id), r)
	if err != nil {
		return err
	}
	if watch := p.watch(); watch != nil {
		watching.Go(func() { watch.Run(ctx) })
	}
	if err := worker.Run(ctx); err != nil {
		return err
	}
	if r.expired != nil {
		return fmt.Errorf("tunnel processor: %w", r.expired)
	}
	return nil
}

// tunnelID looks the id up if it was not given, as long as ctx lets it.
func (p *Processor) tunnelID(ctx context.Context) (string, error) {
	if p.cfg.TunnelID != "" {
		return p.cfg.TunnelID, nil
	}
	longest := p.cfg.worker("").ReconnectMax
	for {
		resp, err := p.client.DescribeTunnel(ctx, DescribeTunnelRequest{Table: p.cfg.Table, Tunnel: p.cfg.Tunnel})
		switch {
		case err == nil:
			return resp.Tunnel.ID, nil
		case ctx.Err() != nil:
			return "", nil
		case Fatal(err):
			return "", fmt.Errorf("tunnel processor: look for tunnel %q of table %q: %w", p.cfg.Tunnel, p.cfg.Table, err)
		}
		wait := rand.N(longest) + 1
		p.cfg.Logger.Warn("the tunnel could not be looked up and is looked up again", "table", p.cfg.Table, "tunnel", p.cfg.Tunnel, "wait", wait, "error", err)
		_ = sleep(ctx, wait) // the call looks at ctx
	}
}

// watch is what watches the time that is left; nil if nothing does.
func (p *Processor) watch() *ExpiryWatch {
	if !p.cfg.named() || p.cfg.Expiry.Interval < 0 {
		return nil
	}
	cfg := p.cfg.Expiry
	report := cfg.Report
	cfg.Unsettled = p.unsettled
	cfg.Report = func(e Expiry) {
		p.expiry.Store(&e)
		if report != nil {
			report(e)
		}
	}
	return &ExpiryWatch{client: p.client, table: p.cfg.Table, tunnel: p.cfg.Tunnel, cfg: cfg, log: p.cfg.Logger}
}

// unsettled is, by channel, when the oldest change was made that the callback
// works on.
func (p *Processor) unsettled() map[string]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	oldest := make(map[string]time.Time)
	for c := range p.open {
		if us := c.oldest.Load(); us != 0 {
			oldest[c.ch.ID()] = time.UnixMicro(us)
		}
	}
	return oldest
}

// processorCounts are what [Stats] tells.
type processorCounts struct {
	pages, read, settled, failures, checksums atomic.Int64
	commits, held                             atomic.Int64
}

// Stats is what a [Processor] has done since it was made, in all runs.
type Stats struct {
	Channels  int   // being consumed now
	Held      int64 // bytes of memory of what was read and not yet settled, about
	Pages     int64 // read, empty ones included
	Read      int64 // records read
	Settled   int64 // records for which the callback returned nil
	Failures  int64 // callbacks that returned an error
	Commits   int64 // checkpoints
	Checksums int64 // records delivered although a checksum differs; see [plainbuffer.ErrChecksum]
	// Expiry is the newest word on the time that is left until records are
	// lost; nil as long as there is none.
	Expiry *Expiry
}

// Stats tells what has been done so far.
func (p *Processor) Stats() Stats {
	p.mu.Lock()
	channels := len(p.open)
	p.mu.Unlock()
	c := &p.counts
	return Stats{
		Channels:  channels,
		Held:      c.held.Load(),
		Pages:     c.pages.Load(),
		Read:      c.read.Load(),
		Settled:   c.settled.Load(),
		Failures:  c.failures.Load(),
		Commits:   c.commits.Load(),
		Checksums: c.checksums.Load(),
		Expiry:    p.expiry.Load(),
	}
}
