package tunnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// A table's stream keeps a change for a while and then forgets it, read or
// not. This file works out how long the changes that a tunnel has yet to
// deliver are still kept.

// The bounds of a stream's retention, as the service documents them.
const (
	MinRetention = time.Hour
	MaxRetention = 168 * time.Hour
)

// ExpiryRequest names a tunnel.
type ExpiryRequest struct {
	Table, Tunnel string
	// Retention is how long the table's stream keeps a change. 0: the table
	// is asked.
	Retention time.Duration
	// Unsettled is, by channel id, when the oldest change was made that has
	// been read and not settled: the service may count it as delivered.
	Unsettled map[string]time.Time
}

// Expiry says how much time is left until a tunnel loses records.
type Expiry struct {
	At     time.Time  // when the tunnel was described
	Tunnel TunnelInfo // as it was described

	// Expired: it is too late. Records are gone, and the tunnel answers
	// [CodeTunnelExpired].
	Expired bool

	// Left is how long the oldest change that has not been delivered, or not
	// been settled as far as the request says, is still kept: the least of
	// all channels and, while the full data is delivered, of the changes that
	// wait behind it. 0: records are being lost. Only if Bounded: a BaseData
	// tunnel loses nothing.
	Left    time.Duration
	Bounded bool

	// Channels are the channels of the stream that are not at their end, as
	// far as the service says where they stand.
	Channels []ChannelExpiry

	// Retention is how long the table's stream keeps a change. If it could
	// not be found out, it is the longest that there is, so that less time
	// may be left, and RetentionError says why.
	Retention      time.Duration
	RetentionError error
}

// ChannelExpiry says how much time is left to a channel.
type ChannelExpiry struct {
	ID   string
	Left time.Duration // not below 0
}

// Expiry asks for the tunnel and, unless the request says it, for the
// retention of its table's stream.
func (c *Client) Expiry(ctx context.Context, r ExpiryRequest) (Expiry, error) {
	described, err := c.DescribeTunnel(ctx, DescribeTunnelRequest{Table: r.Table, Tunnel: r.Tunnel})
	if err != nil {
		return Expiry{}, err
	}
	now := time.Now()
	if r.Retention != 0 || described.Tunnel.Type == BaseData {
		return expiryOf(now, described, r.Retention, r.Unsettled), nil
	}
	stream, err := c.TableStream(ctx, TableStreamRequest{Table: r.Table})
	if err == nil && stream.Retention == 0 {
		err = errors.New("the table does not say how long its stream keeps a change")
	}
	if ctx.Err() != nil {
		return Expiry{}, err
	}
	e := expiryOf(now, described, cmp.Or(stream.Retention, MaxRetention), r.Unsettled)
	e.RetentionError = err
	return e, nil
}

// expiryOf works out what is left at a time.
//
// That a channel's consumed time is in nanoseconds since the epoch, that all
// before it is delivered, and that it moves on with the clock while there is
// nothing to deliver, is how the emulator has it; the service does not say.
// A time long before the tunnel was made is therefore not believed.
func expiryOf(now time.Time, d DescribeTunnelResponse, retention time.Duration, unsettled map[string]time.Time) Expiry {
	e := Expiry{At: now, Tunnel: d.Tunnel, Expired: d.Tunnel.Expired, Retention: retention}
	if d.Tunnel.Type == BaseData {
		return e
	}
	left := func(from time.Time) time.Duration {
		l := min(max(from.Add(retention).Sub(now), 0), retention)
		if !e.Bounded || l < e.Left {
			e.Left, e.Bounded = l, true
		}
		return l
	}

	// What waits behind the full data, and in channels of which nothing has
	// been read, began with the tunnel.
	start := d.Tunnel.CreatedAt
	if s := d.Tunnel.Stream.Start; !s.IsZero() {
		start = s
	}
	if d.Tunnel.Type == BaseAndStream && d.Tunnel.Stage != stageStream && !start.IsZero() {
		left(start)
	}
	for _, ch := range d.Channels {
		if ch.Type != Stream.String() || ch.Status == StatusTerminated.String() {
			continue
		}
		from := ch.Consumed
		if from.IsZero() {
			from = start
		}
		if from.Before(start.Add(-MaxRetention)) {
			from = time.Time{}
		}
		if u := unsettled[ch.ID]; from.IsZero() || !u.IsZero() && u.Before(from) {
			from = u
		}
		if from.IsZero() {
			continue
		}
		e.Channels = append(e.Channels, ChannelExpiry{ID: ch.ID, Left: left(from)})
	}
	if e.Expired {
		e.Left, e.Bounded = 0, true
	}
	return e
}

// stageStream is the stage of a tunnel that has delivered its full data.
const stageStream = "ProcessStream"

// ExpiryConfig says how the time that is left until records are lost is
// watched. Zero values mean the defaults.
type ExpiryConfig struct {
	// Interval is how often the service is asked. Default 1 min, 1 s to 1 h.
	// Negative: never; nothing is watched.
	Interval time.Duration
	// Retention is how long the table's stream keeps a change. Default: the
	// table is asked each time, which needs the right to DescribeTable. From
	// [MinRetention] to [MaxRetention].
	Retention time.Duration
	// WarnBelow is the time left below which the log warns: at once, whenever
	// it has halved since, and every hour. Default: half the retention, but at
	// most 24 h. To MaxRetention.
	WarnBelow time.Duration
	// Unsettled, if not nil, gives [ExpiryRequest.Unsettled] each time. A
	// [Processor] knows by itself, and ignores it. It must not block.
	Unsettled func() map[string]time.Time
	// Report, if not nil, is called each time that the service has answered.
	// It must not block for long.
	Report func(Expiry)
}

func (cfg ExpiryConfig) withDefaults() ExpiryConfig {
	cfg.Interval = cmp.Or(cfg.Interval, time.Minute)
	return cfg
}

func (cfg ExpiryConfig) validate(name string) []error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(name+"."+format, args...)) }

	if t := cfg.Interval; t >= 0 && (t < time.Second || t > time.Hour) {
		wrong("Interval: %v is not between 1s and 1h", t)
	}
	if t := cfg.Retention; t != 0 && (t < MinRetention || t > MaxRetention) {
		wrong("Retention: %v is not between %v and %v", t, MinRetention, MaxRetention)
	}
	if t := cfg.WarnBelow; t < 0 || t > MaxRetention {
		wrong("WarnBelow: %v is not between 0 and %v", t, MaxRetention)
	}
	return errs
}

// warnBelow is the threshold for a retention.
func (cfg ExpiryConfig) warnBelow(retention time.Duration) time.Duration {
	return cmp.Or(cfg.WarnBelow, min(retention/2, 24*time.Hour))
}
