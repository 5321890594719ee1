package emulator

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// clock is the instance's idea of the time of day, which can be set wrong. It
// stamps changes and versions and says what has expired. How long a client
// has been silent is measured with the process's own clock instead: a step of
// the time of day makes nobody silent.
//
// Every table and tunnel has the instance's clock, which brings them the
// switches too.
type clock struct {
	offset   atomic.Int64 // nanoseconds from the process's time
	steps    atomic.Int32
	switches switchboard
}

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

func (c *clock) step(d time.Duration) {
	c.offset.Add(int64(d))
	c.steps.Add(1)
}

// stamp is when a change is made, and how its record is to look.
type stamp struct {
	at    int64 // microseconds since the epoch
	epoch int32
	Switches
}

// stamp a change of now in a log that is so many splits away from the table's
// first.
func (c *clock) stamp(now time.Time, splits int32) stamp {
	s := stamp{at: now.UnixMicro(), Switches: c.switches.get()}
	if s.EpochRises {
		s.epoch = splits + c.steps.Load()
	}
	return s
}

// backEvery and backBy are how often and by how much a time steps back, if it
// does.
const (
	backEvery = 4
	backBy    = 10_000 // microseconds
)

// position is where a change stands in a log whose last one stands at last, and
// the latest at newest; n changes are ahead of it.
func (s stamp) position(last plainbuffer.Sequence, newest int64, n int) plainbuffer.Sequence {
	p := plainbuffer.Sequence{Epoch: s.epoch, Timestamp: s.at}
	newest = max(newest, last.Timestamp)
	switch {
	case s.TimestampsStepBack:
		if n%backEvery == backEvery-1 {
			p.Timestamp -= backBy
		}
		// The place in the log tells positions apart, whatever the clock does.
		p.RowIndex = int32(n & math.MaxInt32)
	case n > 0 && p.Timestamp <= newest:
		p.Timestamp, p.RowIndex = newest, last.RowIndex+1
	}
	if s.EqualPositions {
		p.RowIndex = 0
		if ms := p.Timestamp / 1000 * 1000; s.TimestampsStepBack || ms >= newest {
			p.Timestamp = ms
		}
	}
	return p
}
