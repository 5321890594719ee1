package emulator

import (
	"math/rand/v2"
	"slices"
	"time"
)

// RandomFaults makes a mix of all faults that a consumer should survive, whose
// rates and times the seed decides: the same seed makes the same mix. Tunnels
// do not expire in it, and partitions are split three times at most. It leaves
// the table API alone, so that a program which writes rows and expects success
// is not disturbed, unless tables says that its calls fail too.
func RandomFaults(seed uint64, tables bool) Faults {
	rnd := rand.New(rand.NewPCG(seed, 0x63756c76657274))
	rate := func(most float64) float64 { return most * (0.2 + 0.8*rnd.Float64()) }
	span := func(most time.Duration) Span {
		to := most/10 + time.Duration(rnd.Int64N(int64(most)*9/10))
		return Span{From: to / 10, To: to}.round()
	}
	f := Faults{Seed: seed, Rules: []Fault{
		{Kind: FaultError, Rate: rate(0.1)},
		{Kind: FaultError, Rate: rate(0.01), Code: codeInternal},
		{Kind: FaultGateway, Rate: rate(0.03), Status: []int{429, 502, 503, 504}[rnd.IntN(4)]},
		{Kind: FaultLatency, Rate: rate(0.1), Delay: span(2 * time.Second)},
		{Kind: FaultCutRequest, Rate: rate(0.03)},
		{Kind: FaultCutAnswer, Rate: rate(0.03)},
		{Kind: FaultCutBody, Rate: rate(0.05)},
		{Kind: FaultGarbage, Rate: rate(0.02)},
		{Kind: FaultDropRequest, Rate: rate(0.01), Delay: span(20 * time.Second)},
		{Kind: FaultDropAnswer, Rate: rate(0.01), Delay: span(20 * time.Second)},
		{Kind: FaultDropRequest, Calls: []string{"Heartbeat"}, Rate: rate(0.05), Delay: span(5 * time.Second)},
		{Kind: FaultDropAnswer, Calls: []string{"Heartbeat"}, Rate: rate(0.05), Delay: span(5 * time.Second)},
		{Kind: FaultPageSize, Rate: rate(0.5), Records: 1 + rnd.IntN(200)},
		{Kind: FaultRepeatPage, Rate: rate(0.1), Records: 1 + rnd.IntN(20)},
		{Kind: FaultMove, Calls: []string{"Heartbeat"}, Rate: rate(0.1)},
		{Kind: FaultSplit, Calls: []string{"ReadRecords"}, Rate: rate(0.01), Count: 1 + rnd.IntN(3)},
		{Kind: FaultExpireClient, Calls: []string{"Heartbeat", "ReadRecords", "Checkpoint"}, Rate: rate(0.005)},
		{Kind: FaultStepClock, Rate: rate(0.01), Step: Span{-time.Minute, time.Minute}},
	}}
	if tables {
		for _, r := range slices.Clone(f.Rules) {
			if a, _ := r.Kind.aspect(); (a == hitsOutcome || a == hitsDelay) && len(r.Calls) == 0 {
				r.Calls = tableCalls()
				f.Rules = append(f.Rules, r)
			}
		}
	}
	return f
}

// tableCalls are the names of the table API's calls, sorted.
func tableCalls() []string {
	return slices.DeleteFunc(CallNames(), isTunnelCall)
}

// round makes a span one that reads well.
func (s Span) round() Span {
	return Span{s.From.Round(time.Millisecond), s.To.Round(time.Millisecond)}
}
