// Package runtime runs handlers on this machine. To unmodified handler
// binaries it serves the runtime APIs of Function Compute (version 2020-11-11)
// and of AWS Lambda (version 2018-06-01); to programs for a custom runtime of
// Function Compute, in any language, it posts events ([Config.Custom]).
//
// A handler binary is told of both APIs, FC_RUNTIME_API and
// AWS_LAMBDA_RUNTIME_API, and takes the one that it was built for: each SDK
// looks at its own variable only, and functions.Start prefers Function
// Compute. Whichever a process asks for an event first is its API for good. It
// gets no event over the other, where its answers are refused.
//
// Each process has a listener or a port of its own on the loopback interface,
// so that it is known who asks and who answers, and is given one event at a
// time. A process that crashes, hangs or is killed is replaced. As on the
// platforms, a panic is the function's failure; aws-lambda-go then ends its
// process, which is started anew.
//
// What a process has started ends when it does, unless it has left its process
// group. On Linux the processes themselves die with this one, whatever ends it;
// elsewhere only Close ends them.
package runtime

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/culvertio/culvert/functions"
)

// AnswerLimit bounds a handler's answer, in bytes: Lambda's 6 MiB, the
// narrowest of the platforms that a handler may meet.
const AnswerLimit = 6 << 20

// MostProcesses bounds the processes of one handler.
const MostProcesses = 256

const (
	firstPause = 100 * time.Millisecond // before a process that does not start is tried again
	maxPause   = 10 * time.Second
	termGrace  = 3 * time.Second // from SIGTERM to SIGKILL, when closing
)

// Runtime runs one handler. Its methods may be called from many goroutines.
type Runtime struct {
	cfg       Config
	out       *lockedWriter
	spawner   *spawner
	journal   *functions.Journal // nil: none
	requests  string             // what the ids of this runtime's requests begin with
	ending    sync.WaitGroup     // one for each crew that has not ended
	active    sync.WaitGroup     // calls of Invoke
	replacing chan struct{}      // holds a value while Replace is at work
	shut      sync.Once

	// mu guards what follows, and the fields of crew, process and invocation
	// that say so. Nothing blocks while holding it.
	mu      sync.Mutex
	closed  bool
	crew    *crew         // whose processes are given events
	crews   []*crew       // all that may have processes: crew, one that starts, and those that end
	waiting []*invocation // for a free process, first come first served
	count   int           // of requests
}

// Start starts the handler's processes and blocks until one of them asks for
// its first event; the others follow. If none does, each having been started
// once, it returns one of their [*StartError]; a Config that cannot be used is a [*ConfigError]. ctx bounds
// the start only.
func Start(ctx context.Context, cfg Config) (*Runtime, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Runtime{
		cfg:       cfg,
		out:       &lockedWriter{w: cfg.Output},
		spawner:   startSpawner(),
		journal:   functions.OpenJournal(cfg.Journal),
		requests:  rand.Text(),
		replacing: make(chan struct{}, 1),
	}
	if err := r.takeOver(ctx, cfg.Command); err != nil {
		_ = r.Close(ctx)
		return nil, err
	}
	return r, nil
}

// invocation is one call of Invoke. It gets either a refusal or, once it has
// been given out, a result.
type invocation struct {
	id      string
	event   []byte
	within  time.Time     // the caller's deadline; zero: none
	refused chan error    // with room for the one
	given   chan struct{} // closed when a process is given the event
	written chan struct{} // closed when event is no longer read from
	result  chan result   // with room for the one

	// Set before given is closed.
	p     *process
	limit time.Time // the deadline
}

type result struct {
	answer []byte
	err    error
}

// Invoke gives the event to a free process, waiting for one if need be, and
// returns the handler's answer: whatever bytes it posted, JSON as the SDKs
// make it. The errors:
//
//   - [*FunctionError]: the handler failed.
//   - [*ExitError]: its process ended.
//   - [*DeadlineError]: it did not answer within Timeout, or before ctx ended;
//     its process has been killed, so that nothing works on the event any more.
//   - [*BusyError], [*StartError], [ErrClosed]: no process was given the event.
//
// event is not read from after Invoke has returned.
func (r *Runtime) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	if ctx.Err() != nil { // a process must not be killed for an event that nobody waits for
		return nil, r.busy(ctx)
	}
	inv, err := r.enqueue(ctx, event)
	if err != nil {
		return nil, err
	}
	defer r.active.Done()

	select {
	case <-inv.given:
		return r.await(ctx, inv)
	case err := <-inv.refused:
		return nil, err
	case <-ctx.Done():
		if r.withdraw(inv) {
			return nil, r.busy(ctx)
		}
	}
	select { // it left the line at the same moment
	case <-inv.given:
		return r.await(ctx, inv)
	case err := <-inv.refused:
		return nil, err
	}
}

