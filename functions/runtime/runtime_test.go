package runtime_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertio/culvert/functions/runtime"
)

func TestAnEventReachesTheHandlerByteForByteAndItsAnswerComesBack(t *testing.T) {
	r, _ := start(t, runtime.Config{})
	answers(t, r, []byte(`{"Do":"echo","Number":9223372036854775807,"Text":"größer\u0000 <&> 🚰"}`),
		`{"Do":"echo","Number":9223372036854775807,"Text":"größer\u0000 \u003c\u0026\u003e 🚰"}`) // as encoding/json compacts it
	answers(t, r, event("nothing", ""), "null")
	answers(t, r, event("bytes", "abc"), `"YWJj"`)
}

func TestALargeEventAndALargeAnswerPass(t *testing.T) {
	t.Parallel()
	r, _ := start(t, runtime.Config{})
	large := event("count", strings.Repeat("x", 8<<20))
	answers(t, r, large, fmt.Sprint(len(large)))
	size := runtime.AnswerLimit - len(`""`)
	answers(t, r, fmt.Appendf(nil, `{"Do":"fill","Size":%d}`, size), `"`+strings.Repeat("x", size)+`"`)
}

func TestAnAnswerBeyondTheLimitFailsAtOnceAndTheProcessLivesOn(t *testing.T) {
	t.Parallel()
	r, _ := start(t, runtime.Config{})
	before := pid(t, r)
	e := fails[*runtime.FunctionError](t, r, fmt.Appendf(nil, `{"Do":"fill","Size":%d}`, runtime.AnswerLimit))
	if e.Type != "ResponseTooLarge" {
		t.Error(e)
	}
	if after := pid(t, r); after != before {
		t.Errorf("process %s became %s", before, after)
	}
}

func TestTheHandlerIsToldItsRequestNameAndDeadline(t *testing.T) {
	r, _ := start(t, runtime.Config{Timeout: 59500 * time.Millisecond})
	before := time.Now()
	got, err := r.Invoke(t.Context(), event("told", ""))
	if err != nil {
		t.Fatal(err)
	}
	var told struct {
		Deadline      int64
		Timeout       int
		Name, Request string
	}
	if err := json.Unmarshal(got, &told); err != nil {
		t.Fatal(err)
	}
	deadline := time.UnixMilli(told.Deadline)
	if deadline.Before(before.Add(59499*time.Millisecond)) || deadline.After(time.Now().Add(59500*time.Millisecond)) {
		t.Errorf("deadline %v, invoked after %v", deadline, before)
	}
	if told.Timeout != 60 || told.Name != "orders" || told.Request == "" {
		t.Errorf("%+v", told)
	}
}

