package runtime_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertio/culvert/functions/runtime"
)

// startProgram starts the program for a custom runtime.
func startProgram(t *testing.T, cfg runtime.Config) (*runtime.Runtime, *printed) {
	t.Helper()
	cfg.Custom = true
	if cfg.Command == nil {
		cfg.Command = []string{program}
	}
	return start(t, cfg)
}

func TestAProgramIsPostedEachEventAndItsBodyIsTheAnswer(t *testing.T) {
	t.Parallel()
	r, _ := startProgram(t, runtime.Config{Timeout: 59500 * time.Millisecond})
	text := `{"Do":"echo","Text":"größer 🚰"}`
	answers(t, r, []byte(text), text)
	answers(t, r, event("nothing", ""), "")
	answers(t, r, event("status", "200"), `{"errorType":"OutOfStock","errorMessage":"no such order"}`)
	large := event("count", strings.Repeat("x", 8<<20))
	answers(t, r, large, fmt.Sprint(len(large)))
	answers(t, r, fmt.Appendf(nil, `{"Do":"fill","Size":%d}`, runtime.AnswerLimit), strings.Repeat("x", runtime.AnswerLimit))

	before := time.Now()
	got, err := r.Invoke(t.Context(), event("told", ""))
	if err != nil {
		t.Fatal(err)
	}
	var told map[string]string
	if err := json.Unmarshal(got, &told); err != nil {
		t.Fatal(err)
	}
	if told["type"] != "application/octet-stream" || told["name"] != "orders" || told["path"] != "/invoke" || told["timeout"] != "60" ||
		told["request"] == "" || told["deadline"] < fmt.Sprint(before.UnixMilli()) {
		t.Errorf("%v", told)
	}
}

func TestAProgramGetsAPortAndNoRuntimeAPI(t *testing.T) {
	t.Setenv("FC_RUNTIME_API", "127.0.0.1:1")
	t.Setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")
	t.Setenv("PORT", "80")
	r, _ := startProgram(t, runtime.Config{Env: []string{"OWN=o"}})
	for name, want := range map[string]string{"FC_RUNTIME_API": "", "AWS_LAMBDA_RUNTIME_API": "", "OWN": "o", "FC_FUNCTION_NAME": "orders"} {
		answers(t, r, event("environment", name), want)
	}
	port, err := r.Invoke(t.Context(), event("environment", "FC_SERVER_PORT"))
	if err != nil {
		t.Fatal(err)
	}
	answers(t, r, event("environment", "PORT"), string(port))
}

func TestAProgramMayListenOnTheLoopbackInterfaceOfEitherProtocol(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		r, _ := startProgram(t, runtime.Config{Env: []string{"LISTEN=" + host}})
		answers(t, r, event("echo", host), string(event("echo", host)))
	}
}

func TestAProgramSaysByItsStatusThatItFailed(t *testing.T) {
	r, _ := startProgram(t, runtime.Config{})
	before := pid(t, r)
	if e := fails[*runtime.FunctionError](t, r, event("status", "404")); e.Type != "OutOfStock" || e.Message != "no such order" || e.RequestID == "" {
		t.Errorf("%+v", e)
	}
	for _, status := range []int{302, 400, 404, 500, 503} {
		e := fails[*runtime.FunctionError](t, r, fmt.Appendf(nil, `{"Do":"fail","Text":"no such order","Size":%d}`, status))
		if e.Type != fmt.Sprint("HTTP ", status) || e.Message != "no such order\n" {
			t.Errorf("%+v", e)
		}
	}
	if e := fails[*runtime.FunctionError](t, r, fmt.Appendf(nil, `{"Do":"fill","Size":%d}`, runtime.AnswerLimit+1)); e.Type != "ResponseTooLarge" {
		t.Errorf("%+v", e)
	}
	if after := pid(t, r); after != before {
		t.Errorf("process %s became %s", before, after)
	}
}

