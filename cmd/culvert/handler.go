package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	if h.source == "" {
		return "starting the handler " + h.shown
	}
	return "building the handler " + h.shown
}

// handler is what --handler or --handler-command names, or the example.
func (c *localCommand) handler() (handler, error) {
	switch {
	case c.HandlerCommand != "":
		words := strings.FieldsFunc(c.HandlerCommand, func(r rune) bool { return strings.ContainsRune(" \t'\"", r) })
		if len(words) == 0 {
			return handler{}, usage("--handler-command: it is empty; want a program and its arguments, such as \"python3 handler.py\"")
		}
		if _, err := exec.LookPath(words[0]); err != nil {
			return handler{}, usage("--handler-command: there is no program %s: install it, or name it with its path (./%s in the working directory)", words[0], filepath.Base(words[0]))
		}
		return handler{function: "command:" + c.HandlerCommand, shown: c.HandlerCommand, words: words}, nil
	case c.Handler != "":
		return handler{function: "process:" + c.Handler, shown: c.Handler, source: c.Handler}, nil
	}
	example, err := findExample()
	return handler{function: "process:" + example, shown: example, source: example}, err
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
