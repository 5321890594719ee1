package runtime_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/culvertio/culvert/functions/runtime"
)

// startsNot returns the StartError that the configuration must bring.
func startsNot(t *testing.T, cfg runtime.Config) *runtime.StartError {
	t.Helper()
	cfg.Output = io.Discard
	cfg.Logger = slog.New(slog.DiscardHandler)
	r, err := runtime.Start(t.Context(), cfg)
	e, ok := errors.AsType[*runtime.StartError](err)
	if !ok {
		t.Fatalf("Start = %v, %v; want a StartError", r, err)
	}
	return e
}

func TestAHandlerThatEndsAtOnceDoesNotStart(t *testing.T) {
	e := startsNot(t, runtime.Config{Command: []string{alone}, Env: []string{"START=exit"}, Processes: 2})
	if e.Code != 3 || e.LogTail != "cannot find my settings\n" || !strings.Contains(e.Error(), "exit status 3") || !strings.Contains(e.Error(), "cannot find my settings") {
		t.Errorf("%+v", e)
	}
}

func TestAHandlerThatNeverAsksForAnEventDoesNotStart(t *testing.T) {
	e := startsNot(t, runtime.Config{Command: []string{alone}, Env: []string{"START=hang"}, StartTimeout: short})
	if e.Code != -1 || !strings.Contains(e.Problem, "within 100ms") {
		t.Errorf("%+v", e)
	}
}

func TestAProgramThatIsNotThereDoesNotStart(t *testing.T) {
	e := startsNot(t, runtime.Config{Command: []string{filepath.Join(t.TempDir(), "missing")}})
	if !errors.Is(e, os.ErrNotExist) {
		t.Errorf("%+v", e)
	}
}

