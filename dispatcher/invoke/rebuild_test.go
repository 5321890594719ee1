package invoke

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/culvertio/culvert/functions/runtime"
)

// source is a handler without any library, which answers with its version.
const source = `package main

import (
	"net/http"
	"os"
	"strings"
)

func main() {
	api := "http://" + os.Getenv("FC_RUNTIME_API") + "/2020-11-11/runtime/invocation/"
	for {
		event, err := http.Get(api + "next")
		if err != nil {
			os.Exit(1)
		}
		event.Body.Close()
		answer, err := http.Post(api+event.Header.Get("x-fc-request-id")+"/response", "application/json", strings.NewReader("%s"))
		if err != nil {
			os.Exit(1)
		}
		answer.Body.Close()
	}
}
`

// project is a directory with a handler's source.
func project(t *testing.T) (dir string, write func(file, text string)) {
	dir = t.TempDir()
	write = func(file, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module orders\n\ngo 1.26\n")
	write("main.go", fmt.Sprintf(source, "1"))
	return dir, write
}

func answersWith(t *testing.T, target Target, want string) {
	t.Helper()
	r := target.Invoke(within(t, time.Minute), invocation)
	if r.Class != Done || string(r.Answer) != want {
		t.Errorf("%v, answer %q, %v; want %q", r.Class, r.Answer, r.Err, want)
	}
}

func TestAChangedHandlerIsRebuiltAndTakesOverAndABrokenOneDoesNot(t *testing.T) {
	dir, write := project(t)
	scratch := t.TempDir()
	target, err := NewProcess(t.Context(), ProcessConfig{Path: dir, Scratch: scratch, Output: io.Discard, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	answersWith(t, target, "1")
	write("main.go", fmt.Sprintf(source, "2"))
	if err := target.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	answersWith(t, target, "2")

	write("main.go", "package main\n\nfunc main() { undeclared() }\n")
	if e, ok := errors.AsType[*runtime.BuildError](target.Rebuild(t.Context())); !ok || !strings.Contains(e.Output, "undefined: undeclared") {
		t.Errorf("%+v", e)
	}
	answersWith(t, target, "2")
	write("main.go", "package main\n\nfunc main() { panic(`no settings`) }\n")
	if e, ok := errors.AsType[*runtime.StartError](target.Rebuild(t.Context())); !ok || !strings.Contains(e.LogTail, "no settings") {
		t.Errorf("%+v", e)
	}
	answersWith(t, target, "2")
	if builds, err := os.ReadDir(scratch); err != nil || len(builds) != 1 {
		t.Errorf("%v is left of the builds, %v", builds, err)
	}

	write("main.go", fmt.Sprintf(source, "3"))
	closing(t, target)
	if err := target.Rebuild(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if builds, err := os.ReadDir(scratch); err != nil || len(builds) > 0 {
		t.Errorf("%v is left of the builds, %v", builds, err)
	}
}

func TestAnExecutableOrACommandIsStartedAnew(t *testing.T) {
	for role, c := range map[string]ProcessConfig{
		"pid":     {Path: os.Args[0]},
		"program": {Command: []string{os.Args[0]}},
	} {
		c.Env = []string{roleVariable + "=" + role}
		c.Output, c.Logger = io.Discard, slog.New(slog.DiscardHandler)
		target, err := NewProcess(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		before := scenario(t, target, "pid")
		if err := target.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		after := scenario(t, target, "pid")
		if before.Class != Done || after.Class != Done || string(before.Answer) == string(after.Answer) {
			t.Errorf("%s: %+v, then %+v", role, before, after)
		}
		closing(t, target)
	}
}
