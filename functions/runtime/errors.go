package runtime

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrClosed is what Invoke returns once Close has been called. The event was
// not given to a process.
var ErrClosed = errors.New("runtime: closed")

// ConfigError says which field of a [Config] cannot be used.
type ConfigError struct {
	Field, Problem string
}

func (e *ConfigError) Error() string { return "runtime: " + e.Field + " " + e.Problem }

// FunctionError is the handler's own failure: it returned an error or
// panicked. Its process lives on.
type FunctionError struct {
	RequestID string
	Type      string   // the error's Go type; ResponseTooLarge: more than [AnswerLimit] was answered
	Message   string   // its first 4 KB
	Stack     []string // of a panic: "function (file:line)", innermost first
	// LogTail is the last 4 KB that the process has printed since it was given
	// the event, as far as they have been read.
	LogTail string
}

func (e *FunctionError) Error() string {
	return fmt.Sprintf("runtime: the handler failed (request %s): %s: %s", e.RequestID, e.Type, e.Message)
}

// ExitError says that the process ended while it handled an event.
type ExitError struct {
	RequestID string
	Name      string
	PID       int
	Status    string // "exit status 3", "signal: killed"
	Code      int    // the exit code, -1 if a signal ended it
	LogTail   string // the last 4 KB that it printed since it was given the event
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("runtime: handler %s (pid %d) ended without an answer to request %s: %s%s",
		e.Name, e.PID, e.RequestID, e.Status, lastLine(e.LogTail))
}

// DeadlineError says that the handler had not answered when the deadline
// passed or the caller gave up. Its process has been killed.
type DeadlineError struct {
	RequestID string
	Name      string
	PID       int
	Timeout   time.Duration // of the [Config]
	Err       error         // context.DeadlineExceeded, or context.Canceled if the caller gave up
	LogTail   string        // the last 4 KB that the process printed since it was given the event
}

func (e *DeadlineError) Error() string {
	return fmt.Sprintf("runtime: handler %s (pid %d) was killed, as it had not answered request %s in time: %v (it may take %v, its timeout: raise that, or let it do less at once)",
		e.Name, e.PID, e.RequestID, e.Err, e.Timeout)
}

func (e *DeadlineError) Unwrap() error { return e.Err }

// BusyError says that no process was free until the caller's context ended.
// The event was not given to one.
type BusyError struct {
	Name      string
	Processes int
	Err       error // the context's
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("runtime: none of handler %s's %d processes was free: %v", e.Name, e.Processes, e.Err)
}

func (e *BusyError) Unwrap() error { return e.Err }

// StartError says that a handler's process does not start, does not ask for an
// event, or ends before it has handled one. Once [Start] or [Runtime.Replace]
// has returned, it is tried again, with growing pauses; until one works, every
// Invoke fails with the last StartError, and its event is given to nobody.
type StartError struct {
	Name    string
	Command string
	Problem string
	Code    int    // the exit code; -1 if it did not exit by itself
	LogTail string // the last 4 KB that it printed
	Hint    string
	Err     error // the system's, if it could not even be started
}

func (e *StartError) Error() string {
	return fmt.Sprintf("runtime: handler %s (%s) does not start: %s%s (%s)", e.Name, e.Command, e.Problem, lastLine(e.LogTail), e.Hint)
}

func (e *StartError) Unwrap() error { return e.Err }

// lastLine is the end of what a process printed, for an error of one line.
func lastLine(tail string) string {
	tail = strings.TrimSpace(tail)
	if tail == "" {
		return ""
	}
	return fmt.Sprintf("; it printed last: %q", tail[strings.LastIndexByte(tail, '\n')+1:])
}