func TestAStartCanBeBrokenOff(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	_, err := runtime.Start(ctx, runtime.Config{
		Command: []string{alone}, Env: []string{"START=hang"}, StartTimeout: time.Minute, Output: io.Discard,
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestAConfigurationOutOfBoundsIsRefused(t *testing.T) {
	command := []string{alone}
	for _, c := range []struct {
		field string
		cfg   runtime.Config
	}{
		{"Command", runtime.Config{}},
		{"Processes", runtime.Config{Command: command, Processes: -1}},
		{"Processes", runtime.Config{Command: command, Processes: 257}},
		{"Timeout", runtime.Config{Command: command, Timeout: time.Millisecond}},
		{"StartTimeout", runtime.Config{Command: command, StartTimeout: time.Hour}},
	} {
		_, err := runtime.Start(t.Context(), c.cfg)
		if e, ok := errors.AsType[*runtime.ConfigError](err); !ok || e.Field != c.field {
			t.Errorf("%s: %v", c.field, err)
		}
	}
}

// A handler that works, is then broken and works again: the switch is a file
// that the command, a shell script, looks for.
func TestWhileNoProcessStartsEveryInvocationFailsAtOnceUntilOneDoes(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "handler")
	text := "#!/bin/sh\n[ ! -e " + dir + "/broken ] || exit 5\nexec " + alone + "\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	logged := newPrinted()
	r, err := runtime.Start(t.Context(), runtime.Config{Command: []string{script}, Output: io.Discard, Logger: slog.New(slog.NewTextHandler(logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err := os.WriteFile(filepath.Join(dir, "broken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = fails[*runtime.ExitError](t, r, event("exit", ""))
	if e := fails[*runtime.StartError](t, r, event("nothing", "")); e.Code != 5 {
		t.Errorf("%+v", e)
	}
	for _, pause := range []string{"100ms", "200ms", "400ms"} {
		logged.waitFor(t, "pause="+pause, 1)
	}
	if err := os.Remove(filepath.Join(dir, "broken")); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := r.Invoke(t.Context(), event("nothing", ""))
		if err == nil {
			break
		}
		if _, ok := errors.AsType[*runtime.StartError](err); !ok {
			t.Fatal(err)
		}
	}
}

func TestAProcessThatAsksAndEndsCountsAsOneThatDoesNotStart(t *testing.T) {
	out := newPrinted()
	r, err := runtime.Start(t.Context(), runtime.Config{
		Command: []string{alone}, Env: []string{"START=ask and exit"}, Output: out, Logger: slog.New(slog.DiscardHandler),
	})
	if err == nil { // it was seen to ask before it was seen to end
		defer func() {
			if err := r.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		out.waitFor(t, "one look is enough", 3)
	}
	for err == nil {
		_, err = r.Invoke(t.Context(), event("nothing", ""))
		if _, ok := errors.AsType[*runtime.ExitError](err); ok { // given to it between its question and its end
			err = nil
		}
	}
	if e, ok := errors.AsType[*runtime.StartError](err); !ok || e.Code != 4 || !strings.Contains(e.Problem, "before it had handled an event") {
		t.Error(err)
	}
}

func TestOutputComesLineByLineWithTheProcessBeforeIt(t *testing.T) {
	r, out := start(t, runtime.Config{})
	answers(t, r, event("print", "one\n\ntwo\nthr"), "null")
	answers(t, r, event("print", "ee\n"+strings.Repeat("x", 70_000)+"\nlast\n"), "null")
	out.waitFor(t, "last\n", 1)
	prefix := "[orders " + pid(t, r) + "] "
	want := prefix + "one\n" + prefix + "\n" + prefix + "two\n" + prefix + "thr" // the SDK's own mark follows on that line
	if got := out.String(); !strings.HasPrefix(got, want) {
		t.Errorf("got %.300s\nwant %s", got, want)
	}
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, prefix) || !strings.HasSuffix(line, "\n") || len(line) > 65_600 {
			t.Errorf("line %.100q", line)
		}
	}
}

func TestTheSDKsMarksAreLeftOutOfTheOutputButItsComplaintsStay(t *testing.T) {
	r, out := start(t, runtime.Config{})
	answers(t, r, event("nothing", ""), "null")
	_ = fails[*runtime.FunctionError](t, r, event("fail", "no such order"))
	answers(t, r, event("print", "the end\n"), "null")
	out.waitFor(t, "the end", 1)
	if got := out.String(); strings.Contains(got, "Invoke Start") || strings.Contains(got, "status code") || !strings.Contains(got, "no such order") {
		t.Errorf("output:\n%s", got)
	}
	if n := len(regexp.MustCompile("Invoke End").FindAllString(out.String(), -1)); n != 1 {
		t.Errorf("%d ends in the output:\n%s", n, out)
	}
}

func TestAHandlerSeesTheParentsEnvironmentItsOwnAndFunctionComputes(t *testing.T) {
	t.Setenv("FROM_PARENT", "p")
	t.Setenv("_LAMBDA_SERVER_PORT", "1")
	t.Setenv("FC_RUNTIME_API", "127.0.0.1:1")
	r, _ := start(t, runtime.Config{Env: []string{"OWN=o", "FC_FUNCTION_NAME=mine"}})
	for name, want := range map[string]string{
		"FROM_PARENT": "p", "_LAMBDA_SERVER_PORT": "", "OWN": "o", "FC_FUNCTION_NAME": "orders", "FC_INSTANCE_ID": "orders-0",
	} {
		answers(t, r, event("environment", name), `"`+want+`"`)
	}
}

// Of two processes that listen on the same port, one says that it is in use,
// and the other one waits where nobody asks.
func TestWhatKeepsAHandlerFromStartingIsToldOnceByTheProcessThatKnows(t *testing.T) {
	t.Parallel()
	taken := filepath.Join(t.TempDir(), "port 9000")
	printed, logged := newPrinted(), newPrinted()
	_, err := runtime.Start(t.Context(), runtime.Config{
		Command: []string{"/bin/sh", "-c", "mkdir '" + taken + "' 2>/dev/null && exec sleep 60; echo address already in use; exit 6"},
		Custom:  true, Processes: 2, StartTimeout: 10 * short,
		Output: printed, Logger: slog.New(slog.NewTextHandler(logged, nil)),
	})
	e, ok := errors.AsType[*runtime.StartError](err)
	if !ok || e.Code != 6 || !strings.Contains(e.Error(), "address already in use") || !strings.Contains(e.Hint, "FC_SERVER_PORT") {
		t.Errorf("%v", err)
	}
	if n := strings.Count(printed.String(), "already in use"); n != 1 || logged.String() != "" {
		t.Errorf("it was started %d times before anything worked; the log:\n%s", n, logged)
	}
}

func TestAProgramThatIsNotReadyInTimeIsToldWithItsLastWords(t *testing.T) {
	t.Parallel()
	e := startsNot(t, runtime.Config{
		Command: []string{"/bin/sh", "-c", "echo listening on 9000; exec sleep 60"}, Custom: true, StartTimeout: 10 * short,
	})
	for _, want := range []string{"it was not ready within 1s", `"listening on 9000"`, "FC_SERVER_PORT"} {
		if !strings.Contains(e.Error(), want) {
			t.Errorf("%q is not in %v", want, e)
		}
	}
}

func TestAFileThatTheSystemDoesNotStartIsToldWithAWayOut(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"handler.py", "print(1)\n", 0o700, "write python3 " + filepath.Join(dir, "handler.py")},
		{"handler", "print(1)\n", 0o700, "a first line such as #!/bin/sh"},
		{"serve.js", "#!/bin/sh\n", 0o600, "chmod +x"},
		{"serve", "#!/no/such/interpreter\n", 0o700, "the program that its #! line names is missing"},
	} {
		path := filepath.Join(dir, c.name)
		if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if e := startsNot(t, runtime.Config{Command: []string{path}}); !strings.Contains(e.Error(), c.want) {
			t.Errorf("%q is not in %v", c.want, e)
		}
	}
	if e := startsNot(t, runtime.Config{Command: []string{"no-such-program"}}); !strings.Contains(e.Error(), "install it, or name it with its path") {
		t.Error(e)
	}
}
