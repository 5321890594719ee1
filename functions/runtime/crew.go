package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// crew is the processes that run one command. It is given events from when it
// takes over until another crew does.
type crew struct {
	r        *Runtime
	command  []string
	slots    sync.WaitGroup // the goroutines that keep its processes up
	first    chan error     // one for each slot: how its first start went
	promoted chan struct{}  // closed when it takes over
	stopping chan struct{}  // closed by stop: nothing is started any more
	ended    chan struct{}  // closed when all its processes have ended

	// Guarded by Runtime.mu.
	stopped   bool
	processes []*process    // by slot; nil while none is up
	broken    []*StartError // by slot; why it has no working process, nil if it has
}

// Replace has another command's processes take over, and blocks until they
// have. They are started beside the old ones. Once one of them asks for its
// first event, events go to the new ones only, those that wait already among
// them; the others follow. An old process finishes what it is at, by its
// deadline at the latest, and is then ended as [Runtime.Close] does it, which
// Replace does not wait for.
//
// If none of the new processes works, or ctx ends first, they are killed and
// the old ones stay as they were. The error is then a [*StartError], a
// [*ConfigError] if command is empty, [ErrClosed], or ctx's. The same command
// may be given again, which starts a program anew that has changed. One call
// waits for another.
func (r *Runtime) Replace(ctx context.Context, command []string) error {
	if err := checkCommand(command); err != nil {
		return err
	}
	select {
	case r.replacing <- struct{}{}:
		defer func() { <-r.replacing }()
	case <-ctx.Done():
		return r.brokenOff(ctx)
	}
	return r.takeOver(ctx, command)
}

// takeOver starts a crew for the command, and puts it in the place of the
// present one as soon as it works.
func (r *Runtime) takeOver(ctx context.Context, command []string) error {
	c, err := r.newCrew(command)
	if err != nil {
		return err
	}
	if err = c.works(ctx); err == nil {
		err = r.promote(c)
	}
	if err != nil {
		r.mu.Lock()
		c.stop()
		up := slices.Clone(c.processes)
		r.mu.Unlock()
		killEach(up) // they were never given anything
		<-c.ended
	}
	return err
}

// newCrew begins to start the command's processes.
func (r *Runtime) newCrew(command []string) (*crew, error) {
	n := r.cfg.Processes
	c := &crew{
		r: r, command: slices.Clone(command),
		first:    make(chan error, n),
		promoted: make(chan struct{}),
		stopping: make(chan struct{}), ended: make(chan struct{}),
		processes: make([]*process, n), broken: make([]*StartError, n),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	r.crews = append(r.crews, c)
	for slot := range n {
		c.slots.Go(func() { c.keep(slot) })
	}
	r.ending.Go(func() {
		c.slots.Wait()
		r.mu.Lock()
		r.crews = slices.DeleteFunc(r.crews, func(other *crew) bool { return other == c })
		r.mu.Unlock()
		close(c.ended)
	})
	return c, nil
}

// works blocks until one of the crew's processes has asked for an event, or
// none will. It then returns the last [*StartError], but rather that of a
// process which ended by itself than that of one which had to be killed.
func (c *crew) works(ctx context.Context) error {
	var last error
	said := false // last is of a process that has ended by itself
	for range c.r.cfg.Processes {
		select {
		case err := <-c.first:
			if err == nil {
				return nil
			}
			// Such a process may have said why, where one that only waited has
			// not: of two that listen on one port, it knows that it is in use.
			e, failed := errors.AsType[*StartError](err)
			ended := failed && e.Code >= 0
			if ended || !said {
				last, said = err, ended
			}
		case <-ctx.Done():
			return c.r.brokenOff(ctx)
		}
	}
	return last
}

func (r *Runtime) brokenOff(ctx context.Context) error {
	return fmt.Errorf("runtime: start handler %s: %w", r.cfg.Name, context.Cause(ctx))
}

// promote gives all further events to the crew.
func (r *Runtime) promote(c *crew) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	if r.crew != nil {
		r.crew.stop()
	}
	r.crew = c
	close(c.promoted)
	r.match()
	return nil
}

