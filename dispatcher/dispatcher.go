package dispatcher

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/culvertio/culvert/dispatcher/invoke"
	"github.com/culvertio/culvert/state"
	"github.com/culvertio/culvert/tunnel"
)

// longestReconnect bounds the random wait before the worker connects anew. A
// service that may be asked more often than this by heartbeats may be asked by
// connections too.
const longestReconnect = 10 * time.Second

// Parts are what a dispatcher is wired with. The caller owns them, and closes
// ledger and targets after Run has returned.
type Parts struct {
	Client  *tunnel.Client           // required
	Ledger  state.Ledger             // required
	Targets map[string]invoke.Target // by trigger name; one for each trigger
	Logger  *slog.Logger             // default: slog.Default()
}

// Dispatcher takes the changes of one tunnel to its triggers' functions.
type Dispatcher struct {
	config  Config
	parts   Parts
	log     *slog.Logger
	trigger *trigger
	nonce   string
	rnd     *mathrand.Rand
	counts  counters
	held    holding
}

// New makes a dispatcher of a configuration, which it completes with the
// defaults. The error names every mistake of the configuration, each as a
// *FieldError.
func New(config Config, parts Parts) (*Dispatcher, error) {
	config = config.WithDefaults()
	if err := config.Validate(); err != nil {
		return nil, err
	}
	d := &Dispatcher{
		config: config,
		parts:  parts,
		log:    parts.Logger,
		nonce:  rand.Text(),
		rnd:    mathrand.New(sharedSource{}),
	}
	if d.log == nil {
		d.log = slog.Default()
	}
	d.log = d.log.With("tunnel", config.Tunnel.Name)
	if parts.Client == nil || parts.Ledger == nil {
		return nil, errors.New("a dispatcher needs a tunnel client and a ledger")
	}
	for _, t := range config.Triggers {
		target := parts.Targets[t.Name]
		if target == nil {
			return nil, fmt.Errorf("trigger %q has no target", t.Name)
		}
		d.trigger = newTrigger(t, target)
	}
	return d, nil
}

// sharedSource draws from the process's own generator, which may be used from
// many goroutines.
type sharedSource struct{}

func (sharedSource) Uint64() uint64 { return mathrand.Uint64() }

// Run finds the tunnel, or makes it if it may, and dispatches its changes. It
// blocks. When ctx ends it drains: nothing new is read, what has begun is
// finished and committed, for at most Config.Drain; then it returns nil. It
// returns an error when the tunnel cannot be found or made, has expired, or
// the service refuses this client for good.
func (d *Dispatcher) Run(ctx context.Context) error {
	id, err := d.findTunnel(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	worker, err := tunnel.NewWorker(d.parts.Client, tunnel.WorkerConfig{
		TunnelID:          id,
		HeartbeatInterval: d.config.Heartbeat.Interval,
		HeartbeatTimeout:  d.config.Heartbeat.Timeout,
		HeartbeatGap:      d.config.Heartbeat.Gap,
		DrainLimit:        d.config.Drain,
		ReconnectMax:      min(d.config.Heartbeat.Interval, longestReconnect),
		Logger:            d.log,
	}, consumer{d, abort})
	if err != nil {
		return err
	}
	d.log.Info("dispatching", "tunnel_id", id, "table", d.config.Tunnel.Table, "trigger", d.trigger.Name) // the function is not named: its URL may hold a password
	if err := worker.Run(ctx); err != nil {
		return err
	}
	if err := context.Cause(ctx); errors.Is(err, tunnel.CodeTunnelExpired) {
		return err
	}
	return nil
}

// consumer takes the worker's channels.
type consumer struct {
	d     *Dispatcher
	abort context.CancelCauseFunc // stops the dispatcher for good
}

func (c consumer) Consume(ctx context.Context, ch *tunnel.Channel) (tunnel.End, error) {
	c.d.counts.channels.Add(1)
	defer c.d.counts.channels.Add(-1)
	end, err := c.d.consume(ctx, ch)
	if errors.Is(err, tunnel.CodeTunnelExpired) {
		c.abort(err)
	}
	return end, err
}

// share is how many bytes a channel may hold: its part of the read-ahead.
func (d *Dispatcher) share() int64 {
	return d.config.ReadAhead / max(1, d.counts.channels.Load())
}

// Stats counts what a dispatcher has done since it was made, but for Channels
// and InFlight, which are as of now.
type Stats struct {
	Channels    int64 // held
	InFlight    int64 // invocations under way
	Read        int64 // records
	Settled     int64 // records
	Invocations int64
	Failures    int64 // invocations that failed, wholly or in part
	Commits     int64 // checkpoints moved
	Checksums   int64 // records delivered although a checksum differs
}

type counters struct {
	channels, inFlight, read, settled, invocations, failures, commits, checksums atomic.Int64
}

// Stats may be called at any time, from any goroutine.
func (d *Dispatcher) Stats() Stats {
	return Stats{
		Channels:    d.counts.channels.Load(),
		InFlight:    d.counts.inFlight.Load(),
		Read:        d.counts.read.Load(),
		Settled:     d.counts.settled.Load(),
		Invocations: d.counts.invocations.Load(),
		Failures:    d.counts.failures.Load(),
		Commits:     d.counts.commits.Load(),
		Checksums:   d.counts.checksums.Load(),
	}
}
