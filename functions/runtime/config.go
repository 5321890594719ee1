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
	// path is looked up as [os/exec] does it. Its program must speak Function
	// Compute's runtime API: call functions.Start, or fc.Start of
	// fc-runtime-go-sdk.
	Command []string
	Dir     string // the processes' working directory. Default: this process's
	// Env is added to the environment. The processes are given this process's
	// whole environment, as a developer expects, but for the variables with
	// which Lambda would claim them; then Env; then FC_RUNTIME_API and what
	// Function Compute says of an instance: FC_FUNCTION_NAME,
	// FC_FUNCTION_HANDLER, FC_INSTANCE_ID, FC_REGION ("local") and
	// FC_QUALIFIER.
	Env []string
	// Processes is how many run. Each handles one event at a time. Default 1,
	// to [MostProcesses].
	Processes int
	// Timeout bounds one invocation, counted from when a process is given the
	// event. The handler is told; past it the process is killed and another
	// one started. Default 60 s, 10 ms to 24 h.
	Timeout time.Duration
	// StartTimeout is how long a process may take from its start until it asks
	// for its first event. Default 10 s, 10 ms to 10 min.
	StartTimeout time.Duration
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
