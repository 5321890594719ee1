package main

import "time"

// pace says when changes are written: some quickly, one after the other, and
// then so many a second.
type pace struct {
	quick    int           // changes that are left of the quick ones
	interval time.Duration // between two of the later ones; 0: there are none
	next     time.Time     // when the next one of them is due
	ticker   *time.Ticker
}

// newPace begins at now, with rate changes a second after the quick ones. stop
// must be called.
func newPace(quick int, rate float64, now time.Time) *pace {
	p := &pace{quick: quick}
	if rate > 0 {
		p.interval = time.Duration(float64(time.Second) / rate)
	}
	p.next = now.Add(p.interval)
	p.ticker = time.NewTicker(p.every())
	return p
}

// every is the time between two ticks.
func (p *pace) every() time.Duration {
	if p.quick > 0 || p.interval == 0 {
		return quickly
	}
	return max(p.interval, quickly/2)
}

// tick is when due is to be asked; nil if nothing will be due any more.
func (p *pace) tick() <-chan time.Time {
	if p.quick == 0 && p.interval == 0 {
		return nil
	}
	return p.ticker.C
}

// due is how many changes are to be written now. A process that was held up
// for more than a second does not catch up.
func (p *pace) due(now time.Time) (n int) {
	if p.quick > 0 {
		p.quick--
		if p.quick == 0 {
			p.next = now.Add(p.interval)
			p.ticker.Reset(p.every())
		}
		return 1
	}
	if now.Sub(p.next) > time.Second {
		p.next = now
	}
	for ; !p.next.After(now); n++ {
		p.next = p.next.Add(p.interval)
	}
	return n
}

func (p *pace) stop() { p.ticker.Stop() }
