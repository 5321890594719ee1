package runtime

import (
	"os/exec"
	goruntime "runtime"
)

// spawner starts all processes from one thread, which lives until stop.
//
// Linux kills a process when the thread that started it ends, if asked to by
// Pdeathsig: that is how handlers die with a dispatcher that was killed. The
// Go scheduler ends threads when it likes, so without a thread of its own a
// handler would be killed for no reason.
type spawner struct {
	starts  chan func()
	stopped chan struct{}
}

func startSpawner() *spawner {
	s := &spawner{starts: make(chan func()), stopped: make(chan struct{})}
	go func() {
		defer close(s.stopped)
		goruntime.LockOSThread()
		defer goruntime.UnlockOSThread() // by now no process is left
		for start := range s.starts {
			start()
		}
	}()
	return s
}

// start starts the command in a process group of its own, so that Ctrl-C does
// not reach it and that what it starts can be killed with it.
func (s *spawner) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = ownGroup()
	started := make(chan error, 1)
	s.starts <- func() { started <- cmd.Start() }
	return <-started
}

// stop ends the thread. It may be called once, when no process is left.
func (s *spawner) stop() {
	close(s.starts)
	<-s.stopped
}