func TestTheCallersDeadlineIsToldWhenItIsTheEarlier(t *testing.T) {
	r, _ := start(t, runtime.Config{Timeout: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := r.Invoke(ctx, event("told", ""))
	if err != nil {
		t.Fatal(err)
	}
	var told struct{ Deadline int64 }
	if err := json.Unmarshal(got, &told); err != nil {
		t.Fatal(err)
	}
	limit, _ := ctx.Deadline()
	if told.Deadline != limit.UnixMilli() {
		t.Errorf("told %d, want %d", told.Deadline, limit.UnixMilli())
	}
}

func TestAHandlersErrorIsItsOwnAndTheProcessLivesOn(t *testing.T) {
	r, _ := start(t, runtime.Config{})
	before := pid(t, r)
	if e := fails[*runtime.FunctionError](t, r, event("fail", "no such order")); e.Type != "errorString" || e.Message != "no such order" || e.RequestID == "" {
		t.Errorf("%+v", e)
	}
	if e := fails[*runtime.FunctionError](t, r, event("refuse", "closed")); e.Type != "refusal" || e.Message != "closed" {
		t.Errorf("%+v", e)
	}
	if e := fails[*runtime.FunctionError](t, r, event("panic", "index out of range")); e.Message != "index out of range" || len(e.Stack) == 0 || !strings.Contains(strings.Join(e.Stack, "\n"), "main.go:") {
		t.Errorf("%+v", e)
	}
	if after := pid(t, r); after != before {
		t.Errorf("process %s became %s", before, after)
	}
}

func TestAnErrorThatIsNotTheSDKsIsKeptAsItIs(t *testing.T) {
	r, _ := start(t, runtime.Config{})
	if e := fails[*runtime.FunctionError](t, r, event("text error", "out of\xffluck")); e.Type != "Unknown" || e.Message != "out of\ufffdluck" {
		t.Errorf("%+v", e)
	}
}

func TestALongErrorIsCut(t *testing.T) {
	r, _ := start(t, runtime.Config{})
	for _, do := range []string{"fail", "text error"} {
		e := fails[*runtime.FunctionError](t, r, event(do, strings.Repeat("ö", 1<<20)))
		if len(e.Error()) > 5<<10 || !strings.Contains(e.Error(), "öööö") {
			t.Errorf("%s: an error of %d bytes", do, len(e.Error()))
		}
	}
}

func TestAProcessThatEndsWhileItHandlesAnEventIsReportedAndReplaced(t *testing.T) {
	for _, c := range []struct {
		do, text   string
		code       int
		in, status string
	}{
		{"exit", "settings are gone", 7, "settings are gone\n", "exit status 7"},
		{"exit", strings.Repeat("x", 8<<10) + "\nthe end", 7, "xxx\nthe end\n", "exit status 7"},
		{"panic elsewhere", "nobody recovers me", 2, "panic: nobody recovers me", "exit status 2"},
		{"killed", "", -1, "", "signal: killed"},
		{"half", "", 9, "", "exit status 9"},
		{"grandchild", "", 8, "", "exit status 8"},
	} {
		t.Run(c.do, func(t *testing.T) {
			r, out := start(t, runtime.Config{})
			answers(t, r, event("print", "of another event\n"), "null")
			out.waitFor(t, "of another event", 1)
			before := pid(t, r)
			e := fails[*runtime.ExitError](t, r, event(c.do, c.text))
			if e.Code != c.code || e.Status != c.status || !strings.Contains(e.LogTail, c.in) || strings.Contains(e.LogTail, "another") || len(e.LogTail) > 4<<10 || fmt.Sprint(e.PID) != before {
				t.Errorf("%+v", e)
			}
			if after := pid(t, r); after == before {
				t.Errorf("process %s was not replaced", before)
			}
		})
	}
}

func TestPastItsDeadlineAProcessIsKilledAndReplaced(t *testing.T) {
	r, _ := start(t, runtime.Config{Timeout: short})
	first := fails[*runtime.DeadlineError](t, r, event("hang", ""))
	second := fails[*runtime.DeadlineError](t, r, event("hang", ""))
	if !errors.Is(first, context.DeadlineExceeded) || first.Timeout != short || first.PID == second.PID {
		t.Errorf("%+v, then %+v", first, second)
	}
}

func TestAProcessThatIsToBeKilledIsGivenNothingElse(t *testing.T) {
	r, _ := start(t, runtime.Config{})
	var calls sync.WaitGroup
	for range 3 {
		hung := make(chan struct{})
		calls.Go(func() {
			defer close(hung)
			_ = runsOutOfTime(t, r, event("hang", ""))
		})
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-tick.C:
				calls.Go(func() {
					if _, err := r.Invoke(t.Context(), event("nothing", "")); err != nil {
						t.Error(err)
					}
				})
				continue
			case <-hung:
			}
			tick.Stop()
			break
		}
		calls.Wait()
	}
}

