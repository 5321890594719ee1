package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/culvertio/culvert/dispatcher"
	"github.com/culvertio/culvert/dispatcher/invoke"
	"github.com/culvertio/culvert/internal/check"
	"github.com/culvertio/culvert/state"
	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
)

// Pace of the sample orders, and of looking whether all is settled.
const (
	quickly    = 20 * time.Millisecond
	lookEvery  = 50 * time.Millisecond
	drainLimit = 10 * time.Second
)

// local is a run of the command: the parts and what was written so far.
type local struct {
	out        io.Writer
	console    *console
	feed       feed
	handler    handler
	journals   string // the directory
	table      string
	server     *emulatorServer
	dispatcher *dispatcher.Dispatcher
	written    []check.Write
	due        int64 // records that the tunnel has to deliver of it
	attempts   *attempts
	trouble    trouble
	started    time.Time
	took       time.Duration // from then until the dispatcher has ended
	limit      time.Duration // that has passed before all was settled; 0: none has
	faulty     bool          // the emulator makes trouble
}

// run has everything up, from the emulator to the last commit. It returns how
// many records no checkpoint covers at the end.
func (l *local) run(ctx context.Context, s *surroundings, c *localCommand) (remaining int64, err error) {
	spec := l.feed.table()
	l.table = spec.Name
	l.console.about(l.table, l.handler.shown)
	logger := newLogger(s.stderr, c.LogLevel, "text")
	instance := emulator.Config{
		Instance:        "local",
		AccessKeyID:     "local-" + rand.Text()[:8],
		AccessKeySecret: rand.Text(),
		Partitions:      2,
		Logger:          logger,
	}
	if c.Faults != nil {
		l.faulty = true
		instance.Faults = emulator.RandomFaults(*c.Faults, false)
	}
	if l.server, err = startEmulator(ctx, c.Listen, instance); err != nil {
		return 0, err
	}
	defer l.server.stop()
	printEndpoint(s.stdout, l.server.endpoint, instance)
	fmt.Fprintf(s.stdout, "\nTo write to it with the official SDK, into the table %s (key: %s):\n", l.table, keyOf(spec))
	fmt.Fprintf(s.stdout, "  tablestore.NewClient(%q, %q, %q, %q)\n\n", l.server.endpoint, instance.Instance, instance.AccessKeyID, instance.AccessKeySecret)
	if l.faulty {
		fmt.Fprintf(s.stdout, "--faults %d: trouble is made between dispatcher and emulator; what is logged of the tunnel service comes of that\n\n", *c.Faults)
	}

	ledger, err := state.OpenEmbedded(logger)
	if err != nil {
		return 0, unavailable("%w", err)
	}
	defer ledger.Close() //nolint:errcheck // it is in memory and ends here

	config := c.dispatcher(l, tunnel.StaticCredentials(instance.AccessKeyID, instance.AccessKeySecret, ""))
	trigger := config.Triggers[0]
	watching, stopWatching := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer stopWatching()
	built := make(chan rebuilder, 1)
	watchers.Go(func() { l.watch(watching, built, logger) })

	l.console.begin(l.handler.does())
	target, err := s.openTarget(ctx, trigger, l.journals, logger)
	if err != nil {
		return 0, err
	}
	defer closeTarget(target, logger)
	l.console.done()
	if target, ok := target.(rebuilder); ok {
		built <- target
	}

	l.attempts, l.trouble = &attempts{Target: target}, trouble{timeout: c.Timeout, way: c.way()}

	client, err := newClient(config, logger)
	if err != nil {
		return 0, err
	}
	if err := l.makeFeed(ctx, client, spec); err != nil {
		return 0, unlessInterrupted(ctx, err)
	}
	l.dispatcher, err = dispatcher.New(config, dispatcher.Parts{
		Client: client, Ledger: ledger, Targets: map[string]invoke.Target{trigger.Name: l.attempts}, Logger: logger,
	})
	if err != nil {
		return 0, usage("%w", err)
	}

	// An interrupt ends the writing; the dispatcher first delivers what is
	// written.
	dispatching, drain := context.WithCancel(context.WithoutCancel(ctx))
	dispatched := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() { dispatched <- l.dispatcher.Run(dispatching) })
	defer running.Wait()
	defer drain()
	l.started = time.Now()
	if err := l.drive(ctx, c, dispatched); err != nil {
		return 0, err
	}
	drain()
	if err := <-dispatched; err != nil {
		return 0, unavailable("%w", err)
	}
	l.took = time.Since(l.started)
	l.report()
	return l.server.Remaining(l.table, tunnelOf(l.table))
}

