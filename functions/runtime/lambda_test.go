package runtime_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertio/culvert/functions/runtime"
)

// startLambda starts the handler built with aws-lambda-go alone.
func startLambda(t *testing.T, cfg runtime.Config) (*runtime.Runtime, *printed) {
	t.Helper()
	cfg.Command = []string{awsAlone}
	return start(t, cfg)
}

func TestALambdaHandlerGetsItsEventsAndAnswersWithTheBytesThatItChose(t *testing.T) {
	r, _ := startLambda(t, runtime.Config{})
	text := `{"Do":"echo","Number":9223372036854775807,"Text":"größer 🚰"}`
	answers(t, r, []byte(text), text)
	answers(t, r, event("nothing", ""), "null")
	for _, garbage := range []string{"", "no JSON", "<html>\x00"} { // whoever reads the answer judges it
		answers(t, r, event("say", garbage), garbage)
	}
}

func TestALambdaHandlerIsToldWhatLambdaTells(t *testing.T) {
	t.Setenv("AWS_REGION", "eu-central-1")
	t.Setenv("AWS_LAMBDA_MAX_CONCURRENCY", "4")
	t.Setenv("_LAMBDA_SERVER_PORT", "1") // with which the SDK would ask for nothing
	dir := t.TempDir()
	r, _ := startLambda(t, runtime.Config{Timeout: 59500 * time.Millisecond, Dir: dir})
	before := time.Now()
	got, err := r.Invoke(t.Context(), event("told", ""))
	if err != nil {
		t.Fatal(err)
	}
	var told struct {
		Deadline                           int64
		ARN, Request, Trace, Name, Version string
		Memory                             int
	}
	if err := json.Unmarshal(got, &told); err != nil {
		t.Fatal(err)
	}
	deadline := time.UnixMilli(told.Deadline)
	if deadline.Before(before.Add(59499*time.Millisecond)) || deadline.After(time.Now().Add(59500*time.Millisecond)) {
		t.Errorf("deadline %v, invoked after %v", deadline, before)
	}
	if told.ARN != "arn:aws:lambda:eu-central-1:000000000000:function:orders" || told.Request == "" ||
		told.Name != "orders" || told.Version != "$LATEST" || told.Memory != 512 {
		t.Errorf("%+v", told)
	}
	if !regexp.MustCompile(`^Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0$`).MatchString(told.Trace) {
		t.Errorf("trace %s", told.Trace)
	}
	for name, want := range map[string]string{
		"AWS_REGION": "eu-central-1", "_HANDLER": "awsalone", "LAMBDA_TASK_ROOT": dir,
		"AWS_LAMBDA_MAX_CONCURRENCY": "", "_LAMBDA_SERVER_PORT": "",
	} {
		answers(t, r, event("environment", name), want)
	}
}

func TestALambdaHandlersErrorIsItsOwnAndTheProcessLivesOn(t *testing.T) {
	r, _ := startLambda(t, runtime.Config{})
	before := pid(t, r)
	if e := fails[*runtime.FunctionError](t, r, event("fail", "no such order")); e.Type != "errorString" || e.Message != "no such order" || e.RequestID == "" {
		t.Errorf("%+v", e)
	}
	if e := fails[*runtime.FunctionError](t, r, event("refuse", "closed")); e.Type != "refusal" || e.Message != "closed" {
		t.Errorf("%+v", e)
	}
	if after := pid(t, r); after != before {
		t.Errorf("process %s became %s", before, after)
	}
}

func TestALambdaHandlersPanicIsItsErrorAndItsProcessIsStartedAnew(t *testing.T) {
	r, out := startLambda(t, runtime.Config{})
	before := pid(t, r)
	e := fails[*runtime.FunctionError](t, r, event("panic", "index out of range"))
	if e.Message != "index out of range" || !strings.Contains(strings.Join(e.Stack, "\n"), "main.go:") {
		t.Errorf("%+v", e)
	}
	if after := pid(t, r); after == before {
		t.Errorf("process %s was not replaced", before)
	}
	out.waitFor(t, "the process should exit", 1)
}

func TestALambdaProcessThatEndsWithoutAnAnswerIsReportedAndReplaced(t *testing.T) {
	for _, c := range []struct {
		do, in, status string
	}{
		{"exit", "settings are gone", "exit status 7"},
		{"panic elsewhere", "panic: settings are gone", "exit status 2"},
		{"half", "", "exit status 9"},
	} {
		t.Run(c.do, func(t *testing.T) {
			r, _ := startLambda(t, runtime.Config{})
			before := pid(t, r)
			e := fails[*runtime.ExitError](t, r, event(c.do, "settings are gone"))
			if e.Status != c.status || !strings.Contains(e.LogTail, c.in) || fmt.Sprint(e.PID) != before {
				t.Errorf("%+v", e)
			}
			if after := pid(t, r); after == before {
				t.Errorf("process %s was not replaced", before)
			}
		})
	}
}

func TestALambdaProcessIsKilledPastItsDeadline(t *testing.T) {
	t.Parallel()
	r, _ := startLambda(t, runtime.Config{})
	first := runsOutOfTime(t, r, event("hang", ""))
	second := runsOutOfTime(t, r, event("hang", ""))
	if first.PID == second.PID {
		t.Errorf("%+v, then %+v", first, second)
	}
	_ = runsOutOfTime(t, r, event("ignore the deadline", ""))
	answers(t, r, event("nothing", ""), "null")
}