func TestAnOutputThatBlocksHoldsUpNeitherADeadlineNorClose(t *testing.T) {
	t.Parallel()
	read, write := io.Pipe() // nobody reads
	r, err := runtime.Start(t.Context(), runtime.Config{
		Command: []string{alone}, Output: write, Timeout: short, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if e := fails[*runtime.DeadlineError](t, r, event("hang", "")); !errors.Is(e, context.DeadlineExceeded) {
		t.Error(e)
	}
	if err := r.Close(context.Background()); err != nil {
		t.Error(err)
	}
	_ = read.Close() // never fails
}

func TestACallerWhoGivesUpEndsTheWork(t *testing.T) {
	r, out := start(t, runtime.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	var call sync.WaitGroup
	call.Go(func() {
		_, err := r.Invoke(ctx, event("hang", ""))
		if e, ok := errors.AsType[*runtime.DeadlineError](err); !ok || !errors.Is(e, context.Canceled) || e.LogTail != "hanging\n" {
			t.Errorf("%+v", err)
		}
	})
	out.waitFor(t, "hanging", 1)
	cancel()
	call.Wait()
	answers(t, r, event("nothing", ""), "null") // from another process
}

func TestACallWhoseTimeIsOverCostsNoProcess(t *testing.T) {
	r, _ := start(t, runtime.Config{})
	before := pid(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Invoke(ctx, event("nothing", ""))
	if e, ok := errors.AsType[*runtime.BusyError](err); !ok || !errors.Is(e, context.Canceled) {
		t.Error(err)
	}
	if after := pid(t, r); after != before {
		t.Errorf("process %s became %s", before, after)
	}
}

func TestAnAnswerToAnotherRequestIsRefused(t *testing.T) {
	r, _ := start(t, runtime.Config{})
	answers(t, r, event("wrong id", ""), "409")
	answers(t, r, event("elsewhere", ""), "404")
}

func TestASecondAnswerIsNeverTakenForTheNextEvents(t *testing.T) {
	r, _ := start(t, runtime.Config{})
	for i := range 50 {
		answers(t, r, event("twice", ""), `"the first"`)
		text := string(event("echo", fmt.Sprint(i)))
		answers(t, r, []byte(text), text)
	}
}

func TestAnAnswerThatEndsLateIsNotTakenForTheNextEvents(t *testing.T) {
	r, _ := start(t, runtime.Config{})
	for range 5 {
		answers(t, r, event("begin an answer", ""), `"in time"`)
		answers(t, r, event("end it", ""), "409")
	}
}

func TestEachProcessHandlesOneEventAtATime(t *testing.T) {
	r, out := start(t, runtime.Config{Processes: 3})
	ctx, cancel := context.WithCancel(t.Context())
	var (
		pids [3]int
		all  sync.WaitGroup
	)
	for i := range pids {
		all.Go(func() {
			_, err := r.Invoke(ctx, event("hang", ""))
			e, ok := errors.AsType[*runtime.DeadlineError](err)
			if !ok || !errors.Is(e, context.Canceled) {
				t.Error(err)
				return
			}
			pids[i] = e.PID
		})
	}
	out.waitFor(t, "hanging", 3)
	busy, done := context.WithTimeout(t.Context(), short)
	defer done()
	_, err := r.Invoke(busy, event("nothing", ""))
	if e, ok := errors.AsType[*runtime.BusyError](err); !ok || !errors.Is(e, context.DeadlineExceeded) {
		t.Error(err)
	}
	cancel()
	all.Wait()
	if pids[0] == pids[1] || pids[1] == pids[2] || pids[0] == pids[2] {
		t.Errorf("processes %v", pids)
	}
}

func TestManyCallersShareFewProcesses(t *testing.T) {
	r, _ := start(t, runtime.Config{Processes: 2})
	var all sync.WaitGroup
	for caller := range 8 {
		all.Go(func() {
			for i := range 25 {
				text := string(event("echo", fmt.Sprintf("%d/%d", caller, i)))
				got, err := r.Invoke(t.Context(), []byte(text))
				if err != nil || string(got) != text {
					t.Errorf("Invoke(%s) = %s, %v", text, got, err)
				}
			}
		})
	}
	all.Wait()
}

func TestCloseWaitsForWhatIsUnderWayAndRefusesTheRest(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	r, _ := start(t, runtime.Config{})
	var all sync.WaitGroup
	all.Go(func() {
		if got, err := r.Invoke(t.Context(), event("hold", listener.Addr().String())); string(got) != `"held"` {
			t.Errorf("%s, %v", got, err)
		}
	})
	conn, err := listener.Accept() // the handler is at it
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 1)
	all.Go(func() { // in line behind it
		_, err := r.Invoke(t.Context(), event("nothing", ""))
		waiting <- err
	})
	for range 2 {
		all.Go(func() {
			if err := r.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	if err := <-waiting; !errors.Is(err, runtime.ErrClosed) {
		t.Error(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
	if _, err := r.Invoke(t.Context(), event("nothing", "")); !errors.Is(err, runtime.ErrClosed) {
		t.Error(err)
	}
}

func TestTheEndOfClosesContextKillsAtOnce(t *testing.T) {
	r, out := start(t, runtime.Config{Timeout: time.Hour})
	var all sync.WaitGroup
	all.Go(func() {
		_, err := r.Invoke(t.Context(), event("hang", ""))
		if e, ok := errors.AsType[*runtime.ExitError](err); !ok || e.Status != "signal: killed" {
			t.Error(err)
		}
	})
	out.waitFor(t, "hanging", 1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	all.Wait()
}

func TestAProcessThatIgnoresTheRequestToEndIsKilled(t *testing.T) {
	r, _ := start(t, runtime.Config{Env: []string{"START=stubborn"}})
	ctx, cancel := context.WithTimeout(context.Background(), short)
	defer cancel()
	if err := r.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