func (r *Runtime) busy(ctx context.Context) error {
	return &BusyError{Name: r.cfg.Name, Processes: r.cfg.Processes, Err: ctx.Err()}
}

// enqueue makes the invocation and puts it in the line.
func (r *Runtime) enqueue(ctx context.Context, event []byte) (*invocation, error) {
	inv := &invocation{
		event:   event,
		refused: make(chan error, 1),
		given:   make(chan struct{}),
		written: make(chan struct{}),
		result:  make(chan result, 1),
	}
	inv.within, _ = ctx.Deadline()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	r.active.Add(1)
	r.count++
	inv.id = fmt.Sprintf("%s-%d", r.requests, r.count)
	r.waiting = append(r.waiting, inv)
	r.match()
	return inv, nil
}

// withdraw takes the invocation out of the line, and reports whether it was
// still in it.
func (r *Runtime) withdraw(inv *invocation) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.waiting, inv)
	if i < 0 {
		return false
	}
	r.waiting = slices.Delete(r.waiting, i, i+1)
	return true
}

// await waits for the answer to an invocation that has been given out.
func (r *Runtime) await(ctx context.Context, inv *invocation) ([]byte, error) {
	ctx, cancel := context.WithDeadline(ctx, inv.limit)
	defer cancel()
	recorded := r.begin(inv)
	var res result
	select {
	case res = <-inv.result:
	case <-ctx.Done():
		res = r.giveUp(inv, ctx.Err())
	}
	<-inv.written
	res = recorded.end(res)
	return res.answer, res.err
}

// giveUp kills the process that works on the invocation, unless it has just
// answered or ended.
func (r *Runtime) giveUp(inv *invocation, cause error) result {
	p := inv.p
	r.mu.Lock()
	if p.current != inv {
		r.mu.Unlock()
		return <-inv.result
	}
	p.current = nil
	p.gone = true // a late answer is refused, and nothing else is given to it
	r.mu.Unlock()
	p.kill()
	<-p.exited
	return result{err: &DeadlineError{
		RequestID: inv.id, Name: r.cfg.Name, PID: p.pid, Timeout: r.cfg.Timeout, Err: cause, LogTail: p.out.tail(),
	}}
}

// match gives waiting invocations to free processes, or fails them if no slot
// can get a process up. Callers hold mu.
func (r *Runtime) match() {
	if r.crew == nil { // Start is not done yet
		return
	}
	for len(r.waiting) > 0 {
		i := slices.IndexFunc(r.crew.processes, (*process).free)
		if i < 0 {
			break
		}
		inv := r.waiting[0]
		r.waiting = slices.Delete(r.waiting, 0, 1)
		r.crew.processes[i].give(inv, time.Now())
	}
	if err := r.crew.allBroken(); err != nil {
		r.failWaiting(err)
	}
}

func (r *Runtime) failWaiting(err error) {
	for _, inv := range r.waiting {
		inv.refused <- err
	}
	r.waiting = nil
}

// Close waits for the invocations under way, asks each process that has no
// more to do to end (SIGTERM) and kills it if it has not done so after three
// seconds. When ctx ends, everything is killed at once, and its error
// returned. Close blocks until every process has ended. It may be called more
// than once.
func (r *Runtime) Close(ctx context.Context) error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		r.failWaiting(ErrClosed)
		for _, c := range r.crews {
			c.stop()
		}
	}
	r.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		r.active.Wait()
		r.ending.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		r.killAll()
		err = fmt.Errorf("runtime: handler %s was killed: %w", r.cfg.Name, context.Cause(ctx))
	}
	<-ended
	r.shut.Do(func() {
		r.spawner.stop()
		err = errors.Join(err, r.journal.Close())
	})
	return err
}

// killAll kills every process that is up.
func (r *Runtime) killAll() {
	r.mu.Lock()
	var up []*process
	for _, c := range r.crews {
		up = append(up, c.processes...)
	}
	r.mu.Unlock()
	killEach(up)
}

func killEach(processes []*process) {
	for _, p := range processes {
		if p != nil {
			p.kill()
		}
	}
}
