package functions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/culvertio/culvert/functions"
	"github.com/culvertio/culvert/functions/runtime"
)

// started is a handler that calls functions.Start and does what its event's
// trigger is called.
var started string

func TestMain(m *testing.M) {
	binary, cleanup, err := runtime.Build(context.Background(), "testdata/handlers/started", "")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	started = binary
	code := m.Run()
	cleanup()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// event is one of three records, with the ids r1 to r3 and the numbers 1 to 3.
func event(trigger string) string {
	var records []string
	for n := 1; n <= 3; n++ {
		records = append(records, fmt.Sprintf(`{"Id":"r%d","Type":"PutRow","Info":{"Timestamp":1},"PrimaryKey":[{"ColumnName":"n","Value":%d}],"Columns":[]}`, n, n))
	}
	return fmt.Sprintf("{\"Version\":\"Sync-v1\",\n \"Batch\":{\"Id\":\"b1\",\"Attempt\":2,\"Trigger\":%q},\"Records\":[%s]}", trigger, strings.Join(records, ","))
}

// local runs the handler under the local runtime, which serves Function
// Compute's API.
func local(t *testing.T, env ...string) *runtime.Runtime {
	t.Helper()
	r, err := runtime.Start(t.Context(), runtime.Config{Command: []string{started}, Env: env, Output: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

const oddOnesFailed = `{"batchItemFailures":[{"itemIdentifier":"r1"},{"itemIdentifier":"r3"}]}`

func TestUnderFunctionComputeTheAnswerListsTheMarkedRecords(t *testing.T) {
	r := local(t)
	for trigger, want := range map[string]string{"ok": "null", "deadline": "null", "unmark": "null", "mark": oddOnesFailed} {
		got, err := r.Invoke(t.Context(), []byte(event(trigger)))
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", trigger, got, err, want)
		}
	}
}

func TestUnderFunctionComputeAnErrorOrAPanicFailsTheBatch(t *testing.T) {
	r := local(t)
	for trigger, want := range map[string]string{"fail": "outOfStock: out of stock", "mark and fail": "outOfStock: out of stock", "panic": "string: no such shelf"} {
		got, err := r.Invoke(t.Context(), []byte(event(trigger)))
		e, ok := errors.AsType[*runtime.FunctionError](err)
		if !ok || e.Type+": "+e.Message != want {
			t.Errorf("%s: %s, %v; want %s", trigger, got, err, want)
		}
	}
	_, err := r.Invoke(t.Context(), []byte("no event"))
	if e, ok := errors.AsType[*runtime.FunctionError](err); !ok || e.Type != "DecodeError" {
		t.Error(err)
	}
}

func TestARecordWithoutAnIdFailsTheBatchWhenItIsMarked(t *testing.T) {
	r := local(t) // as the native trigger, which gives no ids and ignores answers
	_, err := r.Invoke(t.Context(), []byte(strings.ReplaceAll(event("mark"), `"Id":"r3",`, "")))
	if e, ok := errors.AsType[*runtime.FunctionError](err); !ok || !strings.Contains(e.Message, "3 is odd") {
		t.Error(err)
	}
}

// inCBOR is an event as format: cbor sends it.
func inCBOR(t *testing.T, event string) string {
	t.Helper()
	e, err := functions.Decode([]byte(event))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := cbor.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(payload)
}

func TestTheSameHandlerTakesCBORUnderEitherAPI(t *testing.T) {
	r := local(t)
	for trigger, want := range map[string]string{"ok": "null", "mark": oddOnesFailed} {
		payload := inCBOR(t, event(trigger))
		if got, err := r.Invoke(t.Context(), []byte(payload)); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", trigger, got, err, want)
		}
		// The API carries it, though the service in front of it would not.
		if path, body := lambda(t, payload); path != "response" || body != want {
			t.Errorf("%s: %s: %s; want %s", trigger, path, body, want)
		}
	}
	_, err := r.Invoke(t.Context(), []byte(inCBOR(t, event("ok"))[:40]))
	if e, ok := errors.AsType[*runtime.FunctionError](err); !ok || e.Type != "DecodeError" || !strings.Contains(e.Message, "EOF") {
		t.Error(err)
	}
}

// lambda runs the handler under Lambda's runtime API, gives it one event, and
// returns where it posted what.
func lambda(t *testing.T, payload string) (path, body string) {
	t.Helper()
	type post struct{ path, body string }
	var (
		posted = make(chan post, 1)
		events = make(chan string, 1)
		mux    = http.NewServeMux()
	)
	events <- payload
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(w http.ResponseWriter, req *http.Request) {
		select {
		case e := <-events:
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", "q1")
			w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(time.Minute).UnixMilli()))
			_, _ = io.WriteString(w, e)
		case <-req.Context().Done():
		}
	})
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/q1/{what}", func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusAccepted)
		posted <- post{req.PathValue("what"), string(body)}
	})
	server := httptest.NewServer(mux)
	defer server.Close()

	ctx, cancel := context.WithCancel(t.Context())
	handler := exec.CommandContext(ctx, started)
	handler.Env = append(os.Environ(), "AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(server.URL, "http://"))
	if err := handler.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = handler.Wait() // killed, or ended by its panic
	}()
	select {
	case p := <-posted:
		return p.path, p.body
	case <-time.After(time.Minute):
		t.Fatal("the handler posted nothing")
		return "", ""
	}
}

