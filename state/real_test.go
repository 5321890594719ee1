package state_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/culvertio/culvert/state"
	"github.com/culvertio/culvert/state/ledgertest"
)

// What only a real server does.

func TestARealRedisIsPingedWithWhatWeakensIt(t *testing.T) {
	s, url := ledgertest.Real(t, ledgertest.Open)
	l := s.Open(t)
	ping := func() string {
		t.Helper()
		warning, err := l.Ping(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return warning
	}
	configure(t, url, "maxmemory-policy", "noeviction")
	configure(t, url, "appendonly", "yes")
	if got := ping(); got != "" {
		t.Errorf("a fit server is warned of: %s", got)
	}
	configure(t, url, "maxmemory-policy", "allkeys-lru")
	if got := ping(); !strings.Contains(got, "set it to noeviction") || !strings.Contains(got, s.Address) {
		t.Errorf("maxmemory-policy: %s", got)
	}
	configure(t, url, "appendonly", "no")
	got := ping()
	if !strings.Contains(got, "set it to noeviction") || !strings.Contains(got, "set appendonly to yes") {
		t.Errorf("both: %s", got)
	}
	// Nor does a fit server spare what was settled since the checkpoint.
	if !strings.Contains(got, "waits for what is under way, a stale owner cannot settle") || strings.Contains(got, "delivered again") {
		t.Errorf("what is weakened: %s", got)
	}

	defer ledgertest.Do(t, url, "REPLICAOF", "NO", "ONE")
	ledgertest.Do(t, url, "REPLICAOF", "127.0.0.1", "1")
	if _, err := l.Ping(t.Context()); !errors.Is(err, state.ErrUnavailable) || !strings.Contains(err.Error(), "must name the primary") {
		t.Errorf("a replica: %v", err)
	}
	_, err := l.Attach(t.Context(), state.AttachRequest{Channel: channel, Nonce: "n"})
	if !errors.Is(err, state.ErrUnavailable) || !strings.Contains(err.Error(), "must name the primary") {
		t.Errorf("attach on a replica: %v", err)
	}
}

func TestAtItsMaxmemoryARealRedisSettlesTrimsAndReleases(t *testing.T) {
	s, url := ledgertest.Real(t, ledgertest.Open)
	l := s.Open(t)
	a, err := l.Attach(t.Context(), state.AttachRequest{Channel: channel, Nonce: "n"})
	if err != nil {
		t.Fatal(err)
	}
	one, two, three := state.Lane{Trigger: "x", Index: 1}, state.Lane{Trigger: "x", Index: 2}, state.Lane{Trigger: "x", Index: 3}
	for _, lane := range []state.Lane{one, two} {
		if _, err := l.Begin(t.Context(), a.Owner, lane, state.Batch{ID: "1"}); err != nil {
			t.Fatal(err)
		}
	}
	configure(t, url, "maxmemory", "1")
	// A server that has also lost its scripts must still be given them.
	s.ForgetScripts(t)

	for lane, remainder := range map[state.Lane]*state.Batch{one: nil, two: {ID: "rest"}} {
		if err := l.Settle(t.Context(), a.Owner, state.Settlement{Lane: lane, BatchID: "1", Remainder: remainder}); err != nil {
			t.Error(err)
		}
	}
	_, err = l.Begin(t.Context(), a.Owner, three, state.Batch{ID: "1"})
	if !errors.Is(err, state.ErrUnavailable) || !strings.Contains(err.Error(), "maxmemory") {
		t.Errorf("begin: %v", err)
	}
	if failure, typed := errors.AsType[*state.Failure](err); !typed || failure.Hint == "" {
		t.Errorf("begin gives no hint: %v", err)
	}
	_, err = l.Attach(t.Context(), state.AttachRequest{Channel: channel, Nonce: "other"})
	if !errors.Is(err, state.ErrUnavailable) {
		t.Errorf("attach: %v", err)
	}
	if err := l.Trim(t.Context(), a.Owner, map[state.Lane]state.Mark{one: {}}); err != nil {
		t.Error(err)
	}
	if err := l.Release(t.Context(), a.Owner, false); err != nil {
		t.Error(err)
	}

	configure(t, url, "maxmemory", "0")
	// What was refused changed nothing.
	next, err := l.Attach(t.Context(), state.AttachRequest{Channel: channel, Nonce: "next"})
	if err != nil {
		t.Fatal(err)
	}
	if next.Owner.Epoch != a.Owner.Epoch+1 || len(next.Lanes) != 1 || next.Lanes[0].Lane != two || next.Lanes[0].InFlight.ID != "rest" {
		t.Errorf("the next owner found %+v", next)
	}
	configure(t, url, "maxmemory", "1")
	if err := l.Release(t.Context(), next.Owner, true); err != nil {
		t.Error(err)
	}
	configure(t, url, "maxmemory", "0")
}

func configure(t *testing.T, url, name, value string) {
	t.Helper()
	ledgertest.Do(t, url, "CONFIG", "SET", name, value)
}
