package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"time"
)

// Build compiles the main package in dir, with the go command and without cgo,
// for this machine, and returns the path of its binary, which is in a new
// directory within parent; empty means the system's temporary directory.
// cleanup removes the new directory; it is never nil. Every failure is a
// [*BuildError]. Build blocks until the compiler is done or ctx ends.
func Build(ctx context.Context, dir, parent string) (binary string, cleanup func(), err error) {
	cleanup = func() {}
	if err := checkSource(dir); err != nil {
		return "", cleanup, err
	}
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return "", cleanup, &BuildError{
			Dir: dir, Problem: "there is no go command", Err: err,
			Hint: "install Go from https://go.dev/dl, or build the handler elsewhere and name its binary",
		}
	}
	temp, err := os.MkdirTemp(parent, "culvert-handler-")
	if err != nil {
		return "", cleanup, &BuildError{Dir: dir, Problem: "no place for the binary", Err: err, Hint: "TMPDIR must name a directory that can be written"}
	}
	remove := func() { _ = os.RemoveAll(temp) }
	binary = filepath.Join(temp, binaryName(dir))
	if err := compile(ctx, goCommand, dir, binary); err != nil {
		remove()
		return "", cleanup, err
	}
	return binary, remove, nil
}

func checkSource(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return &BuildError{Dir: dir, Problem: "the directory cannot be read", Err: err, Hint: "name the directory of the handler's main package"}
	}
	if !info.IsDir() {
		return &BuildError{Dir: dir, Problem: "not a directory", Hint: "name the directory of the handler's main package"}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return &BuildError{Dir: dir, Problem: "the directory cannot be read", Err: err, Hint: "make it readable"}
	}
	if !slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go")
	}) {
		return &BuildError{Dir: dir, Problem: "no Go files in the directory", Hint: "name the directory of the handler's main package; its subdirectories do not count"}
	}
	return nil
}

func compile(ctx context.Context, goCommand, dir, binary string) error {
	var printed bytes.Buffer
	cmd := exec.CommandContext(ctx, goCommand, "build", "-buildvcs=false", "-o", binary, ".")
	cmd.Dir = dir
	// The binary runs here, whatever the environment cross-compiles for.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goruntime.GOOS, "GOARCH="+goruntime.GOARCH,
		"GOTMPDIR="+filepath.Dir(binary)) // what a build that is broken off leaves goes with it
	cmd.Stdout, cmd.Stderr = &printed, &printed
	// Interrupted, it waits for its compilers; killed, it would leave them behind.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return &BuildError{Dir: dir, Problem: "the build was broken off", Err: context.Cause(ctx), Hint: "give it more time: a first build compiles the libraries too"}
	case err != nil:
		return &BuildError{Dir: dir, Problem: "it does not compile", Output: strings.TrimSpace(printed.String()), Err: err, Hint: "go build in that directory says the same"}
	}
	// Another package than main is compiled into an archive, without a word.
	info, err := os.Stat(binary)
	if err == nil && info.Mode()&0o111 == 0 && goruntime.GOOS != "windows" {
		err = errors.New("the result is not executable")
	}
	if err != nil {
		return &BuildError{Dir: dir, Problem: "it is not a main package", Err: err, Hint: "a handler is a program: package main, with a main that calls functions.Start"}
	}
	return nil
}

// binaryName is the directory's own name, which is what process lists show.
func binaryName(dir string) string {
	name := "handler"
	if abs, err := filepath.Abs(dir); err == nil && filepath.Base(abs) != string(filepath.Separator) {
		name = filepath.Base(abs)
	}
	if goruntime.GOOS == "windows" {
		name += ".exe"
	}
	return name
}

// BuildError says why a handler could not be built.
type BuildError struct {
	Dir     string
	Problem string
	Output  string // what the compiler printed, if it ran
	Hint    string
	Err     error // may be nil
}

func (e *BuildError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "runtime: build the handler in %s: %s", e.Dir, e.Problem)
	if e.Err != nil && e.Output == "" {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	fmt.Fprintf(&b, " (%s)", e.Hint)
	if e.Output != "" {
		fmt.Fprintf(&b, "\n%s", e.Output)
	}
	return b.String()
}

func (e *BuildError) Unwrap() error { return e.Err }
