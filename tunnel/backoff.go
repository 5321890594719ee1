package tunnel

import (
	"cmp"
	"fmt"
	"time"
)

// Backoff is a series of waits: each is Factor times the last, up to Max, and
// then longer or shorter, at random, by up to Jitter of itself.
type Backoff struct {
	First  time.Duration // 1 ms to Max
	Max    time.Duration // to 1 h
	Factor float64       // 1 to 10
	Jitter float64       // a share of the wait, to 1. Negative: none
}

// withDefaults fills in what was left out.
func (b Backoff) withDefaults(d Backoff) Backoff {
	return Backoff{
		First:  cmp.Or(b.First, d.First),
		Max:    cmp.Or(b.Max, max(d.Max, b.First)),
		Factor: cmp.Or(b.Factor, d.Factor),
		Jitter: cmp.Or(b.Jitter, d.Jitter),
	}
}

// validate names all that is wrong with a backoff whose defaults are filled
// in. name is the field that holds it.
func (b Backoff) validate(name string) []error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(name+"."+format, args...)) }

	if b.First < time.Millisecond || b.First > b.Max {
		wrong("First: %v is not between 1ms and Max, %v", b.First, b.Max)
	}
	if b.Max > time.Hour {
		wrong("Max: %v is more than 1h", b.Max)
	}
	if !(b.Factor >= 1 && b.Factor <= 10) {
		wrong("Factor: %v is not between 1 and 10", b.Factor)
	}
	if !(b.Jitter <= 1) {
		wrong("Jitter: %v is more than 1", b.Jitter)
	}
	return errs
}

// wait is the wait numbered n, which counts from 0. chance is in [0, 1).
func (b Backoff) wait(n int, chance float64) time.Duration {
	w, longest := float64(b.First), float64(b.Max)
	for range n {
		if w >= longest || b.Factor == 1 {
			break
		}
		w *= b.Factor
	}
	jitter := max(b.Jitter, 0)
	return time.Duration(min(w, longest) * (1 - jitter + 2*jitter*chance))
}
