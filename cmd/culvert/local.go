package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/culvertio/culvert/dispatcher"
	"github.com/culvertio/culvert/dispatcher/invoke"
	"github.com/culvertio/culvert/internal/check"
	"github.com/culvertio/culvert/state"
	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

type localCommand struct {
	Once     bool       `help:"End when all that was written is settled, and say whether it arrived."`
	Handler  string     `help:"Directory of the handler's Go source, or its binary. Left out: functions/examples/orders of Culvert's own source." placeholder:"DIR"`
	Listen   string     `help:"Address of the emulator; port 0 picks a free one (${default})." default:"127.0.0.1:0" placeholder:"ADDR"`
	Orders   int        `help:"Changes of sample orders to write (${default}), a third of them before the tunnel is made: what is then in the table is its base data." default:"150" placeholder:"N"`
	Seed     uint64     `help:"The same seed makes the same orders (${default})." default:"1" placeholder:"N"`
	LogLevel slog.Level `help:"Log at debug, info, warn or error (${default})." default:"warn" placeholder:"LEVEL"`
}

// Help is the end of the command's help text.
func (localCommand) Help() string {
	return `Starts the emulator, an embedded ledger, the handler and a dispatcher; makes the table orders and a tunnel, writes sample orders, and prints what happens. Without --once a change a second follows until an interrupt. Everything is kept in memory and ends with the process.

The summary at the end is computed from what the handler itself recorded (functions.Start does that).

Exit codes: 0 all arrived in order, 1 something was lost, out of order or corrupt, 2 wrong command line, 3 the address cannot be listened on or the handler does not build or start, 130 interrupted twice.`
}

// Pace of the sample orders, and of looking whether all is settled.
const (
	quickly    = 20 * time.Millisecond
	slowly     = time.Second
	lookEvery  = 50 * time.Millisecond
	drainLimit = 10 * time.Second
	sampleFeed = "orders-feed" // the tunnel
)

// local is a run of the command: the parts and what was written so far.
type local struct {
	out        io.Writer
	server     *emulatorServer
	dispatcher *dispatcher.Dispatcher
	samples    *samples
	written    []check.Write
	due        int // records that the tunnel has to deliver of it
	started    time.Time

	records     bool  // the handler is one that records its invocations
	invocations int64 // as the dispatcher counted them
}

// Run starts the parts, drives them, takes them down and judges.
func (c *localCommand) Run(ctx context.Context, s *surroundings) error {
	if c.Orders < 1 || c.Orders > 1_000_000 {
		return usage("--orders: %d: 1 to 1,000,000 may be written", c.Orders)
	}
	handler, err := c.handler()
	if err != nil {
		return err
	}
	dir, err := s.scratch.dir()
	if err != nil {
		return err
	}
	journals := filepath.Join(dir, "journal")
	if err := os.Mkdir(journals, 0o700); err != nil {
		return unavailable("no place for the handler's journal: %w", err)
	}

	l := &local{out: s.stdout, samples: newSamples(c.Seed), records: c.Handler == ""}
	remaining, err := c.run(ctx, l, s, handler, journals)
	if err != nil {
		return err
	}
	return l.summarize(journals, remaining)
}

// handler is what --handler names, or the example.
func (c *localCommand) handler() (string, error) {
	if c.Handler != "" {
		return c.Handler, nil
	}
	working, err := os.Getwd()
	if err != nil {
		return "", unavailable("%w", err)
	}
	for dir := working; ; dir = filepath.Dir(dir) {
		file, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(file), "module github.com/culvertio/culvert\n") {
			example := filepath.Join(dir, "functions", "examples", "orders")
			if short, err := filepath.Rel(working, example); err == nil {
				example = short
			}
			return example, nil
		}
		if dir == filepath.Dir(dir) {
			return "", usage("which handler? The default one, functions/examples/orders, is found only within Culvert's own source, and %s is not: name yours with --handler DIR", working)
		}
	}
}

