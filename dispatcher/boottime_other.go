//go:build !linux

package dispatcher

import "time"

var started = time.Now()

// sinceBoot is the time since the process started, by the monotonic clock,
// which on some systems stands still while the machine is suspended.
func sinceBoot() time.Duration { return time.Since(started) }
