package emulator

import (
	"sync/atomic"
	"time"
)

// clock is the instance's idea of the time of day, which can be set wrong. It
// stamps changes and versions and says what has expired. How long a client
// has been silent is measured with the process's own clock instead: a step of
// the time of day makes nobody silent.
type clock struct {
	offset atomic.Int64 // nanoseconds from the process's time
}

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

func (c *clock) step(d time.Duration) { c.offset.Add(int64(d)) }
