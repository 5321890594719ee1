// Command culvert takes the changes that a Tablestore tunnel exports and
// invokes functions with them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/alecthomas/kong"
)

const description = `Culvert takes the changes that a Tablestore tunnel exports and invokes functions with them.

Exit codes:

    0    done, or drained after an interrupt
    1    something was lost, out of order or corrupt, or work failed midway
    2    the command line or the configuration is wrong
    3    something needed cannot be reached or started, or refuses: an address
         in use, a tunnel service that refuses, a handler that does not build
    130  interrupted a second time, and left at once

The first interrupt (Ctrl-C, SIGTERM) drains: nothing new is read, what has begun is finished and committed. The second leaves at once.
`

// cli is the command line.
type cli struct {
	Local    localCommand    `cmd:"" help:"Run everything on this machine: emulator, ledger, handler and dispatcher, on sample orders."`
	Emulator emulatorCommand `cmd:"" help:"Run the Tablestore emulator alone."`
	Run      runCommand      `cmd:"" help:"Dispatch a tunnel's changes as a configuration says."`
	Version  versionCommand  `cmd:"" help:"Print the version."`
}

// surroundings are what a command is given of the process it runs in, beside
// a context that ends with the first interrupt.
type surroundings struct {
	stdout  *outlet
	stderr  *outlet
	scratch *scratch
}

func main() {
	s := &surroundings{stdout: &outlet{file: os.Stdout}, stderr: &outlet{file: os.Stderr}, scratch: &scratch{}}
	ctx, release := interruptible(s.stderr, s.scratch.remove)
	code := s.execute(ctx, os.Args[1:])
	release()
	s.scratch.remove()
	os.Exit(code)
}

// help prints the help text without the arguments that are hidden, which Kong
// would show in the line of usage.
func help(o kong.HelpOptions, line *kong.Context) error {
	if command := line.Selected(); command != nil {
		command.Positional = slices.DeleteFunc(command.Positional, func(p *kong.Positional) bool { return p.Tag.Hidden })
	}
	return kong.DefaultHelpPrinter(o, line)
}

// execute runs one command line and returns the exit code.
func (s *surroundings) execute(ctx context.Context, args []string) int {
	helped := false
	parser, err := kong.New(&cli{},
		kong.Name("culvert"),
		kong.Description(description),
		kong.Writers(s.stdout, s.stderr),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 80}),
		kong.Help(help),
		kong.Exit(func(int) { helped = true }),
	)
	if err != nil {
		fmt.Fprintln(s.stderr, "culvert:", err)
		return exitUsage
	}
	line, err := parser.Parse(args)
	if helped {
		return exitDone
	}
	if err != nil {
		fmt.Fprintf(s.stderr, "culvert: %v\nTry 'culvert --help', or --help after a command.\n", err)
		return exitUsage
	}
	line.BindTo(ctx, (*context.Context)(nil))
	err = line.Run(s)
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(s.stderr, "culvert:", err)
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitFailed
}
