package runtime

import "syscall"

// ownGroup makes a process lead a group of its own and die with the thread
// that started it; see [spawner]. What the process itself starts is not
// killed in this way.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
