package retry_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/dispatcher/internal/retry"
	"github.com/culvertio/culvert/dispatcher/invoke"
)

func seeded() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func TestEachClassHasItsDecision(t *testing.T) {
	policy := retry.Policy{First: time.Second, Max: time.Second}
	for _, c := range []struct {
		name  string
		class invoke.Class
		want  retry.Decision
	}{
		{"function failed", invoke.FunctionFailed, retry.Decision{Ran: true}},
		{"timed out", invoke.TimedOut, retry.Decision{Ran: true}},
		{"may have run", invoke.MayHaveRun, retry.Decision{Ran: true, Unanswered: true, Alarm: true}},
		{"throttled", invoke.Throttled, retry.Decision{}},
		{"unreachable", invoke.Unreachable, retry.Decision{Alarm: true}},
		{"broken", invoke.Broken, retry.Decision{Alarm: true}},
		{"refused", invoke.Refused, retry.Decision{Alarm: true}},
		{"a class of the future", invoke.Class(99), retry.Decision{Alarm: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := policy.Decide(invoke.Result{Class: c.class}, 1, seeded())
			if got.Delay <= 0 {
				t.Errorf("would be repeated at once")
			}
			got.Delay = 0
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := policy.Decide(invoke.Result{Class: invoke.Done}, 1, seeded()); got != (retry.Decision{}) {
		t.Errorf("what is done is decided on: %+v", got)
	}
}

func TestATargetsOwnWishIsFollowedWithinReason(t *testing.T) {
	policy := retry.Policy{First: time.Second, Max: time.Minute}
	for _, c := range []struct{ wish, want time.Duration }{
		{5 * time.Minute, 5 * time.Minute},
		{24 * 365 * time.Hour, retry.LongestRetryAfter},
	} {
		r := invoke.Result{Class: invoke.Throttled, RetryAfter: c.wish}
		if got := policy.Decide(r, 1, seeded()).Delay; got != c.want {
			t.Errorf("a wish of %v is followed for %v, want %v", c.wish, got, c.want)
		}
	}
	r := invoke.Result{Class: invoke.Throttled, RetryAfter: time.Millisecond}
	if got := policy.Decide(r, 10, seeded()).Delay; got < policy.Max/2 {
		t.Errorf("a short wish shortens the backoff to %v", got)
	}
}

func TestDelaysDoubleUpToTheLongest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		longest := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "max"))
		policy := retry.Policy{First: time.Duration(rapid.Int64Range(1, int64(longest)).Draw(t, "first")), Max: longest}
		failures := rapid.OneOf(rapid.IntRange(1, 50), rapid.IntMin(1)).Draw(t, "failures")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))

		want := longest
		if failures < 50 && policy.First <= longest>>(failures-1) {
			want = policy.First << (failures - 1)
		}
		got := policy.Delay(failures, rnd)
		if got > want || got < want/2 || got <= 0 {
			t.Fatalf("%+v after %d failures: %v, want %v to %v", policy, failures, got, want/2, want)
		}
	})
}

func TestDelaysUseTheirWholeRange(t *testing.T) {
	policy, rnd := retry.Policy{First: 1000, Max: 1000}, seeded()
	least, most := time.Duration(1000), time.Duration(0)
	for range 20_000 {
		d := policy.Delay(1, rnd)
		least, most = min(least, d), max(most, d)
	}
	if least != 500 || most != 1000 {
		t.Errorf("delays from %d to %d, want 500 to 1000", least, most)
	}
}
