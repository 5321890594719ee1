//go:build unix

package runtime

import "syscall"

// The group may have ended already: nothing is lost if the signal is.

func killGroup(pid int)      { _ = syscall.Kill(-pid, syscall.SIGKILL) }
func terminateGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGTERM) }

// groupLives says whether anything of the group is left.
func groupLives(pid int) bool { return syscall.Kill(-pid, 0) == nil }
