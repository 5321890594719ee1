package runtime

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// Config says which handler is run, and how. Zero values mean the defaults.
type Config struct {
	// Command is the handler's binary and its arguments; required. A relative
	// path is looked up as [os/exec] does it. Its program must ask for events
	// over Function Compute's or Lambda's runtime API: call functions.Start,
	// fc.Start of fc-runtime-go-sdk, or lambda.Start of aws-lambda-go. With
	// Custom it must listen instead.
	Command []string
	// Custom says that Command is a program for a custom runtime of Function
	// Compute: an HTTP server. Each process is given a port of its own, in
	// FC_SERVER_PORT and in PORT, and must listen on it, on every address or on
	// the loopback interface. For each event it gets a POST to /invoke: the
	// event as it is, of type application/octet-stream, and in the header
	// x-fc-request-id, x-fc-function-name and the others that Function Compute
	// gives custom runtimes, with x-fc-function-deadline added, in milliseconds
	// since the epoch. A status of 2xx takes the event, and the body is the
	// answer. Any other status is the function's failure, and so is a header
	// x-fc-status that is not 200; the body then says why, best as
	// {"errorMessage", "errorType"}. Each request comes on a connection of its
	// own; a program that takes none any more is killed and started anew.
	Custom bool
	// Initialize has a program of a custom runtime get a POST to /initialize
	// before its first event, as Function Compute does for a function with an
	// initializer. A process whose answer is a failure is not used.
	Initialize bool
	Dir        string // the processes' working directory. Default: this process's
	// Env is added to the environment. The processes are given this process's
	// whole environment, as a developer expects, but for the variables of a
	// platform's runtime API; then Env; then what Function Compute says of an
	// instance: FC_FUNCTION_NAME, FC_FUNCTION_HANDLER, FC_FUNCTION_MEMORY_SIZE
	// (512), FC_INSTANCE_ID, FC_REGION ("local") and FC_QUALIFIER. Those that
	// ask for events are told what Lambda says too: AWS_LAMBDA_FUNCTION_NAME,
	// AWS_LAMBDA_FUNCTION_MEMORY_SIZE, AWS_LAMBDA_FUNCTION_VERSION, _HANDLER,
	// LAMBDA_TASK_ROOT and AWS_REGION, which stays what it is if it is set, or
	// is AWS_DEFAULT_REGION or us-east-1. With AWS_LAMBDA_MAX_CONCURRENCY in
	// Env, a process still gets one event at a time.
	Env []string
	// Processes is how many run. Each handles one event at a time. Default 1,
	// to [MostProcesses].
	Processes int
	// Timeout bounds one invocation, counted from when a process is given the
	// event. The handler is told; past it the process is killed and another
	// one started. Default 60 s, 10 ms to 24 h.
	Timeout time.Duration
	// StartTimeout is how long a process may take from its start until it asks
	// for its first event, or until it listens and is initialized. Default 10 s,
	// 10 ms to 10 min.
	StartTimeout time.Duration
	// Journal is a directory in which every invocation is recorded, in the form
	// that functions.Start tells of, by this process: so there is a record of
	// handlers that do not call functions.Start, too. CULVERT_JOURNAL is then
	// withheld from the processes, which would record each invocation again. An
	// invocation begins when it has been given to a process; if that ends or is
	// killed, the invocation has no end. One whose journal cannot be written
	// fails. Empty: none.
	Journal string
	// Output receives what the processes print on stdout and stderr, a line a
	// write, with "[name pid] " before it. The two lines that the SDK prints
	// around every invocation are left out. A writer that blocks holds up the
	// processes and what would replace them, but neither a deadline nor Close,
	// which then returns before the writer does; its errors are ignored.
	// Default [os.Stderr].
	Output io.Writer
	Name   string       // of the function, for the handler, Output and errors. Default: the command's file name
	Logger *slog.Logger // default [slog.Default]
}

// withDefaults is a checked copy; its error is a [*ConfigError].
func (c Config) withDefaults() (Config, error) {
	if err := checkCommand(c.Command); err != nil {
		return c, err
	}
	if c.Initialize && !c.Custom {
		return c, &ConfigError{Field: "Initialize", Problem: "is for programs of a custom runtime: set Custom too"}
	}
	if c.Processes == 0 {
		c.Processes = 1
	}
	if c.Processes < 1 || c.Processes > MostProcesses {
		return c, &ConfigError{Field: "Processes", Problem: fmt.Sprintf("is %d; 1 to %d may run", c.Processes, MostProcesses)}
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.Timeout < 10*time.Millisecond || c.Timeout > 24*time.Hour {
		return c, &ConfigError{Field: "Timeout", Problem: fmt.Sprintf("is %v; 10ms to 24h may be given", c.Timeout)}
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = 10 * time.Second
	}
	if c.StartTimeout < 10*time.Millisecond || c.StartTimeout > 10*time.Minute {
		return c, &ConfigError{Field: "StartTimeout", Problem: fmt.Sprintf("is %v; 10ms to 10m may be given", c.StartTimeout)}
	}
	if c.Output == nil {
		c.Output = os.Stderr
	}
	if c.Name == "" {
		c.Name = filepath.Base(c.Command[0])
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, nil
}

func checkCommand(command []string) error {
	if len(command) == 0 || command[0] == "" {
		return &ConfigError{Field: "Command", Problem: "is empty; it names the handler's binary"}
	}
	return nil
}
