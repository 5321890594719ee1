package invoke

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/culvertio/culvert/functions/runtime"
)

// Options are what a target is opened with, whatever its kind.
type Options struct {
	Name    string        // the trigger's, for output and errors
	Timeout time.Duration // of one invocation. Default 60 s
	// AtOnce is how many invocations may be under way at once: so many
	// connections to a URL, so many processes of a handler. Default 32.
	AtOnce int
	Output io.Writer // receives what handler processes print. Default os.Stderr
	Env    []string  // added to the environment of handler processes
	// Journal is the directory in which the invocations of handler processes
	// are recorded, whatever they are written in. Default: none.
	Journal string
	// Scratch is the directory in which handlers are built; each is removed
	// when its target is closed. Default: the system's for temporary files.
	Scratch string
	Logger  *slog.Logger // default slog.Default()
}

// Open makes the target that a configuration names: http://…, https://…,
// process:PATH or command:COMMAND. A handler's source is built and its
// processes are started before Open returns; a URL is not tried. The caller
// closes the target. That of processes is a [*ProcessTarget].
//
// A COMMAND is a program for a custom runtime of Function Compute and its
// arguments, see [runtime.Config.Custom]. Spaces part them, unless they stand
// between single or double quotes; nothing else means anything, as no shell
// reads it: write sh -c '…' for one. It runs in the working directory, and a
// program without a slash is looked up in PATH.
func Open(ctx context.Context, function string, o Options) (Target, error) {
	if err := CheckFunction(function); err != nil {
		return nil, err
	}
	if o.AtOnce == 0 {
		o.AtOnce = 32
	}
	c := ProcessConfig{
		Processes: o.AtOnce,
		Timeout:   o.Timeout,
		Name:      o.Name,
		Output:    o.Output,
		Env:       o.Env,
		Journal:   o.Journal,
		Scratch:   o.Scratch,
		Logger:    o.Logger,
	}
	scheme, rest, _ := strings.Cut(function, ":")
	switch scheme {
	case "process":
		c.Path = rest
	case "command":
		var err error
		if c.Command, err = SplitCommand(rest); err != nil {
			return nil, err
		}
	default:
		return NewHTTP(HTTPConfig{URL: function, MaxConnections: o.AtOnce})
	}
	if o.AtOnce > runtime.MostProcesses {
		return nil, fmt.Errorf("%s: at most %d processes may run, not %d: lower limit.at_once", c.shown(), runtime.MostProcesses, o.AtOnce)
	}
	t, err := NewProcess(ctx, c)
	if err != nil {
		return nil, err
	}
	return t, nil
}
