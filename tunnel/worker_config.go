package tunnel

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// standardGap is the least time between two heartbeats that suits the real
// service.
const standardGap = 5 * time.Second

// WorkerConfig is what a [Worker] needs to know. Zero values mean the
// defaults; only TunnelID has none.
type WorkerConfig struct {
	// TunnelID is the tunnel's id, not its name. Required.
	TunnelID string

	// HeartbeatInterval is the time from one heartbeat to the next. Default
	// 30 s. At least 5 s, unless HeartbeatGap is less; then at least that.
	HeartbeatInterval time.Duration

	// HeartbeatTimeout is how long the service keeps a silent client's
	// channels, and how long the worker goes on without a heartbeat that was
	// answered before it connects anew. Default 300 s. Whole seconds, as the
	// service counts them, above HeartbeatInterval, to 24 h.
	HeartbeatTimeout time.Duration

	// HeartbeatGap is the least time between two heartbeats, early ones
	// included. Default 5 s, the least that suits the real service; less is
	// for the emulator. From 1 ms to HeartbeatInterval.
	HeartbeatGap time.Duration

	// ClientTag names this client in the tunnel's description. Default: the
	// host name.
	ClientTag string

	// DrainLimit is how long Consume may take once Draining is closed; then
	// its context ends. Default 30 s, to 10 min.
	DrainLimit time.Duration

	// ReconnectMax bounds the random wait before the worker connects anew,
	// so that the clients of a tunnel do not all come back at once. Default
	// 10 s, from 1 ms to 10 min.
	ReconnectMax time.Duration

	// Logger is told of connections, channels and failures. Default:
	// slog.Default().
	Logger *slog.Logger
}

// withDefaults fills in what was left out.
func (cfg WorkerConfig) withDefaults() WorkerConfig {
	cfg.HeartbeatInterval = cmp.Or(cfg.HeartbeatInterval, 30*time.Second)
	cfg.HeartbeatTimeout = cmp.Or(cfg.HeartbeatTimeout, 300*time.Second)
	cfg.HeartbeatGap = cmp.Or(cfg.HeartbeatGap, standardGap)
	cfg.DrainLimit = cmp.Or(cfg.DrainLimit, 30*time.Second)
	cfg.ReconnectMax = cmp.Or(cfg.ReconnectMax, 10*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.ClientTag == "" {
		// Without a host name the client has no tag; the service allows it.
		cfg.ClientTag, _ = os.Hostname()
	}
	return cfg
}

// validate names all that is wrong with a configuration whose defaults are
// filled in.
func (cfg WorkerConfig) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if cfg.TunnelID == "" {
		wrong("TunnelID: missing")
	}
	least := min(standardGap, max(cfg.HeartbeatGap, time.Millisecond))
	if cfg.HeartbeatInterval < least {
		wrong("HeartbeatInterval: %v is less than %v; less than %v needs a smaller HeartbeatGap, and an emulator",
			cfg.HeartbeatInterval, least, standardGap)
	}
	if cfg.HeartbeatGap < time.Millisecond || cfg.HeartbeatGap > max(cfg.HeartbeatInterval, least) {
		wrong("HeartbeatGap: %v is not between 1ms and HeartbeatInterval, %v", cfg.HeartbeatGap, cfg.HeartbeatInterval)
	}
	if t := cfg.HeartbeatTimeout; t <= cfg.HeartbeatInterval || t > 24*time.Hour {
		wrong("HeartbeatTimeout: %v is not above HeartbeatInterval, %v, and at most 24h", t, cfg.HeartbeatInterval)
	} else if t%time.Second != 0 {
		wrong("HeartbeatTimeout: %v is not whole seconds", t)
	}
	if t := cfg.DrainLimit; t < 0 || t > 10*time.Minute {
		wrong("DrainLimit: %v is not between 0 and 10m", t)
	}
	if t := cfg.ReconnectMax; t < time.Millisecond || t > 10*time.Minute {
		wrong("ReconnectMax: %v is not between 1ms and 10m", t)
	}
	return errors.Join(errs...)
}
