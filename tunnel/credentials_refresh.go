package tunnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// ErrCredentialsExpired means that the credentials are no longer valid and
// that new ones could not be had so far. A call that fails with it was not
// sent; it is [Retryable] and not [Fatal].
var ErrCredentialsExpired = errors.New("the credentials have expired")

// FetchCredentials gets new credentials, from a security token service for
// example, and says until when they are valid; the zero time means for ever.
// It should return when ctx ends.
type FetchCredentials func(ctx context.Context) (Credentials, time.Time, error)

// RefreshConfig says when credentials are refreshed. Zero values mean the
// defaults.
type RefreshConfig struct {
	// Name says to the operator where the credentials come from, in hints and
	// logs: "role tunnel-reader". Default "a refreshed source".
	Name string
	// Ahead is how long before they expire credentials are refreshed; of such
	// as are valid for less than twice as long, half their time. Default
	// 10 min, 1 s to 24 h.
	Ahead time.Duration
	// Timeout bounds one fetch. Default 30 s, 10 ms to 10 min.
	Timeout time.Duration
	// Retry paces the fetches after one that failed. Default 1 s, ×2, up to
	// 1 min, jitter 0.25.
	Retry Backoff
	// Logger gets a line for each refresh, at level Debug, and for each
	// failure: Warn, and Error once the credentials have expired. Default:
	// slog.Default().
	Logger *slog.Logger
}

func (cfg RefreshConfig) withDefaults() RefreshConfig {
	cfg.Name = cmp.Or(cfg.Name, "a refreshed source")
	cfg.Ahead = cmp.Or(cfg.Ahead, 10*time.Minute)
	cfg.Timeout = cmp.Or(cfg.Timeout, 30*time.Second)
	cfg.Retry = cfg.Retry.withDefaults(Backoff{First: time.Second, Max: time.Minute, Factor: 2, Jitter: 0.25})
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	return cfg
}

func (cfg RefreshConfig) validate() error {
	errs := cfg.Retry.validate("Retry")
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if t := cfg.Ahead; t < time.Second || t > 24*time.Hour {
		wrong("Ahead: %v is not between 1s and 24h", t)
	}
	if t := cfg.Timeout; t < 10*time.Millisecond || t > 10*time.Minute {
		wrong("Timeout: %v is not between 10ms and 10m", t)
	}
	return errors.Join(errs...)
}

// RefreshingCredentials are credentials that expire and are replaced in time:
// by a goroutine of their own, one fetch at a time, while requests go on with
// the old ones as long as those are valid. Only a request that comes before
// the first fetch has ended waits for it.
type RefreshingCredentials struct {
	fetch FetchCredentials
	cfg   RefreshConfig

	newest atomic.Pointer[fetched]
	first  chan struct{} // closed when the first fetch has ended
	wake   chan struct{} // it is time, whatever the timer says; holds one
	stop   context.CancelFunc
	done   sync.WaitGroup
}

var _ CredentialsProvider = (*RefreshingCredentials)(nil)

// fetched is what is known.
type fetched struct {
	get     func() Credentials // keeps the secret from fmt; nil: none yet
	expires time.Time          // zero: never
	due     time.Time          // when to fetch again; zero: never
	err     error              // of the newest fetch; nil: it succeeded
}

func (f *fetched) expired(now time.Time) bool { return !f.expires.IsZero() && !now.Before(f.expires) }

