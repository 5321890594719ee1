package invoke

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/culvertio/culvert/functions/runtime"
)

// scenarios are what may happen to an attempt, and what each target makes of
// it. Where they differ, the target cannot know better: an HTTP server that
// panics or dies just hangs up.
var scenarios = []struct {
	do            string
	process, http Class
	answer        string // of a process
}{
	{do: "nothing", process: Done, http: Done, answer: "null"},
	{do: "answer", process: Done, http: Done, answer: `{"batchItemFailures":[]}`},
	{do: "fail", process: FunctionFailed, http: FunctionFailed},
	{do: "panic", process: FunctionFailed, http: MayHaveRun},
	{do: "hang", process: TimedOut, http: TimedOut},
	{do: "exit", process: FunctionFailed, http: MayHaveRun},
	{do: "nothing", process: Done, http: Done, answer: "null"}, // whatever came before, the next attempt is good
}

func scenario(t *testing.T, target Target, do string) Result {
	in := invocation
	in.Payload = []byte(`{"do":"` + do + `"}`)
	patience := time.Minute
	if do == "hang" {
		patience = 300 * time.Millisecond
	}
	return target.Invoke(within(t, patience), in)
}

func TestAProcessDoesAsItsScenarioSays(t *testing.T) {
	doesAsItsScenariosSay(t, "process:"+filepath.Join("testdata", "handler"))
}

func TestAProgramDoesAsItsScenarioSays(t *testing.T) {
	doesAsItsScenariosSay(t, "command:'"+os.Args[0]+"'", roleVariable+"=program")
}

func doesAsItsScenariosSay(t *testing.T, function string, env ...string) {
	t.Helper()
	target, err := Open(t.Context(), function, Options{Name: "scenarios", AtOnce: 1, Env: env, Output: io.Discard, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, target)
	scheme, path, _ := strings.Cut(function, ":")
	for _, s := range scenarios {
		r := scenario(t, target, s.do)
		checkClass(t, r, s.process)
		if r.Class == Done && strings.TrimSpace(string(r.Answer)) != s.answer {
			t.Errorf("%s: answered %q, want %q", s.do, r.Answer, s.answer)
		}
		if r.Class != Done {
			if r.RequestID == "" {
				t.Errorf("%s: no request id", s.do)
			}
			for _, part := range []string{scheme + ":" + strings.Trim(path, "'"), invocation.BatchID, "attempt 2"} {
				if !strings.Contains(r.Err.Error(), part) {
					t.Errorf("%s: the error does not name %s: %v", s.do, part, r.Err)
				}
			}
		}
	}
}

func TestAnHTTPServerDoesAsItsScenarioSays(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event struct{ Do string }
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			t.Error(err)
		}
		switch event.Do {
		case "answer":
			_, _ = io.WriteString(w, `{"batchItemFailures":[]}`)
		case "fail":
			http.Error(w, "asked to fail", http.StatusInternalServerError)
		case "panic":
			panic("asked to panic")
		case "hang":
			<-r.Context().Done()
		case "exit":
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = c.Close()
		}
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.Start()
	defer server.Close()
	target, err := Open(t.Context(), server.URL, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, target)
	for _, s := range scenarios {
		checkClass(t, scenario(t, target, s.do), s.http)
	}
}

func closing(t *testing.T, target Target) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := target.Close(ctx); err != nil {
		t.Error(err)
	}
	r := target.Invoke(ctx, invocation)
	checkClass(t, r, Unreachable)
	if !errors.Is(r.Err, ErrClosed) {
		t.Errorf("after Close: %v", r.Err)
	}
}

// inRole makes a target of this test binary.
func inRole(t *testing.T, role string, output io.Writer) (*ProcessTarget, error) {
	return NewProcess(t.Context(), ProcessConfig{
		Path: os.Args[0], Env: []string{roleVariable + "=" + role},
		Output: output, Logger: slog.New(slog.DiscardHandler),
	})
}

func TestABusyProcessThrottlesAndOneCalledOffMayHaveRun(t *testing.T) {
	printed, output := io.Pipe()
	defer func() { _ = printed.Close() }()
	target, err := inRole(t, "hang", output)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, target)
	ctx, callOff := context.WithCancel(within(t, time.Minute))
	result := make(chan Result)
	go func() { result <- target.Invoke(ctx, invocation) }()
	if line, err := bufio.NewReader(printed).ReadString('\n'); err != nil || !strings.Contains(line, "hanging") {
		t.Fatalf("printed %q, %v", line, err)
	}
	checkClass(t, target.Invoke(within(t, 50*time.Millisecond), invocation), Throttled)
	callOff()
	checkClass(t, <-result, MayHaveRun)
}

func TestAHandlerThatCannotServeIsAnErrorAtOnce(t *testing.T) {
	for _, c := range []struct {
		path string
		want string
	}{
		{"testdata/nowhere", "name a directory of Go source or an executable"},
		{"testdata", "no Go files"},
		{"testdata/handler/main.go", "permission denied"},
	} {
		target, err := Open(t.Context(), "process:"+c.path, Options{AtOnce: 1, Output: io.Discard, Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			closing(t, target)
			t.Errorf("%s is taken", c.path)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error does not say %q: %v", c.path, c.want, err)
		}
	}
	target, err := inRole(t, "exit", io.Discard)
	if err == nil {
		closing(t, target)
	}
	if _, ok := errors.AsType[*runtime.StartError](err); !ok || !strings.Contains(err.Error(), "no configuration") {
		t.Errorf("a handler that ends at once: %v", err)
	}
}

func TestTheRuntimesErrorsHaveTheirClasses(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Class
	}{
		{&runtime.FunctionError{}, FunctionFailed},
		{&runtime.ExitError{}, FunctionFailed},
		{&runtime.DeadlineError{Err: context.DeadlineExceeded}, TimedOut},
		{&runtime.DeadlineError{Err: context.Canceled}, MayHaveRun},
		{&runtime.StartError{LogTail: "tail"}, Broken},
		{&runtime.BusyError{Err: context.DeadlineExceeded}, Throttled},
		{runtime.ErrClosed, Unreachable},
	} {
		if r := judgeProcess(c.err); r.Class != c.want {
			t.Errorf("%T is %v, want %v", c.err, r.Class, c.want)
		}
	}
}

func TestFunctionsThatCannotBeInvokedAreRefusedByName(t *testing.T) {
	for function, want := range map[string]string{
		"":                              "not a function",
		"index":                         "not a function",
		"gopher://geheim/":              "not a function",
		"http://user:geheim@[::1/":      "not a URL",
		"process:":                      "names no handler",
		"command:":                      "names no program",
		"command: 'geheim":              "not closed",
		"fc://cn-hangzhou/orders":       "fc:// functions are not yet supported",
		"lambda://eu-central-1/orders":  "lambda:// functions are not yet supported",
		"process:testdata/handler/none": "name a directory of Go source or an executable",
	} {
		_, err := Open(t.Context(), function, Options{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %v, want %q", function, err, want)
		}
	}
	for _, function := range []string{"process:testdata/handler", "command:python3 --token=geheim"} {
		_, err := Open(t.Context(), function, Options{AtOnce: runtime.MostProcesses + 1})
		if err == nil || !strings.Contains(err.Error(), "lower limit.at_once") || strings.Contains(err.Error(), "geheim") {
			t.Errorf("too many processes: %v", err)
		}
	}
}
