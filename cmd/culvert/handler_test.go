package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatCannotBeAHandlerIsSaidWithTheWayOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, file := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"plain.py":   {"print(1)\n", 0o600},
		"bare.py":    {"print(1)\n", 0o700},
		"marked.py":  {"#!/usr/bin/env python3\nprint(1)\n", 0o700},
		"notes":      {"nothing\n", 0o600},
		"main.go":    {"package main\n", 0o600},
		"src/app.js": {"", 0o600},
	} {
		save(t, dir, name, file.text)
		if err := os.Chmod(filepath.Join(dir, name), file.mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ flag, value, want string }{
		{"--handler-command", "plain.py", `plain.py is not executable: write "python3 plain.py", or give it a #! line and chmod +x`},
		{"--handler-command", "./plain.py x", `./plain.py is not executable: write "python3 ./plain.py"`},
		{"--handler-command", "./bare.py", `./bare.py has no #! line that says what runs it: write "python3 ./bare.py"`},
		{"--handler-command", "marked.py", "there is no program marked.py to be found by PATH: the one in the working directory is ./marked.py"},
		{"--handler-command", "./notes", "./notes is not executable: name its interpreter before it"},
		{"--handler-command", "./src", "./src is a directory"},
		{"--handler-command", "./missing", "there is no program ./missing"},
		{"--handler-command", "OUT=/tmp/x python3 plain.py", `set variables before culvert (OUT=/tmp/x culvert local …), or write "sh -c 'OUT=/tmp/x exec python3 plain.py'"`},
		{"--handler-command", "python3 'plain.py", "a quote in the command is not closed"},
		{"--handler-command", "  ", `the command names no program: write PROGRAM ARGUMENT …, such as "python3 handler.py"`},
		{"--handler", "plain.py", `plain.py is not Go source: did you mean --handler-command "python3 plain.py"?`},
		{"--handler", "src/app.js", `did you mean --handler-command "node src/app.js"?`},
		{"--handler", "main.go", "did you mean its directory, --handler .?"},
		{"--handler", "notes", "neither a directory of Go source nor an executable"},
	} {
		p := startIn(t, dir, nil, "local", "--once", c.flag, c.value)
		p.exits(exitUsage, "culvert: "+c.flag+": ", c.want)
		if strings.Contains(p.text(), "building") {
			t.Error("it was taken for source")
		}
	}
}

func TestACommandThatDoesNotStartIsToldOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	save(t, dir, "handler.py", "import sys\nsys.exit('no settings')\n")
	p := startIn(t, dir, nil, "local", "--once", "--handler-command", "python3 handler.py")
	p.exits(exitUnavailable, "] no settings\n", "does not start", "exit status 1")
	// What each of the two processes printed, and one message that quotes it.
	if n := strings.Count(p.text(), "does not start"); n != 1 || strings.Count(p.text(), "no settings") > 3 || strings.Contains(p.text(), "does not start; it is tried again") {
		t.Error("it is told more than once")
	}
}
