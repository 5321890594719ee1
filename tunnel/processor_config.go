package tunnel

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// ProcessorConfig is what a [Processor] needs to know. Zero values mean the
// defaults; only the tunnel has none: TunnelID, or Table and Tunnel, or all
// three.
type ProcessorConfig struct {
	// TunnelID is the tunnel's id. Left out, it is looked up by Table and
	// Tunnel, the names, when Run begins.
	TunnelID string
	// Table and Tunnel are the names of the table and its tunnel. Without
	// them nothing can tell how much time is left until records are lost:
	// see Expiry.
	Table, Tunnel string

	// HeartbeatInterval, HeartbeatTimeout, HeartbeatGap, ClientTag,
	// DrainLimit and ReconnectMax are those of [WorkerConfig]. Defaults 30 s,
	// 300 s, 5 s, the host name, 30 s and 10 s.
	HeartbeatInterval time.Duration
	HeartbeatTimeout  time.Duration
	HeartbeatGap      time.Duration
	ClientTag         string
	DrainLimit        time.Duration
	ReconnectMax      time.Duration

	// CheckpointInterval is how often a channel's progress is committed. It
	// is committed besides when the channel begins to drain, when it has
	// drained, and when it has been read to its end. Default 5 s, 10 ms to
	// 10 min.
	CheckpointInterval time.Duration

	// ReadAhead is how many pages of a channel may be read ahead while the
	// callback works on one. Default 2, to 100. Negative: none; then the next
	// page is asked for when the callback is done with the last.
	ReadAhead int
	// ReadAheadBytes bounds what all channels together have read and not yet
	// settled, in memory. Once there is that much, a channel reads only when
	// it has nothing left: it is the read-ahead that is bounded, and for each
	// channel the page that its callback works on and the one that is being
	// read come on top. Default 64 MiB, 1 MiB to 64 GiB.
	ReadAheadBytes int64
	// ChannelsAtOnce bounds how many channels read and work at a time. They
	// take turns: while others wait, a channel reads no further, and gives up
	// its turn when it has settled what it had read; and always while a
	// callback that failed waits to be called again. A callback that takes
	// long holds its turn that long, and so does a read that the client tries
	// again. Default 0: all at once. To 100,000.
	ChannelsAtOnce int

	// Idle paces the reads of a channel that brings nothing. Any record ends
	// it. Default 20 ms, ×5, up to 2 s, jitter 0.25.
	Idle Backoff
	// Retry paces the calls of a callback that fails, page by page. It never
	// gives up. Default 200 ms, ×2, up to 1 min, jitter 0.25.
	Retry Backoff

	// Expiry says how the time that is left until records are lost is
	// watched. It needs Table and Tunnel.
	Expiry ExpiryConfig

	// OnOpen, if not nil, is called once for each channel that opens here,
	// before its first records. It may block, and holds up its channel alone.
	OnOpen func(ch *Channel)
	// OnEnd, if not nil, is called once for each channel for which OnOpen
	// was, or would have been: after its last callback has returned and the
	// last checkpoint was tried, with how it ended: [EndDrained], asked back
	// by the service or because Run ends; [EndFinished], read to its end;
	// [EndLost], taken over by another client, or stopped because the client
	// was lost or the drain limit had passed: what was not committed comes
	// again. It may block, and holds up the hand-over.
	OnEnd func(ch *Channel, end End)

	// Logger is told of connections, channels and failures. Default:
	// slog.Default().
	Logger *slog.Logger
}

// withDefaults fills in what was left out.
func (cfg ProcessorConfig) withDefaults() ProcessorConfig {
	cfg.CheckpointInterval = cmp.Or(cfg.CheckpointInterval, 5*time.Second)
	cfg.ReadAhead = cmp.Or(cfg.ReadAhead, 2)
	cfg.ReadAheadBytes = cmp.Or(cfg.ReadAheadBytes, 64<<20)
	cfg.Idle = cfg.Idle.withDefaults(Backoff{First: 20 * time.Millisecond, Max: 2 * time.Second, Factor: 5, Jitter: 0.25})
	cfg.Retry = cfg.Retry.withDefaults(Backoff{First: 200 * time.Millisecond, Max: time.Minute, Factor: 2, Jitter: 0.25})
	cfg.Expiry = cfg.Expiry.withDefaults()
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	return cfg
}

// worker is the configuration of the worker inside, for a tunnel.
func (cfg ProcessorConfig) worker(tunnelID string) WorkerConfig {
	return WorkerConfig{
		TunnelID:          tunnelID,
		HeartbeatInterval: cfg.HeartbeatInterval,
		HeartbeatTimeout:  cfg.HeartbeatTimeout,
		HeartbeatGap:      cfg.HeartbeatGap,
		ClientTag:         cfg.ClientTag,
		DrainLimit:        cfg.DrainLimit,
		ReconnectMax:      cfg.ReconnectMax,
		Logger:            cfg.Logger,
	}.withDefaults()
}

// named says whether the tunnel is known by its names.
func (cfg ProcessorConfig) named() bool { return cfg.Table != "" && cfg.Tunnel != "" }

// validate names all that is wrong with a configuration whose defaults are
// filled in.
func (cfg ProcessorConfig) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if (cfg.Table == "") != (cfg.Tunnel == "") {
		wrong("Table and Tunnel: one is given without the other")
	} else if cfg.TunnelID == "" && !cfg.named() {
		wrong("TunnelID: missing, and so are Table and Tunnel")
	}
	const given = "x" // what is wrong with TunnelID was said
	errs = append(errs, cfg.worker(cmp.Or(cfg.TunnelID, given)).validate())
	if t := cfg.CheckpointInterval; t < 10*time.Millisecond || t > 10*time.Minute {
		wrong("CheckpointInterval: %v is not between 10ms and 10m", t)
	}
	if cfg.ReadAhead > 100 {
		wrong("ReadAhead: %d pages are more than 100", cfg.ReadAhead)
	}
	if b := cfg.ReadAheadBytes; b < 1<<20 || b > 64<<30 {
		wrong("ReadAheadBytes: %d is not between 1 MiB and 64 GiB", b)
	}
	if n := cfg.ChannelsAtOnce; n < 0 || n > 100_000 {
		wrong("ChannelsAtOnce: %d is not between 0 and 100000", n)
	}
	errs = append(errs, cfg.Idle.validate("Idle")...)
	errs = append(errs, cfg.Retry.validate("Retry")...)
	errs = append(errs, cfg.Expiry.validate("Expiry")...)
	return errors.Join(errs...)
}