// dispatcher is the configuration of the run's dispatcher.
func (c *localCommand) dispatcher(l *local, credentials tunnel.CredentialsProvider) dispatcher.Config {
	records := 10
	if c.Data != "" {
		records = 100 // a file may have many rows
	}
	return dispatcher.Config{
		Tunnel: dispatcher.Tunnel{
			Endpoint: l.server.endpoint, Instance: "local", Table: l.table, Name: tunnelOf(l.table), Create: "BaseAndStream",
			Credentials: credentials,
		},
		// The emulator is our own: it may be asked often.
		Heartbeat:  dispatcher.Heartbeat{Interval: 500 * time.Millisecond, Timeout: 10 * time.Second, Gap: 100 * time.Millisecond},
		Checkpoint: dispatcher.Checkpoint{Interval: 200 * time.Millisecond},
		Drain:      drainLimit,
		Triggers: []dispatcher.Trigger{{
			Name: l.table[:min(len(l.table), 64)], Function: l.handler.function, Parallel: 4, Timeout: c.Timeout,
			Batch: dispatcher.Batch{Records: records, Window: 50 * time.Millisecond},
			Limit: dispatcher.Limit{AtOnce: 2},
		}},
	}
}

// makeFeed makes the table, the base data and the tunnel.
func (l *local) makeFeed(ctx context.Context, client *tunnel.Client, spec emulator.TableSpec) error {
	if err := l.server.CreateTable(spec); err != nil {
		return fmt.Errorf("make the table %s: %w", l.table, err)
	}
	rows, err := l.feed.load(ctx, func(s sample) error {
		s.write.Base = true
		return l.write(s)
	})
	if err != nil {
		return err
	}
	_, err = client.CreateTunnel(ctx, tunnel.CreateTunnelRequest{Table: l.table, Tunnel: tunnelOf(l.table), Type: tunnel.BaseAndStream})
	if err != nil {
		return fmt.Errorf("make the tunnel: %w", err)
	}
	l.due = int64(rows)
	l.feed.describe(l.out, rows)
	return nil
}

// write writes a change.
func (l *local) write(s sample) error {
	if err := l.server.Write(l.table, s.change); err != nil {
		return err
	}
	l.written = append(l.written, s.write)
	l.due++
	return nil
}

