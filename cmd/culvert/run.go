package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/culvertio/culvert/dispatcher"
	"github.com/culvertio/culvert/dispatcher/configfile"
	"github.com/culvertio/culvert/dispatcher/invoke"
	"github.com/culvertio/culvert/state"
)

type runCommand struct {
	Config string `help:"The configuration, a YAML file (${default})." short:"c" default:"culvert.yaml" placeholder:"FILE"`
}

// Help is the end of the command's help text.
func (runCommand) Help() string {
	return `Consumes the tunnel that the configuration names and invokes its trigger's function, until an interrupt. What handler processes print goes to stdout, the log to stderr.

Exit codes: 0 drained after an interrupt, 2 wrong command line or configuration, 3 the tunnel service refuses or cannot be reached, or the handler does not build or start, 130 interrupted twice. A Redis that is down is waited for.`
}

// Run dispatches until an interrupt.
func (c *runCommand) Run(ctx context.Context, s *surroundings) error {
	file, err := configfile.Load(c.Config)
	if err != nil {
		if e, ok := errors.AsType[*configfile.Error](err); ok {
			return usage("the configuration is wrong\n%w", e)
		}
		return usage("%w; name the file with --config", err)
	}
	logger := newLogger(s.stderr, file.Log.Level, file.Log.Format)
	config := file.Dispatcher.WithDefaults()

	client, err := newClient(config, logger)
	if err != nil {
		return err
	}
	targets := map[string]invoke.Target{}
	for _, t := range config.Triggers {
		target, err := s.openTarget(ctx, t, "", logger)
		if err != nil {
			return err
		}
		defer closeTarget(target, logger)
		targets[t.Name] = target
	}
	ledger, err := openLedger(file.Ledger, logger)
	if err != nil {
		return err
	}
	defer ledger.Close() //nolint:errcheck // all that was settled is acknowledged
	d, err := dispatcher.New(config, dispatcher.Parts{Client: client, Ledger: ledger, Targets: targets, Logger: logger})
	if err != nil {
		return usage("%w", err)
	}

	if err := waitForLedger(ctx, ledger, logger); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return unlessInterrupted(ctx, ctx.Err())
	}
	if err := d.Run(ctx); err != nil {
		return unlessInterrupted(ctx, unavailable("%w", err)) // it looks for the tunnel first
	}
	return nil
}

// openLedger opens the ledger that is configured, or the embedded one.
func openLedger(c configfile.Ledger, logger *slog.Logger) (*state.Redis, error) {
	if c.Redis != "" {
		ledger, err := state.OpenRedis(state.RedisConfig{URL: c.Redis, Logger: logger})
		if err != nil {
			return nil, usage("%w", err)
		}
		return ledger, nil
	}
	ledger, err := state.OpenEmbedded(logger)
	if err != nil {
		return nil, unavailable("%w", err)
	}
	return ledger, nil
}

// waitForLedger returns when the ledger can be used, or ctx has ended. It asks
// again as long as the server cannot be reached, and says so each time.
func waitForLedger(ctx context.Context, ledger state.Ledger, logger *slog.Logger) error {
	const first, longest = 500 * time.Millisecond, 15 * time.Second
	for wait := first; ; wait = min(2*wait, longest) {
		warning, err := ledger.Ping(ctx)
		switch {
		case err == nil:
			if warning != "" {
				logger.Warn(warning)
			}
			return nil
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, state.ErrUnavailable):
			return unavailable("%w", err)
		}
		logger.Error("nothing begins until the ledger is there; without ledger.redis an embedded one serves", "error", err, "asked_again_in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}
