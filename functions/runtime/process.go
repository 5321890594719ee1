package runtime

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
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
	arn    string        // of the function, as Lambda would name it
	server *http.Server  // of the runtime APIs; nil for a program of a custom runtime
	port   int           // that such a program must listen on, else 0
	held   io.Closer     // holds port
	base   string        // of its URLs, once it listens
	asked  chan struct{} // closed when it asks for its first event
	events chan *invocation

	dismissed chan struct{} // closed, under Runtime.mu, when its crew is stopped and it is at nothing

	ended   chan struct{}      // closed when the process itself has ended
	hung    context.Context    // ends when nothing more that it sent is waited for
	hangUp  context.CancelFunc // ends hung
	exited  chan struct{}      // closed when all is over: reaped, output read unless Output blocks, server down
	drained chan struct{}      // closed when its output has been read and its server is down
	status  string             // how it ended; set before exited is closed
	code    int                // likewise

	// Guarded by Runtime.mu.
	polls    int            // open requests for the next event
	dialect  *dialect       // which runtime API it took its first event from; nil: none yet
	unready  *FunctionError // what it said before that of why it will not
	current  *invocation    // what it works on
	answered string         // the id of the request that it answered last
	useful   bool           // it was given an event
	gone     bool           // ended, or about to be killed; it works on nothing then

	signals    sync.Mutex    // guards what follows
	reaped     bool          // its id may belong to another process by now
	terminated bool          // it was asked to end
	killed     chan struct{} // closed by kill
}

// launch starts a process and what gives it its events. Both end by themselves
// when the process does; exited says when that is done.
func (c *crew) launch(slot int) (*process, *StartError) {
	r := c.r
	fail := func(doing string, err error) (*process, *StartError) {
		return nil, &StartError{
			Name: r.cfg.Name, Command: c.command[0], Problem: doing + ": " + err.Error(), Code: -1, Err: err,
			Hint: startHint(c.command[0], err),
		}
	}
	p := &process{
		r: r, crew: c, slot: slot,
		asked:     make(chan struct{}),
		events:    make(chan *invocation, 1), // room for the one of current
		dismissed: make(chan struct{}),
		killed:    make(chan struct{}),
		ended:     make(chan struct{}),
		exited:    make(chan struct{}),
		drained:   make(chan struct{}),
	}
	p.hung, p.hangUp = context.WithCancel(context.Background())
	env := c.environment(slot)
	listener, env, err := p.door(env)
	if err != nil {
		return fail("listen on the loopback interface", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		p.shut(listener)
		return fail("make a pipe for its output", err)
	}
	// No context: what ends a process is kill, with all its group.
	p.cmd = exec.CommandContext(context.Background(), c.command[0], c.command[1:]...)
	p.cmd.Dir = r.cfg.Dir
	p.cmd.Env = env
	// One pipe for both keeps the order in which they were written. It is a
	// file, not a writer, so that Wait does not wait for a grandchild that
	// holds it open.
	p.cmd.Stdout, p.cmd.Stderr = write, write
	err = r.spawner.start(p.cmd)
	_ = write.Close()
	if err != nil {
		_ = read.Close()
		p.shut(listener)
		return fail("start it", err)
	}
	p.pid = p.cmd.Process.Pid
	p.out = &output{to: r.out, prefix: fmt.Sprintf("[%s %d] ", r.cfg.Name, p.pid), requests: r.requests}

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

// door is where the process and its events meet: a listener for the runtime
// APIs, or a port for a program of a custom runtime. It adds to env where that
// is.
func (p *process) door(env []string) (net.Listener, []string, error) {
	if p.r.cfg.Custom {
		var err error
		if p.port, p.held, err = reservePort(); err != nil {
			return nil, nil, err
		}
		return nil, append(env, fmt.Sprintf("FC_SERVER_PORT=%d", p.port), fmt.Sprintf("PORT=%d", p.port)), nil
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	p.arn = "arn:aws:lambda:" + regionIn(env) + ":" + lambdaAccount + ":function:" + p.r.cfg.Name
	p.server = &http.Server{
		Handler:           p.api(),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(p.r.cfg.Logger.Handler(), slog.LevelDebug),
	}
	env = append(env, p.crew.lambdaEnvironment(env)...)
	address := listener.Addr().String()
	return listener, append(env, "FC_RUNTIME_API="+address, "AWS_LAMBDA_RUNTIME_API="+address), nil
}

// shut undoes door.
func (p *process) shut(listener net.Listener) {
	p.hangUp()
	if listener != nil {
		_ = listener.Close()
	} else {
		_ = p.held.Close()
	}
}

// live blocks until the process has ended, then clears up after it.
func (p *process) live(listener net.Listener, printed *os.File) {
	var servants sync.WaitGroup
	servants.Go(func() { p.out.readFrom(printed) })
	if p.server != nil {
		servants.Go(func() { _ = p.server.Serve(listener) })
	} else {
		servants.Go(p.drive)
	}
	_ = p.cmd.Wait()
	if p.isTerminated() {
		p.outlast()
	}
	p.signals.Lock()
	p.reaped = true
	// What it started dies with it. Its group exists as long as one of them
	// does, and else the number is not given out anew this quickly.
	killGroup(p.pid)
	p.signals.Unlock()
	close(p.ended)

	// With the process gone, reading and serving end at once, unless somebody
	// else holds an end.
	_ = printed.SetReadDeadline(time.Now().Add(leftovers))
	late := time.AfterFunc(leftovers, p.hangUp)
	defer late.Stop()
	if p.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), leftovers)
		defer cancel()
		if p.server.Shutdown(ctx) != nil {
			_ = p.server.Close()
		}
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
	p.shut(listener)
	p.status, p.code = p.cmd.ProcessState.String(), p.cmd.ProcessState.ExitCode()

	r := p.r
	r.mu.Lock()
	p.gone = true
	p.crew.processes[p.slot] = nil
	inv := p.current
	p.current = nil
	r.mu.Unlock()
	select {
	case unread := <-p.events: // nobody asked for it any more
		close(unread.written)
	default:
	}
	if inv != nil {
		inv.result <- result{err: &ExitError{
			RequestID: inv.id, Name: r.cfg.Name, PID: p.pid, Status: p.status, Code: p.code, LogTail: p.out.tail(),
		}}
	}
	close(p.exited)
}

// outlast waits, after a process that was asked to end has ended, for what it
// has started: a shell ends at once, but the program that it ran still has its
// grace.
func (p *process) outlast() {
	look := time.NewTicker(maxLook / 10)
	defer look.Stop()
	for groupLives(p.pid) {
		select {
		case <-look.C:
		case <-p.killed:
			return
		}
	}
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
func (p *process) kill() {
	p.signals.Lock()
	defer p.signals.Unlock()
	select {
	case <-p.killed:
	default:
		close(p.killed)
	}
	if !p.reaped {
		killGroup(p.pid)
	}
}

// terminate asks the process, and everything that it has started, to end.
func (p *process) terminate() {
	p.signals.Lock()
	defer p.signals.Unlock()
	p.terminated = true
	if !p.reaped {
		terminateGroup(p.pid)
	}
}

func (p *process) isTerminated() bool {
	p.signals.Lock()
	defer p.signals.Unlock()
	return p.terminated
}
