package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/culvertio/culvert/dispatcher/invoke"
	"github.com/culvertio/culvert/functions/runtime"
)

// handler is the handler that local runs.
type handler struct {
	function string   // as a configuration names it
	shown    string   // as the user named it
	source   string   // a directory of Go source, or a binary; empty for a command
	words    []string // of a command
}

// does is what has to be done with it first.
func (h handler) does() string {
	if info, err := os.Stat(h.source); err == nil && info.IsDir() {
		return "building the handler " + h.shown
	}
	return "starting the handler " + h.shown
}

// handler is what --handler or --handler-command names, or the example.
func (c *localCommand) handler() (handler, error) {
	switch {
	case c.HandlerCommand != "":
		words, err := invoke.SplitCommand(c.HandlerCommand)
		if err != nil {
			return handler{}, usage("--handler-command: %w, such as \"python3 handler.py\"", err)
		}
		if err := checkProgram(words); err != nil {
			return handler{}, usage("--handler-command: %w", err)
		}
		return handler{function: "command:" + c.HandlerCommand, shown: c.HandlerCommand, words: words}, nil
	case c.Handler != "":
		if err := checkSource(c.Handler); err != nil {
			return handler{}, usage("--handler: %w", err)
		}
		return handler{function: "process:" + c.Handler, shown: c.Handler, source: c.Handler}, nil
	}
	example, err := findExample()
	return handler{function: "process:" + example, shown: example, source: example}, err
}

// setting is a variable that a shell would set for a command.
var setting = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

// checkProgram says why a command cannot be started, with the way out.
func checkProgram(words []string) error {
	program, rest := words[0], strings.Join(words[1:], " ")
	if setting.MatchString(program) {
		return fmt.Errorf("%s is no program, and no shell reads the command: set variables before culvert (%s culvert local …), or write \"sh -c '%s exec %s'\"",
			program, program, program, rest)
	}
	if found, err := exec.LookPath(program); err == nil {
		if script := runtime.Interpreted(program); script != "" && !marked(found) {
			return fmt.Errorf("%s has no #! line that says what runs it: write %q", program, script)
		}
		return nil
	}
	info, err := os.Stat(program)
	switch {
	case err != nil:
		return fmt.Errorf("there is no program %s: install it, or look at its path", program)
	case info.IsDir():
		return fmt.Errorf("%s is a directory: a command names a program; Go source is built with --handler %s", program, program)
	case info.Mode()&0o111 != 0: // it is no path, and PATH does not have it
		return fmt.Errorf("there is no program %s to be found by PATH: the one in the working directory is ./%s", program, program)
	}
	if script := runtime.Interpreted(program); script != "" {
		return fmt.Errorf("%s is not executable: write %q, or give it a #! line and chmod +x", program, script)
	}
	return fmt.Errorf("%s is not executable: name its interpreter before it, or chmod +x (a script needs a #! line too)", program)
}

// checkSource says why a file cannot be a handler in Go. What is not there is
// left to whoever builds it.
func checkSource(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil || info.IsDir():
		return nil
	case filepath.Ext(path) == ".go":
		return fmt.Errorf("%s is one file: did you mean its directory, --handler %s?", path, filepath.Dir(path))
	}
	if script := runtime.Interpreted(path); script != "" {
		return fmt.Errorf("%s is not Go source: did you mean --handler-command %q?", path, script)
	}
	if info.Mode()&0o111 == 0 {
		return errors.New(path + " is neither a directory of Go source nor an executable; a program in another language is started with --handler-command")
	}
	return nil
}

// marked says whether a file is a script that names its interpreter, or no
// script.
func marked(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return true // whoever starts it knows better
	}
	defer file.Close() //nolint:errcheck // it was only read
	start := make([]byte, 64)
	n, _ := io.ReadFull(file, start) // a short file is one too
	return bytes.HasPrefix(start, []byte("#!")) || bytes.IndexByte(start[:n], 0) >= 0
}

// findExample looks for the example in Culvert's own source, from the working
// directory upwards.
func findExample() (string, error) {
	working, err := os.Getwd()
	if err != nil {
		return "", unavailable("%w", err)
	}
	for dir := working; ; dir = filepath.Dir(dir) {
		file, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(file), "module github.com/culvertio/culvert\n") {
			example := filepath.Join(dir, "functions", "examples", "orders")
			if short, err := filepath.Rel(working, example); err == nil {
				example = short
			}
			return example, nil
		}
		if dir == filepath.Dir(dir) {
			return "", usage("which handler? The default one, functions/examples/orders, is found only within Culvert's own source, and %s is not: name yours with --handler DIR or --handler-command COMMAND", working)
		}
	}
}