// NewRefreshingCredentials starts the goroutine that fetches; the first fetch
// begins at once. Whoever makes them closes them. The error names every
// mistake in the configuration.
func NewRefreshingCredentials(fetch FetchCredentials, cfg RefreshConfig) (*RefreshingCredentials, error) {
	cfg = cfg.withDefaults()
	err := cfg.validate()
	if fetch == nil {
		err = errors.Join(err, errors.New("fetch: missing"))
	}
	if err != nil {
		return nil, fmt.Errorf("refreshing credentials: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &RefreshingCredentials{
		fetch: fetch, cfg: cfg, stop: stop,
		first: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	r.done.Go(func() { r.refresh(ctx) })
	return r, nil
}

// Credentials returns the newest credentials at once, once the first fetch
// has ended. Before that it waits, as long as ctx lets it. The error is that
// of the newest fetch if none has succeeded yet, and [ErrCredentialsExpired]
// with that error if the credentials are no longer valid.
func (r *RefreshingCredentials) Credentials(ctx context.Context) (Credentials, error) {
	f := r.newest.Load()
	if f == nil {
		select {
		case <-r.first:
		case <-ctx.Done():
			return Credentials{}, ctx.Err()
		}
		f = r.newest.Load()
	}
	now := time.Now()
	if f.err == nil && !f.due.IsZero() && !now.Before(f.due) {
		// The timer stands still while the machine sleeps.
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	switch {
	case f.get == nil:
		return Credentials{}, f.err
	case !f.expired(now):
		return f.get(), nil
	case f.err == nil:
		return Credentials{}, fmt.Errorf("%w at %s", ErrCredentialsExpired, f.expires.Format(time.RFC3339))
	}
	return Credentials{}, fmt.Errorf("%w at %s, and new ones could not be had: %w",
		ErrCredentialsExpired, f.expires.Format(time.RFC3339), f.err)
}

// Close ends the goroutine and waits for it, a fetch under way included. The
// credentials that are there can still be used, until they expire.
func (r *RefreshingCredentials) Close() {
	r.stop()
	r.done.Wait()
}

// String says where the credentials come from.
func (r *RefreshingCredentials) String() string { return r.cfg.Name }

// GoString keeps %#v short.
func (r *RefreshingCredentials) GoString() string {
	return "tunnel.RefreshingCredentials{" + r.cfg.Name + "}"
}

// refresh fetches until ctx ends.
func (r *RefreshingCredentials) refresh(ctx context.Context) {
	log := r.cfg.Logger.With("credentials", r.cfg.Name)
	timer := time.NewTimer(0)
	defer timer.Stop()
	known := fetched{}
	for failures := 0; ; {
		next, err := r.once(ctx)
		switch {
		case err == nil:
			known, failures = next, 0
			log.Debug("credentials were refreshed", "expires", known.expires)
		default:
			known.err = err
			if ctx.Err() == nil {
				r.complain(log, &known)
			}
		}
		kept := known
		r.newest.Store(&kept)
		if isOpen(r.first) {
			close(r.first)
		}

		if err == nil {
			if !r.untilDue(ctx, timer, known.due) {
				return
			}
			continue
		}
		timer.Reset(r.cfg.Retry.wait(failures, rand.Float64()))
		failures++
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// untilDue waits until it is time to fetch again. It is false when ctx ended.
func (r *RefreshingCredentials) untilDue(ctx context.Context, timer *time.Timer, due time.Time) bool {
	var ring <-chan time.Time
	if !due.IsZero() {
		timer.Reset(time.Until(due))
		ring = timer.C
	}
	for {
		select {
		case <-ring:
			return true
		case <-r.wake:
			// It may have been meant for the fetch before.
			if !due.IsZero() && !time.Now().Before(due) {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

// once fetches.
func (r *RefreshingCredentials) once(ctx context.Context) (fetched, error) {
	limited, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	c, expires, err := r.fetch(limited)
	if err == nil {
		err = c.check()
	}
	now := time.Now()
	expires = expires.Round(0) // by the calendar: the other clock stops while the machine sleeps
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return fetched{}, fmt.Errorf("%s was closed: %w", r.cfg.Name, err)
	case limited.Err() != nil:
		// The caller's own time has not ended.
		return fetched{}, timedOut(fmt.Sprintf("no credentials within %v", r.cfg.Timeout))
	default:
		return fetched{}, err
	}
	f := fetched{get: func() Credentials { return c }, expires: expires}
	if f.expired(now) {
		return fetched{}, fmt.Errorf("what was fetched had expired at %s already: is this machine's clock right?", expires.Format(time.RFC3339))
	}
	if !expires.IsZero() {
		f.due = expires.Add(-min(r.cfg.Ahead, expires.Sub(now)/2))
	}
	return f, nil
}

// complain logs a fetch that failed.
func (r *RefreshingCredentials) complain(log *slog.Logger, f *fetched) {
	now := time.Now()
	switch {
	case f.get == nil:
		log.Error("credentials could not be had and are asked for again", "error", f.err)
	case f.expired(now):
		log.Error("the credentials have expired, and new ones could not be had; they are asked for again", "expired", f.expires, "error", f.err)
	default:
		log.Warn("the credentials could not be refreshed; the old ones are used as long as they are valid", "expires", f.expires, "error", f.err)
	}
}

func isOpen(c <-chan struct{}) bool {
	select {
	case <-c:
		return false
	default:
		return true
	}
}
