package dispatcher_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/culvertio/culvert/dispatcher"
	"github.com/culvertio/culvert/dispatcher/invoke"
	"github.com/culvertio/culvert/functions"
	"github.com/culvertio/culvert/state"
	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/emulator/emulatortest"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// world is everything around a dispatcher, in one synctest bubble: an
// emulator spoken to in its wire format, a ledger, and a function.
type world struct {
	t        *testing.T
	emulator *emulatortest.Server
	redis    *miniredis.Miniredis
	ledger   *state.Redis
	function *function
	target   invoke.Target // invoked in the function's place; nil: the function
	// answer lets a test spoil what the service answers; nil: nothing.
	answer func(path string, body []byte) []byte
	// status lets a test answer in the service's place; 0: it does not.
	status func(path string) (code int, body []byte)
	config dispatcher.Config
	log    *slog.Logger
}

func newWorld(t *testing.T, config emulator.Config) *world {
	e := emulatortest.Pipe(t, config)
	server := miniredis.NewMiniRedis()
	ledger := state.OpenMiniredis(server, quietLog())
	t.Cleanup(func() {
		ledger.Close()
		server.Close()
	})
	w := &world{t: t, log: quietLog(), emulator: e, redis: server, ledger: ledger, function: &function{revisions: map[string][]int64{}}}
	w.config = dispatcher.Config{
		Tunnel: dispatcher.Tunnel{
			Endpoint: e.Endpoint, Instance: "local", Table: "orders", Name: "orders-feed", Create: "BaseAndStream",
			Credentials: tunnel.StaticCredentials("id", "secret", ""),
		},
		Heartbeat:  dispatcher.Heartbeat{Interval: time.Second, Timeout: 10 * time.Second, Gap: 100 * time.Millisecond},
		Checkpoint: dispatcher.Checkpoint{Interval: time.Second},
		Triggers:   []dispatcher.Trigger{{Name: "index", Function: "http://function.test/", Timeout: 10 * time.Second}},
	}
	err := e.CreateTable(emulator.TableSpec{
		Name: "orders",
		Key:  []emulator.KeyColumn{{Name: "id", Type: plainbuffer.String}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// RoundTrip takes a request to the emulator, unless the test answers it.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.status != nil {
		if code, body := w.status(r.URL.Path); code != 0 {
			recorder := httptest.NewRecorder()
			recorder.Code = code
			recorder.Body.Write(body)
			return recorder.Result(), r.Body.Close()
		}
	}
	answer, err := w.emulator.Client.Transport.RoundTrip(r)
	if err != nil || w.answer == nil {
		return answer, err
	}
	body, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return nil, err
	}
	body = w.answer(r.URL.Path, body)
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return answer, nil
}

// put writes a revision of a row.
func (w *world) put(key string, revision int64) {
	w.t.Helper()
	err := w.emulator.Write("orders", emulator.Change{
		Action: tunnelpb.ActionType_PUT_ROW,
		Row: plainbuffer.Row{
			Key:     []plainbuffer.Cell{{Name: []byte("id"), Value: plainbuffer.StringValue(key)}},
			Columns: []plainbuffer.Cell{{Name: []byte("revision"), Value: plainbuffer.IntegerValue(revision)}},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// running is a dispatcher at work.
type running struct {
	*dispatcher.Dispatcher
	w    *world
	stop context.CancelFunc
	done chan error
}

func (w *world) start() *running {
	w.t.Helper()
	client, err := tunnel.NewClient(tunnel.ClientConfig{
		Endpoint: w.config.Tunnel.Endpoint, Instance: "local", Credentials: w.config.Tunnel.Credentials,
		HTTPClient: &http.Client{Transport: w}, Logger: w.log,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	var target invoke.Target = w.function
	if w.target != nil {
		target = w.target
	}
	d, err := dispatcher.New(w.config, dispatcher.Parts{
		Client: client, Ledger: w.ledger, Logger: w.log,
		Targets: map[string]invoke.Target{"index": target},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	r := &running{Dispatcher: d, w: w, stop: cancel, done: make(chan error, 1)}
	var running sync.WaitGroup
	running.Go(func() { r.done <- d.Run(ctx) })
	w.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return r
}

// drain stops the dispatcher and waits for it.
func (r *running) drain() {
	r.w.t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		r.w.t.Fatalf("Run: %v", err)
	}
}

// until lets time pass until a condition holds. A minute of it is far more
// than any condition here needs.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	for range 6000 {
		if holds() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	w.t.Fatalf("after a minute there is still not: %s", what)
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// function is what a trigger invokes: it records what succeeds and answers
// what the test wants.
type function struct {
	behave func(ctx context.Context, e *functions.Event) invoke.Result // nil: success

	mu        sync.Mutex
	events    []*functions.Event
	revisions map[string][]int64 // by key, in the order of success
	running   int
	most      int // the most invocations at once
}

func (f *function) Invoke(ctx context.Context, in invoke.Invocation) invoke.Result {
	e, err := functions.Decode(in.Payload)
	if err != nil {
		return invoke.Result{Class: invoke.FunctionFailed, Err: err}
	}
	if e.Batch.ID != in.BatchID || e.Batch.Attempt != in.Attempt {
		return invoke.Result{Class: invoke.FunctionFailed, Err: fmt.Errorf("payload and invocation differ: %+v, %+v", e.Batch, in)}
	}
	f.mu.Lock()
	f.events = append(f.events, e)
	f.running++
	f.most = max(f.most, f.running)
	behave := f.behave
	f.mu.Unlock()

	result := invoke.Result{Class: invoke.Done}
	if behave != nil {
		result = behave(ctx, e)
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	f.running--
	if result.Class != invoke.Done {
		return result
	}
	var answer functions.Answer
	if len(result.Answer) > 0 {
		if err := json.Unmarshal(result.Answer, &answer); err != nil {
			return result
		}
	}
	failed := map[string]bool{}
	for _, failure := range answer.BatchItemFailures {
		failed[failure.ItemIdentifier] = true
	}
	for _, r := range e.Records {
		if !failed[r.ID] {
			key, _ := r.PrimaryKey[0].Value.Text()
			f.revisions[key] = append(f.revisions[key], revision(r))
		}
	}
	return result
}

func (f *function) Close(context.Context) error { return nil }

func (f *function) set(behave func(ctx context.Context, e *functions.Event) invoke.Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behave = behave
}

// delivered is how many records have succeeded.
func (f *function) delivered() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, revisions := range f.revisions {
		n += len(revisions)
	}
	return n
}

// of is the revisions of a key that succeeded, in order.
func (f *function) of(key string) []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.revisions[key])
}

// keys is how many keys have succeeded.
func (f *function) keys() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.revisions)
}

func (f *function) invocations() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.events)
}

func revision(r *functions.Record) int64 {
	column, _ := r.Column("revision")
	v, _ := column.Int64()
	return v
}
