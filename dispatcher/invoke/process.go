package invoke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/culvertio/culvert/functions/runtime"
)

// ProcessConfig is one handler that runs on this machine.
type ProcessConfig struct {
	// Path is a directory with the Go source of a handler, which is built, or
	// an executable. A relative path is seen from the working directory. Path
	// or Command is required.
	Path string
	// Command is a program for a custom runtime, in any language, and its
	// arguments; see [runtime.Config.Custom].
	Command []string
	// Processes is how many run; each handles one batch at a time. Default 1,
	// to [runtime.MostProcesses].
	Processes int
	Timeout   time.Duration // of one invocation. Default 60 s, 10 ms to 24 h
	Name      string        // of the function, in output and errors. Default: the binary's
	Output    io.Writer     // receives what the processes print. Default os.Stderr
	Env       []string      // added to the processes' environment
	Journal   string        // the directory in which invocations are recorded; see [runtime.Config.Journal]
	Scratch   string        // the directory in which a handler is built. Default: the system's for temporary files
	Logger    *slog.Logger  // default slog.Default()
}

// ProcessTarget hands batches to handler processes.
type ProcessTarget struct {
	config  ProcessConfig
	runtime *runtime.Runtime
	turn    sync.Mutex // held by the one Rebuild that is at work

	mu      sync.Mutex
	closed  bool
	cleanup func() // removes the build whose processes run
}

// NewProcess builds the handler if need be and starts its processes. It
// blocks until the first of them is ready, or ctx ends. The error is a
// [*runtime.BuildError], [*runtime.StartError] or [*runtime.ConfigError], or
// says what is wrong with the path.
func NewProcess(ctx context.Context, c ProcessConfig) (*ProcessTarget, error) {
	t := &ProcessTarget{config: c}
	command, cleanup, err := t.build(ctx)
	if err != nil {
		return nil, err
	}
	t.cleanup = cleanup
	t.runtime, err = runtime.Start(ctx, runtime.Config{
		Command:   command,
		Custom:    c.Command != nil,
		Env:       c.Env,
		Journal:   c.Journal,
		Processes: c.Processes,
		Timeout:   c.Timeout,
		Output:    c.Output,
		Name:      c.Name,
		Logger:    c.Logger,
	})
	if err != nil {
		t.cleanup()
		return nil, err
	}
	return t, nil
}

// shown names the function in errors. A command's arguments may be secret.
func (c ProcessConfig) shown() string {
	if c.Command != nil {
		return "command:" + c.Command[0]
	}
	return "process:" + c.Path
}

// build is the command that the processes run. If it is a binary that was built
// for it, cleanup removes that.
func (t *ProcessTarget) build(ctx context.Context) (command []string, cleanup func(), err error) {
	if t.config.Command != nil {
		return t.config.Command, func() {}, nil
	}
	path, err := filepath.Abs(t.config.Path)
	if err != nil {
		return nil, nil, fmt.Errorf("handler %s: %w", t.config.Path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("handler %s: %w; name a directory of Go source or an executable", t.config.Path, err)
	}
	if !info.IsDir() {
		return []string{path}, func() {}, nil
	}
	binary, cleanup, err := runtime.Build(ctx, path, t.config.Scratch)
	if err != nil {
		return nil, nil, err
	}
	return []string{binary}, cleanup, nil
}

// Rebuild builds the handler's source again and has processes of the new
// build take over, as [runtime.Runtime.Replace] does it; an executable or a
// command is started anew. It blocks until they have taken over or ctx ends.
// On any error the processes that run are kept and nothing has changed; the
// error is one of [NewProcess]'s, or [ErrClosed]. It may be called while
// batches are invoked; one call waits for another.
func (t *ProcessTarget) Rebuild(ctx context.Context) error {
	t.turn.Lock()
	defer t.turn.Unlock()
	command, cleanup, err := t.build(ctx)
	if err != nil {
		return err
	}
	if err := t.runtime.Replace(ctx, command); err != nil {
		cleanup()
		if errors.Is(err, runtime.ErrClosed) {
			return ErrClosed
		}
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed { // between the two, Close has removed the build before
		cleanup()
		return nil
	}
	// Processes that still run the build before do not need its file.
	t.cleanup()
	t.cleanup = cleanup
	return nil
}

// Invoke gives the batch to a free process. See [Target].
func (t *ProcessTarget) Invoke(ctx context.Context, in Invocation) Result {
	answer, err := t.runtime.Invoke(ctx, in.Payload)
	if err == nil {
		return Result{Class: Done, Answer: answer}
	}
	r := judgeProcess(err)
	r.Err = fmt.Errorf("%s (batch %s, attempt %d): %w", t.config.shown(), in.BatchID, in.Attempt, r.Err)
	return r
}

// judgeProcess says what an error of the runtime tells of the attempt.
func judgeProcess(err error) Result {
	if e, ok := errors.AsType[*runtime.FunctionError](err); ok {
		return Result{Class: FunctionFailed, Err: err, RequestID: e.RequestID, LogTail: e.LogTail}
	}
	if e, ok := errors.AsType[*runtime.ExitError](err); ok {
		return Result{Class: FunctionFailed, Err: err, RequestID: e.RequestID, LogTail: e.LogTail}
	}
	if e, ok := errors.AsType[*runtime.DeadlineError](err); ok {
		class := TimedOut
		if !errors.Is(e.Err, context.DeadlineExceeded) {
			class = MayHaveRun // the caller called it off
		}
		return Result{Class: class, Err: err, RequestID: e.RequestID, LogTail: e.LogTail}
	}
	if e, ok := errors.AsType[*runtime.StartError](err); ok {
		return Result{Class: Broken, Err: err, LogTail: e.LogTail}
	}
	if _, ok := errors.AsType[*runtime.BusyError](err); ok {
		return Result{Class: Throttled, Err: err}
	}
	if errors.Is(err, runtime.ErrClosed) {
		err = ErrClosed
	}
	return Result{Class: Unreachable, Err: err}
}

// Close waits for the batches under way and ends the processes. See
// [runtime.Runtime.Close].
func (t *ProcessTarget) Close(ctx context.Context) error {
	err := t.runtime.Close(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.closed = true
		t.cleanup()
	}
	if err != nil {
		return fmt.Errorf("closing %s: %w", t.config.shown(), err)
	}
	return nil
}
