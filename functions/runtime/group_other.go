//go:build !unix

package runtime

import (
	"os"
	"syscall"
)

// Without process groups, only the process itself is ended.

func ownGroup() *syscall.SysProcAttr { return nil }

func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

func terminateGroup(pid int) { killGroup(pid) }

func groupLives(int) bool { return false }
