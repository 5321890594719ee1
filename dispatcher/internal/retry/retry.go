// Package retry decides what follows a failed attempt. It is the one place
// that may repeat an invocation, and it knows every class of failure.
package retry

import (
	"math/rand/v2"
	"time"

	"github.com/culvertio/culvert/dispatcher/invoke"
)

// Policy is how long to wait between attempts: First after the first
// failure, twice as long after each further one, Max at most. Both are above
// zero.
type Policy struct {
	First time.Duration
	Max   time.Duration
}

// LongestRetryAfter bounds how long a target's own wish is followed, so that
// a wrong clock at its end cannot stop a lane for good.
const LongestRetryAfter = time.Hour

// Delay is the wait after so many failures in a row, 1 and up. The second
// half of it is left to chance, so that lanes which failed together do not
// come back together; it is never less than half of First.
func (p Policy) Delay(failures int, rnd *rand.Rand) time.Duration {
	ceiling := p.First
	for range failures - 1 {
		if ceiling > p.Max/2 {
			ceiling = p.Max
			break
		}
		ceiling *= 2
	}
	ceiling = min(ceiling, p.Max)
	return ceiling - time.Duration(rnd.Int64N(int64(ceiling/2)+1))
}

// Decision is what follows a failed attempt: the same batch again, after
// Delay.
type Decision struct {
	Delay time.Duration
	// Ran: the function may have seen the batch, so that the next attempt has
	// the next number.
	Ran bool
	// Unanswered: the function may still be at work on the batch, until the
	// attempt's deadline.
	Unanswered bool
	// Alarm: it will not mend itself, or not surely: tell the operator.
	Alarm bool
}

// Decide says what follows r, the failure number failures in a row of one
// batch (1 and up, of whatever class). r.Class is not [invoke.Done]; of that
// the Decision is zero.
//
//	class           ran   unanswered  alarms
//	FunctionFailed  yes
//	TimedOut        yes
//	MayHaveRun      yes   yes         yes
//	Throttled
//	Unreachable                       yes
//	Broken                            yes
//	Refused                           yes
//
// An attempt that timed out has had its time: its deadline is what passed.
//
// The delay is the policy's, or the target's own wish if that is longer, up
// to [LongestRetryAfter].
func (p Policy) Decide(r invoke.Result, failures int, rnd *rand.Rand) Decision {
	var d Decision
	switch r.Class {
	case invoke.Done:
		return Decision{}
	case invoke.FunctionFailed, invoke.TimedOut:
		d.Ran = true
	case invoke.MayHaveRun:
		d.Ran, d.Unanswered, d.Alarm = true, true, true
	case invoke.Throttled:
	default: // Unreachable, Broken, Refused, and any class not known here
		d.Alarm = true
	}
	d.Delay = max(p.Delay(failures, rnd), min(r.RetryAfter, LongestRetryAfter))
	return d
}
