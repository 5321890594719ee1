package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// leftovers bounds the wait, after a process has ended, for output that
// something which escaped its process group still holds open, and for its
// connections.
const leftovers = time.Second

// process is one running handler.
type process struct {
	r      *Runtime
	crew   *crew
	slot   int
	cmd    *exec.Cmd
	pid    int
	out    *output
	server *http.Server
	asked  chan struct{} // closed when it asks for its first event
	events chan *invocation

	dismissed chan struct{} // closed, under Runtime.mu, when its crew is stopped and it is at nothing

	exited  chan struct{} // closed when all is over: reaped, output read unless Output blocks, server down
	drained chan struct{} // closed when its output has been read and its server is down
	status  string        // how it ended; set before exited is closed
	code    int           // likewise

	// Guarded by Runtime.mu.
	polls   int         // open requests for the next event
	current *invocation // what it works on
	useful  bool        // it was given an event
	gone    bool        // ended, or about to be killed

	signals sync.Mutex // guards reaped
	reaped  bool       // its id may belong to another process by now
}

// launch starts a process and its server. Both end by themselves when the
// process does; exited says when that is done.
func (c *crew) launch(slot int) (*process, *StartError) {
	r := c.r
	fail := func(doing string, err error) (*process, *StartError) {
		return nil, &StartError{
			Name: r.cfg.Name, Command: c.command[0], Problem: doing + ": " + err.Error(), Code: -1, Err: err,
			Hint: "Command must be a program for this machine that this user may run",
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fail("listen on the loopback interface", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		_ = listener.Close()
		return fail("make a pipe for its output", err)
	}
	p := &process{
		r: r, crew: c, slot: slot,
		asked:     make(chan struct{}),
		events:    make(chan *invocation, 1), // room for the one of current
		dismissed: make(chan struct{}),
		exited:    make(chan struct{}),
		drained:   make(chan struct{}),
	}
	// No context: what ends a process is kill, with all its group.
	p.cmd = exec.CommandContext(context.Background(), c.command[0], c.command[1:]...)
	p.cmd.Dir = r.cfg.Dir
	p.cmd.Env = c.environment(slot, listener.Addr().String())
	// One pipe for both keeps the order in which they were written. It is a
	// file, not a writer, so that Wait does not wait for a grandchild that
	// holds it open.
	p.cmd.Stdout, p.cmd.Stderr = write, write
	err = r.spawner.start(p.cmd)
	_ = write.Close()
	if err != nil {
		_, _ = read.Close(), listener.Close()
		return fail("start it", err)
	}
	p.pid = p.cmd.Process.Pid
	p.out = &output{to: r.out, prefix: fmt.Sprintf("[%s %d] ", r.cfg.Name, p.pid), requests: r.requests}
	p.server = &http.Server{
		Handler:           p.api(),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(r.cfg.Logger.Handler(), slog.LevelDebug),
	}

	r.mu.Lock()
	c.processes[slot] = p
	stopped := c.stopped
	r.mu.Unlock()
	if stopped { // stop did not see this one
		p.kill()
	}
	go p.live(listener, read)
	return p, nil
}

// live blocks until the process has ended, then clears up after it.
func (p *process) live(listener net.Listener, printed *os.File) {
	var servants sync.WaitGroup
	servants.Go(func() { p.out.readFrom(printed) })
	servants.Go(func() { _ = p.server.Serve(listener) })
	_ = p.cmd.Wait()
	p.signals.Lock()
	p.reaped = true
	// What it started dies with it. Its group exists as long as one of them
	// does, and else the number is not given out anew this quickly.
	killGroup(p.pid)
	p.signals.Unlock()

	// With the process gone, reading and serving end at once, unless somebody
	// else holds an end.
	_ = printed.SetReadDeadline(time.Now().Add(leftovers))
	ctx, cancel := context.WithTimeout(context.Background(), leftovers)
	defer cancel()
	if p.server.Shutdown(ctx) != nil {
		_ = p.server.Close()
	}
	go func() {
		servants.Wait()
		close(p.drained)
	}()
	blocked := time.NewTimer(2 * leftovers)
	defer blocked.Stop()
	select {
	case <-p.drained:
	case <-blocked.C: // in Output: neither a deadline nor Close waits for that
	}
	_ = printed.Close()
	p.status, p.code = p.cmd.ProcessState.String(), p.cmd.ProcessState.ExitCode()

	r := p.r
	r.mu.Lock()
	p.gone = true
	p.crew.processes[p.slot] = nil
	inv := p.current
	p.current = nil
	r.mu.Unlock()
	if inv != nil {
		inv.result <- result{err: &ExitError{
			RequestID: inv.id, Name: r.cfg.Name, PID: p.pid, Status: p.status, Code: p.code, LogTail: p.out.tail(),
		}}
	}
	close(p.exited)
}

// free says whether the process waits for an event. Callers hold Runtime.mu.
func (p *process) free() bool {
	return p != nil && p.polls > 0 && p.current == nil && !p.gone
}

// give gives the invocation to a free process. Callers hold Runtime.mu.
func (p *process) give(inv *invocation, now time.Time) {
	inv.p = p
	inv.limit = now.Add(p.r.cfg.Timeout)
	if !inv.within.IsZero() && inv.within.Before(inv.limit) {
		inv.limit = inv.within
	}
	p.current = inv
	p.useful = true
	p.out.mark()
	p.events <- inv
	close(inv.given)
}

// dismiss lets the process end if its crew is stopped and it is at nothing.
// Callers hold Runtime.mu.
func (p *process) dismiss() {
	if !p.crew.stopped || p.current != nil {
		return
	}
	select {
	case <-p.dismissed:
	default:
		close(p.dismissed)
	}
}

// end asks the process to end, kills it if it does not within its grace, and
// blocks until it has ended.
func (p *process) end() {
	p.terminate()
	grace := time.NewTimer(termGrace)
	defer grace.Stop()
	select {
	case <-p.exited:
	case <-grace.C:
		p.kill()
		<-p.exited
	}
}

// kill ends the process and everything that it has started.
func (p *process) kill() { p.signal(killGroup) }

// terminate asks the process to end.
func (p *process) terminate() { p.signal(terminateGroup) }

func (p *process) signal(send func(pid int)) {
	p.signals.Lock()
	defer p.signals.Unlock()
	if !p.reaped {
		send(p.pid)
	}
}

// environment is what a process is given; see [Config.Env].
func (c *crew) environment(slot int, api string) []string {
	r := c.r
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "AWS_LAMBDA_RUNTIME_API=") || strings.HasPrefix(entry, "_LAMBDA_SERVER_PORT=")
	})
	env = append(env, r.cfg.Env...)
	return append(env, // later entries win
		"FC_RUNTIME_API="+api,
		"FC_FUNCTION_NAME="+r.cfg.Name,
		"FC_FUNCTION_HANDLER="+filepath.Base(c.command[0]),
		fmt.Sprintf("FC_INSTANCE_ID=%s-%d", r.cfg.Name, slot),
		"FC_REGION="+region,
		"FC_QUALIFIER="+qualifier,
	)
}