// stop has every process end as soon as it has nothing more to do. Callers
// hold Runtime.mu.
func (c *crew) stop() {
	if c.stopped {
		return
	}
	c.stopped = true
	close(c.stopping)
	for _, p := range c.processes {
		if p != nil {
			p.dismiss()
		}
	}
}

// allBroken is why there is no process and will soon be none, or nil. Callers
// hold Runtime.mu.
func (c *crew) allBroken() error {
	if slices.Contains(c.broken, nil) {
		return nil
	}
	return c.broken[0]
}

// keep keeps one slot's process up until the crew is stopped, and says once
// on first how the first start went.
func (c *crew) keep(slot int) {
	said := false
	say := func(err error) {
		if !said {
			said = true
			c.first <- err
		}
	}
	pause := firstPause
	for {
		err := c.runOne(slot, func() { say(nil) })
		if c.isStopping() {
			say(ErrClosed)
			return
		}
		if err == nil {
			pause = firstPause
			continue
		}
		c.markBroken(slot, err)
		say(err)
		// Until the crew has taken over, nobody waits for this slot, and
		// whoever starts the crew tells of its errors.
		select {
		case <-c.promoted:
		case <-c.stopping:
			return
		}
		c.r.cfg.Logger.Error("a handler's process does not start; it is tried again",
			"handler", c.r.cfg.Name, "pause", pause, "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-c.stopping:
			timer.Stop()
			return
		}
		pause = min(2*pause, maxPause)
	}
}

func (c *crew) isStopping() bool {
	select {
	case <-c.stopping:
		return true
	default:
		return false
	}
}

func (c *crew) markBroken(slot int, err *StartError) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.broken[slot] = err
	c.r.match()
}

// runOne starts the slot's process and blocks until it has ended. It calls
// asked when the process asks for its first event. The error is nil if the
// process was of use: if it was given an event.
func (c *crew) runOne(slot int, asked func()) *StartError {
	p, err := c.launch(slot)
	if err != nil {
		return err
	}
	timer := time.NewTimer(c.r.cfg.StartTimeout)
	defer timer.Stop()
	problem := ""
	select {
	case <-p.asked:
		asked()
	case <-p.exited:
	case <-p.dismissed:
	case <-timer.C:
		p.kill()
		problem = fmt.Sprintf("it did not ask for an event within %v and was killed", c.r.cfg.StartTimeout)
		if c.r.cfg.Custom {
			problem = fmt.Sprintf("it was not ready within %v and was killed", c.r.cfg.StartTimeout)
		}
	}
	select {
	case <-p.exited:
	case <-p.dismissed:
		p.end()
	}
	select {
	case <-p.drained:
	case <-c.stopping: // while Output blocks, nothing takes the process's place
	}

	c.r.mu.Lock()
	useful, unready := p.useful, p.unready
	c.r.mu.Unlock()
	if useful {
		if !c.isStopping() {
			c.r.cfg.Logger.Warn("a handler's process ended and is replaced", "handler", c.r.cfg.Name, "pid", p.pid, "status", p.status)
		}
		return nil
	}
	if unready != nil {
		problem = fmt.Sprintf("it says that it cannot: %s: %s", unready.Type, unready.Message)
	} else if problem == "" {
		problem = "it ended before it had handled an event: " + p.status
	}
	hint := "its main must call functions.Start, fc.Start or lambda.Start, and come to it soon"
	if c.r.cfg.Custom {
		hint = fmt.Sprintf("it must serve HTTP on the port that FC_SERVER_PORT names, which was %d: each of the handler's processes has another one", p.port)
	}
	return &StartError{
		Name: c.r.cfg.Name, Command: c.command[0], Problem: problem, Code: p.code, LogTail: p.out.tail(), Hint: hint,
	}
}
