package dispatcher

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is the time since the machine started, sleep included: unlike
// the monotonic clock it shows that the machine was suspended, and like it,
// that the process was stopped.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