func TestAProgramThatHangsUpOrTalksNonsenseFails(t *testing.T) {
	t.Parallel()
	r, _ := startProgram(t, runtime.Config{})
	before := pid(t, r)
	for _, bad := range [][]byte{
		event("panic", "index out of range"),
		event("hang up", ""),
		event("hang up", "no HTTP at all\r\n\r\n"),
		event("hang up", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
	} {
		if e := fails[*runtime.FunctionError](t, r, bad); e.Type != "NoAnswer" {
			t.Errorf("%s: %+v", bad, e)
		}
	}
	if after := pid(t, r); after != before {
		t.Errorf("process %s became %s", before, after)
	}
}

func TestAProgramThatAnswersBeforeItHasReadIsTaken(t *testing.T) {
	t.Parallel()
	r, _ := startProgram(t, runtime.Config{})
	for range 20 {
		answers(t, r, event("early", strings.Repeat("x", 1<<20)), "")
	}
}

func TestAProgramThatEndsWhileItHandlesAnEventIsReportedAndReplaced(t *testing.T) {
	r, _ := startProgram(t, runtime.Config{})
	before := pid(t, r)
	e := fails[*runtime.ExitError](t, r, event("exit", "settings are gone"))
	if e.Code != 7 || !strings.Contains(e.LogTail, "settings are gone\n") || fmt.Sprint(e.PID) != before {
		t.Errorf("%+v", e)
	}
	if after := pid(t, r); after == before {
		t.Errorf("process %s was not replaced", before)
	}
}

func TestAProgramThatStopsListeningIsReplaced(t *testing.T) {
	t.Parallel()
	r, _ := startProgram(t, runtime.Config{})
	before := pid(t, r)
	answers(t, r, event("stop listening", ""), "")
	if e := fails[*runtime.ExitError](t, r, event("nothing", "")); fmt.Sprint(e.PID) != before {
		t.Errorf("%+v", e)
	}
	if after := pid(t, r); after == before {
		t.Errorf("process %s was not replaced", before)
	}
}

func TestAnAnswerCountsThoughTheProgramEndsAfterIt(t *testing.T) {
	for range 5 {
		r, _ := startProgram(t, runtime.Config{}) // anew, as the next event may still meet it
		answers(t, r, event("answer and exit", ""), "goodbye")
	}
}

func TestPastItsDeadlineAProgramIsKilledAndReplaced(t *testing.T) {
	t.Parallel()
	r, _ := startProgram(t, runtime.Config{})
	first := runsOutOfTime(t, r, event("hang", ""))
	second := runsOutOfTime(t, r, event("hang", ""))
	if first.PID == second.PID {
		t.Errorf("%+v, then %+v", first, second)
	}
	answers(t, r, event("nothing", ""), "")
}

func TestAProgramsProcessesHandleOneEventEach(t *testing.T) {
	r, _ := startProgram(t, runtime.Config{Processes: 3})
	held := listen(t)
	pids := make(chan string, 3)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			got, err := r.Invoke(t.Context(), event("hold", held.Addr().String()))
			if err != nil {
				t.Error(err)
			}
			pids <- string(got)
		})
	}
	var holding []net.Conn
	for range 3 {
		holding = append(holding, accept(t, held))
	}
	for _, conn := range holding {
		_ = conn.Close()
	}
	all.Wait()
	if a, b, c := <-pids, <-pids, <-pids; a == b || b == c || a == c {
		t.Errorf("processes %s, %s, %s", a, b, c)
	}
}

func TestAProgramThatDoesNotListenDoesNotStart(t *testing.T) {
	t.Parallel()
	e := startsNot(t, runtime.Config{Command: []string{program}, Custom: true, Env: []string{"START=exit"}})
	if e.Code != 3 || e.LogTail != "cannot find my settings\n" || !strings.Contains(e.Hint, "FC_SERVER_PORT") {
		t.Errorf("%+v", e)
	}
	e = startsNot(t, runtime.Config{Command: []string{program}, Custom: true, Env: []string{"START=hang"}, StartTimeout: 2 * short})
	if e.Code != -1 || !strings.Contains(e.Problem, "not ready within 200ms") {
		t.Errorf("%+v", e)
	}
}