// drive writes changes, shows how things stand, and returns when the run is
// over: with --once when all is written and committed, or --limit has passed;
// after an interrupt when all is committed or drainLimit has passed; or when a
// part has failed.
func (l *local) drive(ctx context.Context, c *localCommand, dispatched <-chan error) error {
	once, rate := c.Once, c.rate()
	status, look := time.NewTicker(l.console.every()), time.NewTicker(lookEvery)
	defer status.Stop()
	defer look.Stop()
	writing := newPace(l.feed.more(), rate, time.Now())
	defer writing.stop()
	if writing.quick == 0 && !once {
		l.sayGoingOn(rate)
	}
	ending := once && writing.quick == 0
	interrupted := ctx.Done()
	var limit, drained <-chan time.Time
	if c.Limit > 0 {
		limit = time.After(c.Limit)
	}
	for {
		select {
		case err := <-dispatched:
			if err == nil {
				err = errors.New("the dispatcher ended by itself")
			}
			return unavailable("%w", err)
		case err := <-l.server.failed:
			return err
		case <-interrupted:
			interrupted, ending = nil, true
			l.endFaults()
			drained = time.After(drainLimit)
			fmt.Fprintf(l.out, "waiting %v at most until all that is written is settled, then as long for what the handler is at\n", drainLimit)
		case <-drained:
			l.sayWhatIsAwaited(drainLimit)
			return nil
		case <-limit:
			l.limit = c.Limit
			l.endFaults()
			l.sayWhatIsAwaited(c.Limit)
			return nil
		case now := <-writing.tick():
			if ending {
				continue
			}
			quick := writing.quick > 0
			for range writing.due(now) {
				if err := l.writeNext(); err != nil {
					return err
				}
			}
			if quick && writing.quick == 0 {
				ending = once
				if !once {
					l.sayGoingOn(rate)
				}
			}
		case <-status.C:
			l.report()
			l.look(interrupted == nil)
		case <-look.C:
			if !ending {
				continue
			}
			remaining, err := l.server.Remaining(l.table, tunnelOf(l.table))
			if err != nil {
				return err
			}
			if remaining == 0 {
				l.endFaults()
				return nil
			}
		}
	}
}

// endFaults lets what is left to do go undisturbed.
func (l *local) endFaults() {
	_ = l.server.SetFaults(emulator.Faults{}) // no fault is always right
}

// sayGoingOn says what comes after everything has been written once.
func (l *local) sayGoingOn(rate float64) {
	switch {
	case rate == 1:
		fmt.Fprintln(l.out, "from here on a change a second, until an interrupt (Ctrl-C)")
	case rate > 0:
		fmt.Fprintf(l.out, "from here on %v changes a second, until an interrupt (Ctrl-C)\n", rate)
	default:
		fmt.Fprintln(l.out, "from here on only what others write to the endpoint, until an interrupt (Ctrl-C)")
	}
}

func (l *local) writeNext() error {
	next, ok := l.feed.next()
	if !ok {
		return nil
	}
	if err := l.write(next); err != nil {
		return fmt.Errorf("write a change: %w", err)
	}
	return nil
}

// report shows how things stand.
func (l *local) report() {
	n := l.dispatcher.Stats()
	now := time.Now()
	l.console.report(view{
		elapsed: now.Sub(l.started),
		counts: counts{
			written: l.due, read: n.Read, settled: n.Settled,
			invocations: n.Invocations, failed: n.Failures, inFlight: n.InFlight, faults: l.faults(),
		},
		faulty:   l.faulty,
		channels: l.dispatcher.Channels(),
		now:      now,
	})
}

// look shows why the run does not go on, if that is the handler's doing.
func (l *local) look(interrupted bool) {
	n := l.dispatcher.Stats()
	s := standing{settled: n.Settled, failed: n.Failures}
	s.oldest, s.last = l.attempts.oldest()
	text, due := l.trouble.look(time.Now(), s)
	l.console.trouble(text, due && !interrupted)
}

// sayWhatIsAwaited says, once no more is begun, what is still waited for.
func (l *local) sayWhatIsAwaited(passed time.Duration) {
	fmt.Fprintf(l.out, "%v have passed, and not all is settled; nothing more is begun\n", passed)
	if oldest, _ := l.attempts.oldest(); oldest != nil {
		fmt.Fprintf(l.out, "waiting %v at most for the handler to answer %s which began %s ago\n", drainLimit, oldest, span(time.Since(oldest.began)))
	}
}

// faults is how many faults there were.
func (l *local) faults() (n int64) {
	for _, count := range l.server.FaultCounts() {
		n += count
	}
	return n
}

// closeTarget ends a target, and says so if that does not work.
func closeTarget(t invoke.Target, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := t.Close(ctx); err != nil {
		logger.Warn("closing the function's target", "error", err)
	}
}