func TestUnderLambdaTheSameHandlerAnswersTheSame(t *testing.T) {
	for trigger, want := range map[string]string{"ok": "null", "deadline": "null", "mark": oddOnesFailed} {
		if path, body := lambda(t, event(trigger)); path != "response" || body != want {
			t.Errorf("%s: %s: %s; want %s", trigger, path, body, want)
		}
	}
	for trigger, want := range map[string]string{"fail": "outOfStock", "panic": "string"} {
		path, body := lambda(t, event(trigger))
		var posted struct{ ErrorType string }
		if err := json.Unmarshal([]byte(body), &posted); err != nil || path != "error" || posted.ErrorType != want {
			t.Errorf("%s: %s: %s", trigger, path, body)
		}
	}
}

func TestTheLocalRuntimeComesBeforeLambda(t *testing.T) {
	r := local(t, "AWS_LAMBDA_RUNTIME_API=127.0.0.1:1")
	if got, err := r.Invoke(t.Context(), []byte(event("ok"))); err != nil || string(got) != "null" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestWithoutAPlatformAHandlerSaysHowToRunIt(t *testing.T) {
	handler := exec.CommandContext(t.Context(), started)
	var printed bytes.Buffer
	handler.Stderr = &printed
	err := handler.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != 2 || !strings.Contains(printed.String(), "culvert local --handler DIR") {
		t.Errorf("%v:\n%s", err, &printed)
	}
}

// line is one line of a journal, as its readers see it.
type line struct {
	Time           time.Time
	Phase          string
	Event          json.RawMessage
	Batch, Outcome string
	Attempt        int
	Failures       []string
	Error          string
}

// journal returns what the processes wrote into the directory, each line
// apart, without the times.
func journal(t *testing.T, dir string) []line {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var all []line
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if b[len(b)-1] != '\n' {
			t.Errorf("%s is torn: %q", file, b)
		}
		for text := range bytes.Lines(b) {
			var l line
			d := json.NewDecoder(bytes.NewReader(text))
			d.DisallowUnknownFields()
			if err := d.Decode(&l); err != nil || l.Time.IsZero() {
				t.Errorf("%s: %v", text, err)
			}
			l.Time = time.Time{}
			all = append(all, l)
		}
	}
	return all
}

func TestTheJournalTellsWhatArrivedAndHowItEnded(t *testing.T) {
	dir := t.TempDir()
	r := local(t, "CULVERT_JOURNAL="+dir)
	compact := func(trigger string) json.RawMessage {
		var b bytes.Buffer
		if err := json.Compact(&b, []byte(event(trigger))); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	var want []line
	for _, end := range []struct {
		trigger string
		line
	}{
		{"ok <&>", line{Outcome: "ok", Failures: []string{}}},
		{"mark", line{Outcome: "ok", Failures: []string{"r1", "r3"}}},
		{"fail", line{Outcome: "failed", Failures: []string{}, Error: "out of stock"}},
		{"mark and fail", line{Outcome: "failed", Failures: []string{"r1"}, Error: "out of stock"}},
		{"panic", line{Outcome: "failed", Failures: []string{}, Error: "the handler panicked"}},
	} {
		_, _ = r.Invoke(t.Context(), []byte(event(end.trigger))) // how it went is in the journal
		end.Phase, end.Batch, end.Attempt = "end", "b1", 2
		want = append(want, line{Phase: "begin", Event: compact(end.trigger)}, end.line)
	}
	if diff := cmp.Diff(want, journal(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestTheJournalShowsCBORAsJSON(t *testing.T) {
	dir := t.TempDir()
	r := local(t, "CULVERT_JOURNAL="+dir)
	if _, err := r.Invoke(t.Context(), []byte(inCBOR(t, event("mark <&>")))); err != nil {
		t.Fatal(err)
	}
	lines := journal(t, dir)
	if len(lines) != 2 {
		t.Fatal(lines)
	}
	got, err := functions.Decode(lines[0].Event)
	if err != nil {
		t.Fatal(err)
	}
	want, err := functions.Decode([]byte(event("mark <&>")))
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(functions.Value{}), cmpopts.IgnoreUnexported(functions.Record{})); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestAProcessThatDiesLeavesItsBeginningAndTheNextAFileOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	r := local(t, "CULVERT_JOURNAL="+dir)
	if _, err := r.Invoke(t.Context(), []byte(event("exit"))); err == nil {
		t.Error("no error")
	}
	if _, err := r.Invoke(t.Context(), []byte(event("ok"))); err != nil {
		t.Error(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	var phases []string
	for _, l := range journal(t, dir) {
		phases = append(phases, l.Phase)
	}
	slices.Sort(phases)
	if diff := cmp.Diff([]string{"begin", "begin", "end"}, phases); diff != "" {
		t.Error(diff)
	}
}

func TestAJournalThatCannotBeWrittenFailsTheInvocation(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	r := local(t, "CULVERT_JOURNAL="+dir)
	_, err := r.Invoke(t.Context(), []byte(event("ok")))
	if e, ok := errors.AsType[*runtime.FunctionError](err); !ok || e.Type != "JournalError" || !strings.Contains(e.Message, dir) {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Invoke(t.Context(), []byte(event("ok"))); err != nil {
		t.Error(err)
	}
}

func TestAHandlersBinaryStaysLight(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	allowed := []string{"github.com/culvertio/culvert/functions", "github.com/aliyun/fc-runtime-go-sdk/", "github.com/aws/aws-lambda-go/lambda", "github.com/fxamacker/cbor/v2", "github.com/x448/float16"}
	for _, dependency := range strings.Fields(string(out)) {
		if !slices.ContainsFunc(allowed, func(prefix string) bool { return strings.HasPrefix(dependency, prefix) }) {
			t.Errorf("a handler's binary carries %s", dependency)
		}
	}
}
