package runtime

import (
	"errors"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// startHint is the way out when the system does not start a program.
func startHint(program string, err error) string {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		if line := Interpreted(program); line != "" {
			return "a script without a #! line is started by its interpreter: write " + line
		}
		return "it is no program of this machine; a script needs a first line such as #!/bin/sh, or its interpreter named before it"
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, exec.ErrDot):
		return "install it, or name it with its path: ./" + filepath.Base(program) + " if it is in the working directory"
	case errors.Is(err, fs.ErrPermission):
		return "this user must be allowed to execute it: chmod +x"
	case errors.Is(err, fs.ErrNotExist):
		return "name it with its path; if it is there and is a script, the program that its #! line names is missing"
	}
	return "it must be a program of this machine that this user may run"
}

// Interpreted is how a script is started whose name says in which language it
// is: "python3 handler.py". Empty: its name says nothing.
func Interpreted(script string) string {
	for _, i := range interpreters {
		if slices.Contains(i.suffixes, strings.ToLower(filepath.Ext(script))) {
			return i.program + " " + script
		}
	}
	return ""
}

var interpreters = []struct {
	program  string
	suffixes []string
}{
	{"python3", []string{".py"}},
	{"node", []string{".js", ".mjs", ".cjs", ".ts"}},
	{"ruby", []string{".rb"}},
	{"php", []string{".php"}},
	{"perl", []string{".pl"}},
	{"sh", []string{".sh"}},
}
