package tunnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// ExpiryWatch watches how much time is left until a tunnel loses records, and
// has the log warn early. A [Processor] runs one by itself.
type ExpiryWatch struct {
	client        *Client
	table, tunnel string
	cfg           ExpiryConfig
	log           *slog.Logger
}

// NewExpiryWatch returns a watch of the tunnel of these names that has not
// begun. log is slog.Default() if nil. The error names every mistake.
func NewExpiryWatch(client *Client, table, tunnel string, cfg ExpiryConfig, log *slog.Logger) (*ExpiryWatch, error) {
	cfg = cfg.withDefaults()
	errs := cfg.validate("Expiry")
	if client == nil {
		errs = append(errs, errors.New("client: missing"))
	}
	if table == "" {
		errs = append(errs, errors.New("table: missing"))
	}
	if tunnel == "" {
		errs = append(errs, errors.New("tunnel: missing"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("tunnel expiry: %w", err)
	}
	return &ExpiryWatch{client: client, table: table, tunnel: tunnel, cfg: cfg, log: cmp.Or(log, slog.Default())}, nil
}

// Run asks at once and then at the interval, until ctx ends. It starts no
// goroutine. What it asks in vain it asks again.
func (w *ExpiryWatch) Run(ctx context.Context) {
	log := w.log.With("table", w.table, "tunnel", w.tunnel)
	var alarm expiryAlarm
	failed, unsure := false, false // already said
	for w.cfg.Interval >= 0 {
		request := ExpiryRequest{Table: w.table, Tunnel: w.tunnel, Retention: w.cfg.Retention}
		if w.cfg.Unsettled != nil {
			request.Unsettled = w.cfg.Unsettled()
		}
		e, err := w.client.Expiry(ctx, request)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !failed {
				log.Warn("how much time is left until records are lost could not be found out, and is asked again", "interval", w.cfg.Interval, "error", err)
			}
			failed = true
		default:
			failed = false
			if !unsure && e.RetentionError != nil {
				log.Warn("how long the table's stream keeps a change is not known; the longest time is assumed, and less may be left: grant the right to DescribeTable, or set Retention",
					"retention", e.Retention, "error", e.RetentionError)
			}
			unsure = e.RetentionError != nil
			if level, text := alarm.judge(e, w.cfg.warnBelow(e.Retention)); text != "" {
				log.Log(ctx, level, text, "left", e.Left.Round(time.Second), "retention", e.Retention, "stage", e.Tunnel.Stage, "channel", e.shortest())
			}
			if w.cfg.Report != nil {
				w.cfg.Report(e)
			}
		}
		if sleep(ctx, w.cfg.Interval) != nil {
			return
		}
	}
}

// shortest is the channel to which the least time is left; empty if it is the
// full data that takes too long.
func (e Expiry) shortest() string {
	for _, ch := range e.Channels {
		if ch.Left == e.Left {
			return ch.ID
		}
	}
	return ""
}

// expiryAlarm decides when the log says what is left. It knows no clock.
type expiryAlarm struct {
	stage expiryStage
	left  time.Duration // when it was said last
	at    time.Time
}

type expiryStage uint8

const (
	expiryFar expiryStage = iota
	expiryNear
	expiryLosing
	expiryExpired
)

// sayAgain is after how long the log repeats what is still so.
const sayAgain = time.Hour

// judge gives what is to be said of e, if anything, where below is near.
func (a *expiryAlarm) judge(e Expiry, below time.Duration) (slog.Level, string) {
	if a.stage != expiryFar {
		below += below / 8 // what is at the limit does not go to and fro
	}
	stage := expiryFar
	switch {
	case e.Expired:
		stage = expiryExpired
	case e.Bounded && e.Left <= 0:
		stage = expiryLosing
	case e.Bounded && e.Left < below:
		stage = expiryNear
	}
	changed := stage != a.stage
	again := stage != expiryFar && (e.At.Sub(a.at) >= sayAgain || stage == expiryNear && e.Left <= a.left/2)
	if !changed && !again {
		return 0, ""
	}
	a.stage, a.left, a.at = stage, e.Left, e.At
	switch stage {
	case expiryExpired:
		return slog.LevelError, "the tunnel has expired: records that it had yet to deliver are gone; delete it and make it anew"
	case expiryLosing:
		return slog.LevelError, "the table's stream forgets changes before they are delivered: records are being lost; deliver faster, or let the stream keep them longer"
	case expiryNear:
		return slog.LevelWarn, "records will be lost if they are not delivered in time: deliver faster, or let the table's stream keep them longer"
	}
	return slog.LevelInfo, "records are delivered in good time again"
}
