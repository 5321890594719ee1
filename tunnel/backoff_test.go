package tunnel

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestABackoffGrowsByItsFactorUpToItsMax(t *testing.T) {
	b := Backoff{First: 20 * time.Millisecond, Max: 5 * time.Second, Factor: 5, Jitter: 0.25}
	var waits []time.Duration
	for n := range 6 {
		waits = append(waits, b.wait(n, 0.5))
	}
	ms := time.Millisecond
	if d := cmp.Diff([]time.Duration{20 * ms, 100 * ms, 500 * ms, 2500 * ms, 5000 * ms, 5000 * ms}, waits); d != "" {
		t.Error(d)
	}
	if got := b.wait(1<<30, 0); got != 3750*ms {
		t.Errorf("late, at its shortest: %v", got)
	}
}

func TestABackoffStaysWithinItsJitter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := Backoff{
			First:  time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(time.Hour)).Draw(t, "first")),
			Factor: rapid.Float64Range(1, 10).Draw(t, "factor"),
			Jitter: rapid.Float64Range(-1, 1).Draw(t, "jitter"),
		}
		b.Max = time.Duration(rapid.Int64Range(int64(b.First), int64(time.Hour)).Draw(t, "max"))
		if errs := b.validate("b"); errs != nil {
			t.Fatal(errs)
		}
		n := rapid.IntRange(0, 100).Draw(t, "n")
		w := b.wait(n, rapid.Float64Range(0, 0.999).Draw(t, "chance"))
		j := max(b.Jitter, 0)
		if float64(w) < float64(b.First)*(1-j)-1 || float64(w) > float64(b.Max)*(1+j) {
			t.Errorf("%+v: wait %d is %v", b, n, w)
		}
	})
}

func TestWhatABackoffLeavesOutIsTheDefault(t *testing.T) {
	d := Backoff{First: time.Second, Max: time.Minute, Factor: 2, Jitter: 0.25}
	for _, tt := range []struct{ given, want Backoff }{
		{Backoff{}, d},
		{Backoff{First: 2 * time.Minute}, Backoff{First: 2 * time.Minute, Max: 2 * time.Minute, Factor: 2, Jitter: 0.25}},
		{Backoff{Max: time.Hour, Factor: 3, Jitter: -1}, Backoff{First: time.Second, Max: time.Hour, Factor: 3, Jitter: -1}},
	} {
		if diff := cmp.Diff(tt.want, tt.given.withDefaults(d)); diff != "" {
			t.Error(diff)
		}
	}
}