func TestAProgramIsInitializedOnceBeforeItsFirstEventIfAskedTo(t *testing.T) {
	r, _ := startProgram(t, runtime.Config{Initialize: true})
	answers(t, r, event("prepared", ""), "/initialize")
	answers(t, r, event("prepared", ""), "/initialize")
	r, _ = startProgram(t, runtime.Config{})
	answers(t, r, event("prepared", ""), "")
	e := startsNot(t, runtime.Config{Command: []string{program}, Custom: true, Initialize: true, Env: []string{"START=unready"}})
	if !strings.Contains(e.Problem, "NoSettings: cannot find my settings") {
		t.Errorf("%+v", e)
	}
}

func TestWhatAProgramHasStartedEndsWhenItDoes(t *testing.T) {
	lives := listen(t)
	r, _ := startProgram(t, runtime.Config{})
	answers(t, r, event("child", lives.Addr().String()), "")
	child := accept(t, lives)
	_ = fails[*runtime.ExitError](t, r, event("exit", ""))
	hungUp(t, child)
}

func TestAProgramIsAskedToEndAndThenKilledWithAllThatItStarted(t *testing.T) {
	t.Parallel() // what reaps orphans may take its time
	lives := listen(t)
	out := newPrinted()
	// A shell around it, as people write one.
	r, err := runtime.Start(t.Context(), runtime.Config{
		Command: []string{"/bin/sh", "-c", program + " && echo done"}, Custom: true, Env: []string{"START=polite"},
		Output: out, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	answers(t, r, event("child", lives.Addr().String()), "")
	child := accept(t, lives)
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	hungUp(t, child)
	if !strings.Contains(out.String(), "tidied up") {
		t.Errorf("output:\n%s", out)
	}
}

func TestAProgramBehindAShellHasItsGraceThoughItPrintsElsewhere(t *testing.T) {
	t.Parallel() // what reaps orphans may take its time
	farewell, log := listen(t), filepath.Join(t.TempDir(), "log")
	r, _ := startProgram(t, runtime.Config{
		Command: []string{"/bin/sh", "-c", program + " >" + log + " 2>&1 && echo done"},
		Env:     []string{"START=polite", "FAREWELL=" + farewell.Addr().String()},
	})
	answers(t, r, event("nothing", ""), "")
	var closing sync.WaitGroup
	closing.Go(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
		_ = farewell.Close()
	})
	if conn, err := farewell.Accept(); err != nil {
		t.Error("it was killed: ", err)
	} else {
		_ = conn.Close()
	}
	closing.Wait()
	if text, err := os.ReadFile(log); err != nil || !strings.HasSuffix(string(text), "tidied up\n") {
		t.Errorf("%q, %v", text, err)
	}
}

func TestAnotherProgramTakesOver(t *testing.T) {
	r, _ := startProgram(t, runtime.Config{Processes: 2})
	answers(t, r, event("arguments", ""), "")
	replaces(t, r, program, "second")
	for range 10 {
		answers(t, r, event("arguments", ""), "second")
	}
}

func TestAProgramsMarksAreLeftOutOfTheOutput(t *testing.T) {
	r, out := startProgram(t, runtime.Config{})
	for range 3 {
		answers(t, r, event("nothing", ""), "")
	}
	_ = fails[*runtime.ExitError](t, r, event("exit", "the end"))
	out.waitFor(t, "the end", 1)
	if strings.Contains(out.String(), "FC Invoke") {
		t.Errorf("output:\n%s", out)
	}
}

func TestInitializeIsForProgramsOnly(t *testing.T) {
	_, err := runtime.Start(t.Context(), runtime.Config{Command: []string{alone}, Initialize: true, Output: io.Discard})
	if e, ok := errors.AsType[*runtime.ConfigError](err); !ok || e.Field != "Initialize" {
		t.Error(err)
	}
}
