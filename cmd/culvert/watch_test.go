package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// handlerModule makes a handler in a directory of this module, with a package
// of its own beside it that says what is printed.
func handlerModule(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("testdata", "watched-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	save(t, dir, "handler/main.go", `package main

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/culvertio/culvert/cmd/culvert/`+filepath.ToSlash(dir)+`/said"
	"github.com/culvertio/culvert/functions"
)

//go:embed greeting.txt
var greeting string

func main() {
	functions.Start(func(context.Context, *functions.Event) error {
		fmt.Println(greeting, said.What)
		return nil
	})
}
`)
	save(t, dir, "handler/greeting.txt", "it says")
	save(t, dir, "said/said.go", "package said\n\nconst What = \"one\"\n")
	return dir
}

// save writes a file as many editors do: another one, which is renamed.
func save(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+"~", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

func TestAHandlerIsRebuiltWhenItsSourceChanges(t *testing.T) {
	t.Parallel()
	dir := handlerModule(t)
	p := start(t, nil, "local", "--handler", filepath.Join(dir, "handler"), "--rate", "100", "--orders", "10")
	p.awaits("it says one")
	save(t, dir, "said/said.go", "package said\n\nconst What = \"two\"\n") // another package
	p.awaits("handler rebuilt in", "it says two")

	save(t, dir, "said/said.go", "package said\n\nconst What = nobody\n")
	p.awaits("said.go:3:14: undefined: nobody", "the handler is not rebuilt: the former one goes on")
	before := strings.Count(p.text(), "it says two")
	waitUntil(t, func() bool { return strings.Count(p.text(), "it says two") > before })

	save(t, dir, "said/more.go", "package said\n\nconst nobody = \"three\"\n") // a file that is new
	p.awaits("it says three")
	if err := os.WriteFile(filepath.Join(dir, "handler/greeting.txt"), []byte("now it says"), 0o600); err != nil { // in place
		t.Fatal(err)
	}
	p.awaits("now it says three")
	save(t, dir, "extra/extra.go", "package extra\n\nconst What = \"four\"\n")
	save(t, dir, "said/more.go", "package said\n\nimport \"github.com/culvertio/culvert/cmd/culvert/"+filepath.ToSlash(dir)+"/extra\"\n\nconst nobody = extra.What\n")
	p.awaits("now it says four")
	save(t, dir, "extra/extra.go", "package extra\n\nconst What = \"five\"\n") // a package that is new
	p.awaits("now it says five")
	save(t, dir, "handler/exits.go", "package main\n\nfunc init() { panic(\"no database\") }\n")
	p.awaits("no database", "goes on", "does not start")

	p.signal(syscall.SIGINT)
	p.exits(exitDone, "  retries             0\n", "  repeats             0\n", "nothing lost, each key in order")
}

func TestACommandIsRestartedWhenItsFileChanges(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../../functions/examples/python/handler.py")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "my handlers")
	script := filepath.Join(dir, "handler.py")
	save(t, dir, "handler.py", string(source))
	p := start(t, nil, "local", "--handler-command", "python3 '"+script+"'", "--rate", "100", "--orders", "10")
	p.awaits("starting the handler python3", "from here on 100 changes a second")
	save(t, dir, "handler.py", string(source)+"nonsense(\n")
	p.awaits("SyntaxError", "the handler is not restarted: the former one goes on")
	if strings.Contains(p.text(), "does not start; it is tried again") {
		t.Error("it says that it tries again what it does not")
	}
	save(t, dir, "handler.py", "print('anew', flush=True)\n"+string(source))
	p.awaits("handler restarted in", "] anew")
	p.signal(syscall.SIGINT)
	p.exits(exitDone, "  repeats             0\n", "nothing lost, each key in order")
}

func TestWhatAHandlerIsMadeOfIsFoundAndNothingElse(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs(handlerModule(t))
	if err != nil {
		t.Fatal(err)
	}
	module, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	s, err := handler{source: filepath.Join(dir, "handler")}.sources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		dir + "/handler/main.go":              true,
		dir + "/handler/new.go":               true,
		dir + "/handler/greeting.txt":         true,
		dir + "/said/said.go":                 true,
		module + "/functions/start.go":        true,
		module + "/go.mod":                    true,
		dir + "/handler/main_test.go":         false,
		dir + "/handler/.main.go.swp":         false,
		dir + "/handler/main.go~":             false,
		dir + "/handler/_old.go":              false,
		dir + "/said/notes.txt":               false,
		dir + "/other/main.go":                false,
		module + "/dispatcher/dispatcher.go":  false,
		module + "/tunnel/emulator/tables.go": false,
	} {
		if got := s.want(filepath.FromSlash(path)); got != want {
			t.Errorf("%s counts: %v", path, got)
		}
	}
	for path := range s.dirs() {
		if !strings.HasPrefix(path, module) {
			t.Errorf("%s is watched, where nobody edits", path)
		}
	}
}

// A directory that is moved away and comes back, as with another branch of a
// repository, is watched again.
func TestADirectoryThatGoesAndComesBackIsWatchedAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "handler")
	save(t, dir, "run.sh", "1")
	h := handler{words: []string{"sh", filepath.Join(dir, "run.sh"), "no-file"}}
	w, err := newWatcher(t.Context(), h, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	changes := make(chan struct{}, 100)
	followed := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		defer close(followed)
		w.follow(ctx, func() { changes <- struct{}{} })
	}()
	seen := func(what string) {
		t.Helper()
		select {
		case <-changes:
		case <-time.After(patience):
			t.Fatalf("%s was not seen", what)
		}
	}
	for i := range 3 {
		save(t, dir, "run.sh", fmt.Sprint(i))
		seen("the file")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, func() bool { return len(w.notify.WatchList()) == 0 })
		seen("its end")
	}
	stop()
	<-followed
}
