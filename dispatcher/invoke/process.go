package invoke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/culvertio/culvert/functions/runtime"
)

// ProcessConfig is one handler that runs on this machine.
type ProcessConfig struct {
	// Path is a directory with the Go source of a handler, which is built, or
	// an executable. A relative path is seen from the working directory.
	Path string
	// Processes is how many run; each handles one batch at a time. Default 1,
	// to [runtime.MostProcesses].
	Processes int
	Timeout   time.Duration // of one invocation. Default 60 s, 10 ms to 24 h
	Name      string        // of the function, in output and errors. Default: the binary's
	Output    io.Writer     // receives what the processes print. Default os.Stderr
	Env       []string      // added to the processes' environment
	Scratch   string        // the directory in which a handler is built. Default: the system's for temporary files
	Logger    *slog.Logger  // default slog.Default()
}

// processTarget hands batches to handler processes.
type processTarget struct {
	path    string
	runtime *runtime.Runtime
	cleanup func()
}

// NewProcess builds the handler if need be and starts its processes. It
// blocks until the first of them is ready, or ctx ends. The error is a
// [*runtime.BuildError], [*runtime.StartError] or [*runtime.ConfigError], or
// says what is wrong with the path.
func NewProcess(ctx context.Context, c ProcessConfig) (Target, error) {
	path, err := filepath.Abs(c.Path)
	if err != nil {
		return nil, fmt.Errorf("handler %s: %w", c.Path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("handler %s: %w; name a directory of Go source or an executable", c.Path, err)
	}
	binary, cleanup := path, func() {}
	if info.IsDir() {
		if binary, cleanup, err = runtime.Build(ctx, path, c.Scratch); err != nil {
			return nil, err
		}
	}
	r, err := runtime.Start(ctx, runtime.Config{
		Command:   []string{binary},
		Env:       c.Env,
		Processes: c.Processes,
		Timeout:   c.Timeout,
		Output:    c.Output,
		Name:      c.Name,
		Logger:    c.Logger,
	})
	if err != nil {
		cleanup()
		return nil, err
	}
	return &processTarget{path: c.Path, runtime: r, cleanup: cleanup}, nil
}

func (t *processTarget) Invoke(ctx context.Context, in Invocation) Result {
	answer, err := t.runtime.Invoke(ctx, in.Payload)
	if err == nil {
		return Result{Class: Done, Answer: answer}
	}
	r := judgeProcess(err)
	r.Err = fmt.Errorf("process:%s (batch %s, attempt %d): %w", t.path, in.BatchID, in.Attempt, r.Err)
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

func (t *processTarget) Close(ctx context.Context) error {
	err := t.runtime.Close(ctx)
	t.cleanup()
	if err != nil {
		return fmt.Errorf("closing process:%s: %w", t.path, err)
	}
	return nil
}
