package main

import (
	"testing"
	"time"
)

func TestThePaceIsQuickFirstAndThenTheRate(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{0.5, 1, 7, 250, 10_000} {
		p := newPace(3, rate, noon)
		defer p.stop()
		now := noon
		for range 3 {
			now = now.Add(p.every())
			if n := p.due(now); n != 1 || p.every() > time.Second && p.quick > 0 {
				t.Fatalf("%d at once", n)
			}
		}
		written, from := 0, now
		for now.Sub(from) < 20*time.Second {
			now = now.Add(p.every())
			written += p.due(now)
		}
		if want := rate * now.Sub(from).Seconds(); float64(written) < want-1 || float64(written) > want+1 {
			t.Errorf("%d changes in %v at %v a second", written, now.Sub(from), rate)
		}
		now = now.Add(time.Hour) // the machine slept
		if n := p.due(now); float64(n) > rate+1 {
			t.Errorf("%d changes at once", n)
		}
	}
	if p := newPace(0, 0, noon); p.tick() != nil {
		t.Error("something is due where nothing is to be written")
	}
}
