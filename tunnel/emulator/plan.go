package emulator

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
)

// plan decides which faults happen to which calls. It is a pure function of
// its faults and of the calls that it was asked about so far; it does nothing
// by itself.
type plan struct {
	seed  uint64
	rules []plannedRule
	calls map[string]uint64 // that were asked about, by name
}

type plannedRule struct {
	Fault
	hits int
}

func newPlan(f Faults) *plan {
	p := &plan{seed: f.Seed, calls: make(map[string]uint64)}
	for _, r := range f.Rules {
		p.rules = append(p.rules, plannedRule{Fault: r.withDefaults()})
	}
	return p
}

// strike is what happens to one call.
type strike struct {
	outcome  Fault         // its Kind is empty: the call takes its course
	delay    time.Duration // before it is processed
	silence  time.Duration // of an outcome that drops
	page     pageFault
	commands []commandFault
	kinds    []FaultKind // all of them
}

// pageFault changes a page. The zero value changes nothing.
type pageFault struct {
	records, bytes int // where it ends; 0: as configured
	repeat         int // how many of its last records come again, as far as it has them
}

// commandFault is a command to carry out.
type commandFault struct {
	kind   FaultKind
	step   time.Duration
	chance uint64 // picks a channel or a partition
}

// next decides about the next call of a name.
func (p *plan) next(call string) strike {
	var s strike
	if len(p.rules) == 0 {
		return s
	}
	n := p.calls[call]
	p.calls[call]++
	for i := range p.rules {
		r := &p.rules[i]
		if !slices.Contains(r.Calls, call) || r.Count > 0 && r.hits == r.Count {
			continue
		}
		rnd := rand.New(rand.NewPCG(p.seed+uint64(i)<<32, xxhash.Sum64String(call)+n))
		if rnd.Float64() >= r.Rate {
			continue
		}
		if s.add(r.Fault, rnd) {
			r.hits++
			s.kinds = append(s.kinds, r.Kind)
		}
	}
	return s
}

// add takes a fault in, unless the call has another outcome already.
func (s *strike) add(f Fault, rnd *rand.Rand) bool {
	switch a, _ := f.Kind.aspect(); a {
	case hitsOutcome:
		if s.outcome.Kind != "" {
			return false
		}
		s.outcome = f
		s.silence = f.Delay.draw(rnd)
	case hitsDelay:
		s.delay += f.Delay.draw(rnd)
	case hitsPage:
		if f.Kind == FaultRepeatPage {
			s.page.repeat = 1 + rnd.IntN(f.Records)
			break
		}
		if f.Records > 0 {
			s.page.records = 1 + rnd.IntN(f.Records)
		}
		if f.Bytes > 0 {
			s.page.bytes = 1 + rnd.IntN(f.Bytes)
		}
	case hitsCommand:
		s.commands = append(s.commands, commandFault{kind: f.Kind, step: f.Step.draw(rnd), chance: rnd.Uint64()})
	}
	return true
}

// draw gives a time of the span, with both ends.
func (s Span) draw(rnd *rand.Rand) time.Duration {
	return s.From + time.Duration(rnd.Int64N(int64(s.To-s.From)+1))
}
