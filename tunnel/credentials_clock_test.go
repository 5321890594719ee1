package tunnel

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// A machine that slept: the timer is late, and the clock that Go measures
// with stood still, but the day went on.

func TestCredentialsExpireByTheCalendar(t *testing.T) {
	r := &RefreshingCredentials{cfg: RefreshConfig{}.withDefaults()}
	r.fetch = func(context.Context) (Credentials, time.Time, error) {
		return Credentials{AccessKeyID: "id", AccessKeySecret: "secret"}, time.Now().Add(time.Hour), nil
	}
	f, err := r.once(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Round strips the reading of the clock that stands still.
	if f.expires != f.expires.Round(0) || f.due != f.due.Round(0) {
		t.Errorf("they expire at %v and are due at %v, by a clock that may stand still", f.expires, f.due)
	}
}

func TestARequestThatFindsTheCredentialsDueWakesTheRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &RefreshingCredentials{wake: make(chan struct{}, 1), cfg: RefreshConfig{Logger: slog.New(slog.DiscardHandler)}.withDefaults()}
		now := time.Now()
		known := fetched{get: func() Credentials { return Credentials{AccessKeyID: "old"} }, expires: now.Add(time.Hour), due: now.Add(time.Minute)}
		r.newest.Store(&known)
		ask := func() {
			t.Helper()
			if c, err := r.Credentials(t.Context()); err != nil || c.AccessKeyID != "old" {
				t.Errorf("%v, %v", c, err)
			}
		}
		ask()
		if len(r.wake) != 0 {
			t.Error("it is woken before its time")
		}
		time.Sleep(time.Minute)
		ask()
		ask() // nobody waits for it
		if len(r.wake) != 1 {
			t.Error("it is not woken")
		}

		// What was meant for the fetch before does not begin the next one.
		timer := time.NewTimer(0)
		began := time.Now()
		if !r.untilDue(t.Context(), timer, began.Add(time.Hour)) || time.Since(began) != time.Hour {
			t.Errorf("the next fetch begins after %v", time.Since(began))
		}
	})
}