// run has everything up, from the emulator to the last commit. It returns how
// many records no checkpoint covers at the end.
func (c *localCommand) run(ctx context.Context, l *local, s *surroundings, handler, journals string) (remaining int64, err error) {
	logger := newLogger(s.stderr, c.LogLevel, "text")
	instance := emulator.Config{
		Instance:        "local",
		AccessKeyID:     "local-" + rand.Text()[:8],
		AccessKeySecret: rand.Text(),
		Partitions:      2,
		Logger:          logger,
	}
	if l.server, err = startEmulator(ctx, c.Listen, instance); err != nil {
		return 0, err
	}
	defer l.server.stop()
	printEndpoint(s.stdout, l.server.endpoint, instance)
	fmt.Fprintf(s.stdout, "\nTo write to it with the official SDK, into the table %s (key: %s, a string):\n", sampleTable, sampleKey)
	fmt.Fprintf(s.stdout, "  tablestore.NewClient(%q, %q, %q, %q)\n\n", l.server.endpoint, instance.Instance, instance.AccessKeyID, instance.AccessKeySecret)

	ledger, err := state.OpenEmbedded(logger)
	if err != nil {
		return 0, unavailable("%w", err)
	}
	defer ledger.Close() //nolint:errcheck // it is in memory and ends here

	config := dispatcher.Config{
		Tunnel: dispatcher.Tunnel{
			Endpoint: l.server.endpoint, Instance: instance.Instance, Table: sampleTable, Name: sampleFeed, Create: "BaseAndStream",
			Credentials: tunnel.StaticCredentials(instance.AccessKeyID, instance.AccessKeySecret, ""),
		},
		// The emulator is our own: it may be asked often.
		Heartbeat:  dispatcher.Heartbeat{Interval: 500 * time.Millisecond, Timeout: 10 * time.Second, Gap: 100 * time.Millisecond},
		Checkpoint: dispatcher.Checkpoint{Interval: 200 * time.Millisecond},
		Drain:      drainLimit,
		Triggers: []dispatcher.Trigger{{
			Name: "orders", Function: "process:" + handler, Parallel: 4,
			Batch: dispatcher.Batch{Records: 10, Window: 50 * time.Millisecond},
			Limit: dispatcher.Limit{AtOnce: 2},
		}},
	}
	fmt.Fprintf(s.stdout, "building the handler %s\n", handler)
	target, err := s.openTarget(ctx, config.Triggers[0], []string{"CULVERT_JOURNAL=" + journals}, logger)
	if err != nil {
		return 0, err
	}
	defer closeTarget(target, logger)

	client, err := newClient(config, logger)
	if err != nil {
		return 0, err
	}
	if err := l.makeFeed(ctx, client, c.Orders/3); err != nil {
		return 0, unlessInterrupted(ctx, err)
	}
	l.dispatcher, err = dispatcher.New(config, dispatcher.Parts{
		Client: client, Ledger: ledger, Targets: map[string]invoke.Target{"orders": target}, Logger: logger,
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
	if err := l.drive(ctx, c.Once, c.Orders-c.Orders/3, dispatched); err != nil {
		return 0, err
	}
	drain()
	if err := <-dispatched; err != nil {
		return 0, unavailable("%w", err)
	}
	l.printStatus()
	l.invocations = l.dispatcher.Stats().Invocations
	return l.server.Remaining(sampleTable, sampleFeed)
}

// makeFeed makes the table, the base data and the tunnel.
func (l *local) makeFeed(ctx context.Context, client *tunnel.Client, base int) error {
	err := l.server.CreateTable(emulator.TableSpec{
		Name: sampleTable,
		Key:  []emulator.KeyColumn{{Name: sampleKey, Type: plainbuffer.String}},
	})
	if err != nil {
		return fmt.Errorf("make the sample table: %w", err)
	}
	for range base {
		if err := l.write(true); err != nil {
			return err
		}
	}
	_, err = client.CreateTunnel(ctx, tunnel.CreateTunnelRequest{Table: sampleTable, Tunnel: sampleFeed, Type: tunnel.BaseAndStream})
	if err != nil {
		return fmt.Errorf("make the sample tunnel: %w", err)
	}
	l.due = len(l.samples.open)
	fmt.Fprintf(l.out, "table %s made; %d changes of sample orders left %d rows in it: the base data of the tunnel %s\n", sampleTable, base, l.due, sampleFeed)
	return nil
}

// write writes the next sample.
func (l *local) write(base bool) error {
	next := l.samples.next()
	if err := l.server.Write(sampleTable, next.change); err != nil {
		return fmt.Errorf("write a sample order: %w", err)
	}
	next.write.Base = base
	l.written = append(l.written, next.write)
	l.due++
	return nil
}

// drive writes changes, prints how things stand, and returns when the run is
// over: with once when all is written and committed; after an interrupt when
// all is committed or drainLimit has passed; or when a part has failed.
func (l *local) drive(ctx context.Context, once bool, changes int, dispatched <-chan error) error {
	write, status, look := time.NewTicker(quickly), time.NewTicker(time.Second), time.NewTicker(lookEvery)
	defer write.Stop()
	defer status.Stop()
	defer look.Stop()
	interrupted, writing := ctx.Done(), true
	var limit <-chan time.Time
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
			interrupted, writing = nil, false
			limit = time.After(drainLimit)
			fmt.Fprintf(l.out, "waiting %v at most until all that is written is settled\n", drainLimit)
		case <-limit:
			return nil
		case <-write.C:
			if !writing {
				continue
			}
			if err := l.write(false); err != nil {
				return err
			}
			if changes--; changes == 0 {
				if writing = !once; writing {
					write.Reset(slowly)
					fmt.Fprintln(l.out, "from here on a change a second, until an interrupt (Ctrl-C)")
				}
			}
		case <-status.C:
			l.printStatus()
		case <-look.C:
			if writing {
				continue
			}
			remaining, err := l.server.Remaining(sampleTable, sampleFeed)
			if err != nil {
				return err
			}
			if remaining == 0 {
				return nil
			}
		}
	}
}

func (l *local) printStatus() {
	n := l.dispatcher.Stats()
	fmt.Fprintf(l.out, "%4.0f s: %d written, %d read, %d settled; %d invocations, %d failed, %d under way\n",
		time.Since(l.started).Seconds(), l.due, n.Read, n.Settled, n.Invocations, n.Failures, n.InFlight)
}

// closeTarget ends a target, and says so if that does not work.
func closeTarget(t invoke.Target, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := t.Close(ctx); err != nil {
		logger.Warn("closing the function's target", "error", err)
	}
}
