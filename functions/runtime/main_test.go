package runtime_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/culvertio/culvert/functions/runtime"
)

// The handlers: built with fc-runtime-go-sdk alone, with aws-lambda-go alone,
// with functions.Start, and a program for a custom runtime.
var alone, awsAlone, started, program string

func TestMain(m *testing.M) {
	if name := os.Getenv("CULVERT_TEST_PARENT"); name != "" {
		parent(name)
		return
	}
	var cleanups []func()
	for binary, source := range map[*string]string{
		&alone: "testdata/handlers/fcalone", &awsAlone: "testdata/handlers/awsalone",
		&started: "../testdata/handlers/started", &program: "testdata/handlers/program",
	} {
		built, cleanup, err := runtime.Build(context.Background(), source, "")
		cleanups = append(cleanups, cleanup)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		*binary = built
	}
	code := m.Run()
	for _, cleanup := range cleanups {
		cleanup()
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// parent is the test binary run anew as a dispatcher that will be killed: it
// starts the handler, says so, and waits.
func parent(handler string) {
	_, err := runtime.Start(context.Background(), runtime.Config{
		Command: []string{handler}, Env: []string{"START=dial " + os.Getenv("CULVERT_TEST_DIAL")},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("started")
	select {}
}

// printed is an Output that can be read and waited for.
type printed struct {
	mu    sync.Mutex
	b     bytes.Buffer
	wrote chan struct{} // closed and replaced by each Write
}

func newPrinted() *printed { return &printed{wrote: make(chan struct{})} }

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.wrote)
	p.wrote = make(chan struct{})
	return p.b.Write(b)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

// waitFor blocks until text has been printed so many times.
func (p *printed) waitFor(t *testing.T, text string, times int) {
	t.Helper()
	for {
		p.mu.Lock()
		found, wrote := strings.Count(p.b.String(), text), p.wrote
		p.mu.Unlock()
		if found >= times {
			return
		}
		select {
		case <-wrote:
		case <-time.After(time.Minute):
			t.Fatalf("waiting for %q, got:\n%s", text, p)
		}
	}
}

// start starts a handler, alone if Command names no other, and closes it at the
// test's end.
func start(t *testing.T, cfg runtime.Config) (*runtime.Runtime, *printed) {
	t.Helper()
	out := newPrinted()
	cfg.Output = out
	cfg.Name = "orders"
	if cfg.Command == nil {
		cfg.Command = []string{alone}
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	r, err := runtime.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r, out
}

// event is what the handler is told to do.
func event(do, text string) []byte {
	b, _ := json.Marshal(map[string]string{"Do": do, "Text": text})
	return b
}

// answers fails the test unless the handler answers with want.
func answers(t *testing.T, r *runtime.Runtime, event []byte, want string) {
	t.Helper()
	got, err := r.Invoke(t.Context(), event)
	if err != nil {
		t.Fatalf("Invoke(%s): %v", event, err)
	}
	if string(got) != want {
		t.Fatalf("Invoke(%s) = %.200s, want %.200s", event, got, want)
	}
}

// fails returns the error of type T that the event must bring.
func fails[T error](t *testing.T, r *runtime.Runtime, event []byte) T {
	t.Helper()
	got, err := r.Invoke(t.Context(), event)
	e, ok := errors.AsType[T](err)
	if !ok {
		t.Fatalf("Invoke(%s) = %q, %v; want a %T", event, got, err, e)
	}
	if err.Error() == "" || strings.Contains(err.Error(), "%!") {
		t.Errorf("message: %s", err)
	}
	return e
}

// runsOutOfTime gives the handler less time for the event than it takes.
func runsOutOfTime(t *testing.T, r *runtime.Runtime, event []byte) *runtime.DeadlineError {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), short)
		_, err := r.Invoke(ctx, event)
		cancel()
		if _, busy := errors.AsType[*runtime.BusyError](err); busy { // the process is still starting
			continue
		}
		e, ok := errors.AsType[*runtime.DeadlineError](err)
		if !ok || !errors.Is(e, context.DeadlineExceeded) {
			t.Fatalf("Invoke(%s): %v; want a DeadlineError", event, err)
		}
		return e
	}
}

func pid(t *testing.T, r *runtime.Runtime) string {
	t.Helper()
	got, err := r.Invoke(t.Context(), event("pid", ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

const short = 100 * time.Millisecond