func TestAnswersThatLambdaRefusesAreRefusedAsThere(t *testing.T) {
	t.Parallel()
	r, out := startLambda(t, runtime.Config{})
	answers(t, r, event("wrong id", ""), "400 InvalidRequestID")
	answers(t, r, event("unready", ""), "403 InvalidStateTransition")
	answers(t, r, event("other API", ""), "403 ")
	answers(t, r, event("broken off", ""), "whole")

	// The SDK ends its process when its answer is refused.
	before := pid(t, r)
	answers(t, r, event("answered", ""), `"the first"`)
	if after := pid(t, r); after == before {
		t.Errorf("process %s was not replaced", before)
	}
	out.waitFor(t, "202 OK", 1)
	out.waitFor(t, "unexpected status code: 403", 1)
	if e := fails[*runtime.FunctionError](t, r, event("text error", "out of luck")); e.Type != "Unknown" || e.Message != "out of luck" {
		t.Errorf("%+v", e)
	}
}

func TestALambdaAnswerBeyondTheLimitFails(t *testing.T) {
	t.Parallel()
	r, out := startLambda(t, runtime.Config{})
	size := runtime.AnswerLimit + 100
	answers(t, r, fmt.Appendf(nil, `{"Do":"fill","Size":%d}`, size), strings.Repeat("x", size))
	if e := fails[*runtime.FunctionError](t, r, fmt.Appendf(nil, `{"Do":"fill","Size":%d}`, size+1)); e.Type != "ResponseTooLarge" {
		t.Error(e)
	}
	out.waitFor(t, "unexpected status code: 413", 1)
	answers(t, r, event("nothing", ""), "null") // from the next process
}

func TestAnAnswerThatLambdaSaysBrokeOffIsAnError(t *testing.T) {
	r, _ := startLambda(t, runtime.Config{Env: []string{"START=stream"}})
	if e := fails[*runtime.FunctionError](t, r, event("", "")); e.Type != "refusal" || e.Message != "the shelf fell over" {
		t.Errorf("%+v", e)
	}
}

func TestALambdaHandlerThatSaysItCannotStartIsQuoted(t *testing.T) {
	e := startsNot(t, runtime.Config{Command: []string{awsAlone}, Env: []string{"START=unready"}})
	if e.Code != 1 || !strings.Contains(e.Problem, "Runtime.NoSettings: cannot find my settings") || !strings.Contains(e.LogTail, "202 OK") {
		t.Errorf("%+v", e)
	}
}

func TestALambdaProcessThatAsksManyTimesAtOnceGetsOneEventAtATime(t *testing.T) {
	t.Parallel()
	r, out := startLambda(t, runtime.Config{Env: []string{"AWS_LAMBDA_MAX_CONCURRENCY=4"}})
	answers(t, r, event("environment", "AWS_LAMBDA_MAX_CONCURRENCY"), "4")
	first := pid(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	var hung sync.WaitGroup
	hung.Go(func() { _, _ = r.Invoke(ctx, event("hang", "")) })
	out.waitFor(t, "hanging", 1)
	queued, give := context.WithTimeout(t.Context(), short)
	defer give()
	if _, err := r.Invoke(queued, event("pid", "")); err == nil {
		t.Error("it got a second event")
	}
	cancel()
	hung.Wait()
	if second := pid(t, r); second == first {
		t.Errorf("process %s was not replaced", first)
	}
}

func TestALambdaHandlerThatWantsToKnowItsEndIsAsked(t *testing.T) {
	out := newPrinted()
	r, err := runtime.Start(t.Context(), runtime.Config{Command: []string{awsAlone}, Env: []string{"START=sigterm"}, Output: out})
	if err != nil {
		t.Fatal(err)
	}
	answers(t, r, event("nothing", ""), "null")
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, "the light goes out") || strings.Contains(text, "WARNING") {
		t.Errorf("output:\n%s", text)
	}
}

func TestAHandlerOfBothPlatformsTakesFunctionComputes(t *testing.T) {
	r, out := start(t, runtime.Config{Command: []string{started}})
	order := func(do string) []byte {
		return fmt.Appendf(nil, `{"Version":"Sync-v1","Batch":{"Trigger":%q},"Records":[]}`, do)
	}
	answers(t, r, order("deadline"), "null")
	// Lambda's SDK would end the process.
	_ = fails[*runtime.FunctionError](t, r, order("panic"))
	answers(t, r, order(""), "null")
	e := fails[*runtime.ExitError](t, r, order("exit"))
	out.waitFor(t, fmt.Sprintf("[orders %d] ", e.PID), 1)
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, fmt.Sprintf("[orders %d] ", e.PID)) {
			t.Errorf("of another process: %s", line)
		}
	}
}

func TestAProcessGetsNoEventsOverASecondAPIAndItsAnswersThereAreRefused(t *testing.T) {
	logged := newPrinted()
	r, err := runtime.Start(t.Context(), runtime.Config{
		Command: []string{alone}, Output: io.Discard, Logger: slog.New(slog.NewTextHandler(logged, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	answers(t, r, event("ask elsewhere", ""), "null")
	logged.waitFor(t, "second runtime API", 1)
	for range 5 {
		answers(t, r, event("answer elsewhere", ""), "403")
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
