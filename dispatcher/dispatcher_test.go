package dispatcher_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/dispatcher/invoke"
	"github.com/culvertio/culvert/functions"
	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

var failed = invoke.Result{Class: invoke.FunctionFailed, Err: errors.New("the function says no")}

func TestEveryChangeIsDeliveredInTheOrderOfItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{Partitions: 3})
		w.config.Triggers[0].Parallel = 4
		w.config.Triggers[0].Batch.Records = 5
		const keys, changes = 20, 6
		for k := range keys {
			w.put(fmt.Sprint(k), 1) // base data
		}
		d := w.start()
		w.until("the base data is delivered", func() bool { return w.function.delivered() == keys })
		for revision := range changes {
			for k := range keys {
				w.put(fmt.Sprint(k), int64(revision+2))
			}
		}
		w.until("everything is delivered", func() bool { return w.function.delivered() == keys*(changes+1) })
		d.drain()

		for key, revisions := range w.function.revisions {
			if want := []int64{1, 2, 3, 4, 5, 6, 7}; !slices.Equal(revisions, want) {
				t.Errorf("key %s was delivered as %v, want %v", key, revisions, want)
			}
		}
	})
}

func TestAfterACleanStopNothingIsDeliveredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{PageRecords: 10})
		w.config.Triggers[0].Parallel = 4
		w.config.Triggers[0].Batch.Records = 3
		w.function.behave = func(ctx context.Context, _ *functions.Event) invoke.Result {
			<-time.After(50 * time.Millisecond)
			return invoke.Result{Class: invoke.Done}
		}
		const keys = 200
		for k := range keys {
			w.put(fmt.Sprint(k), 1)
		}
		d := w.start()
		w.until("a part is delivered", func() bool { return w.function.delivered() > keys/3 })
		d.drain()
		if n := w.function.delivered(); n == keys {
			t.Fatal("the stop came too late to mean anything")
		}

		d = w.start()
		w.until("the rest is delivered", func() bool { return w.function.keys() == keys })
		d.drain()
		if n := w.function.delivered(); n != keys {
			t.Errorf("%d records were delivered, %d written", n, keys)
		}
	})
}

func TestAFailingFunctionIsRetriedInPlaceUnderTheSameID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		w.function.behave = func(_ context.Context, e *functions.Event) invoke.Result {
			if e.Batch.Attempt < 4 {
				return failed
			}
			return invoke.Result{Class: invoke.Done}
		}
		w.put("a", 1)
		d := w.start()
		w.until("it is delivered", func() bool { return w.function.delivered() == 1 })
		d.drain()

		for i, e := range w.function.events {
			if e.Batch.Attempt != i+1 || e.Batch.ID != w.function.events[0].Batch.ID {
				t.Errorf("invocation %d was attempt %d of batch %s", i+1, e.Batch.Attempt, e.Batch.ID)
			}
		}
		if n := len(w.function.events); n != 4 {
			t.Errorf("%d invocations, want 4", n)
		}
	})
}

func TestAnOutageOfTheTargetUsesUpNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		from := time.Now()
		w.function.behave = func(context.Context, *functions.Event) invoke.Result {
			if time.Since(from) < 10*time.Minute {
				return invoke.Result{Class: invoke.Unreachable, Err: errors.New("connection refused")}
			}
			return invoke.Result{Class: invoke.Done}
		}
		w.put("a", 1)
		d := w.start()
		<-time.After(11 * time.Minute)
		w.until("it is delivered", func() bool { return w.function.delivered() == 1 })
		d.drain()
		if last := w.function.events[len(w.function.events)-1]; last.Batch.Attempt != 1 {
			t.Errorf("the first invocation that reached the function was attempt %d", last.Batch.Attempt)
		}
	})
}

func TestAFailedRecordKeepsOnlyItselfAndItsKeyBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		w.config.Tunnel.Create = "Stream"
		w.config.Triggers[0].Batch.Window = 2 * time.Second
		w.function.behave = func(_ context.Context, e *functions.Event) invoke.Result {
			if e.Batch.Attempt > 1 {
				return invoke.Result{Class: invoke.Done}
			}
			for _, r := range e.Records {
				if revision(r) == 2 {
					return invoke.Result{Class: invoke.Done, Answer: fmt.Appendf(nil, `{"batchItemFailures":[{"itemIdentifier":%q}]}`, r.ID)}
				}
			}
			return invoke.Result{Class: invoke.Done}
		}
		d := w.start()
		w.until("the channel is there", func() bool { return d.Stats().Channels == 1 })
		w.put("bad", 1)
		w.put("bad", 2) // fails
		w.put("good", 4)
		w.put("bad", 3) // must not overtake it
		w.put("good", 5)
		// The function answers success for revision 3 in the first attempt,
		// which does not count: it is delivered again behind revision 2.
		w.until("everything is delivered", func() bool { return len(w.function.of("bad")) == 4 })
		d.drain()

		first, second := w.function.events[0], w.function.events[1]
		if len(first.Records) != 5 || len(second.Records) != 2 {
			t.Fatalf("batches of %d and %d records, want 5 and 2", len(first.Records), len(second.Records))
		}
		if first.Batch.ID == second.Batch.ID || second.Batch.Attempt != 2 {
			t.Errorf("the remainder is attempt %d of %s, after %s", second.Batch.Attempt, second.Batch.ID, first.Batch.ID)
		}
		if revision(second.Records[0]) != 2 || revision(second.Records[1]) != 3 {
			t.Errorf("the remainder holds revisions %d, %d; want 2, 3", revision(second.Records[0]), revision(second.Records[1]))
		}
		if got := w.function.of("good"); !slices.Equal(got, []int64{4, 5}) {
			t.Errorf("the other key was delivered as %v", got)
		}
	})
}

// What the handler logs of a batch, and what the dispatcher does, can be
// searched for each other.
func TestAFailureIsLoggedUnderTheBatchThatTheHandlerSaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		var log bytes.Buffer
		w.log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		w.function.behave = func(_ context.Context, e *functions.Event) invoke.Result {
			switch e.Batch.Attempt {
			case 1:
				return failed
			case 2:
				var answer functions.Answer
				for _, r := range e.Records[1:] {
					answer.BatchItemFailures = append(answer.BatchItemFailures, functions.ItemFailure{ItemIdentifier: r.ID})
				}
				b, err := json.Marshal(answer)
				if err != nil {
					t.Error(err)
				}
				return invoke.Result{Class: invoke.Done, Answer: b, RequestID: "r-2"}
			}
			return invoke.Result{Class: invoke.Done}
		}
		for k := range 8 {
			w.put(fmt.Sprint(k), 1)
		}
		d := w.start()
		w.until("everything is delivered", func() bool { return w.function.delivered() == 8 })
		d.drain()

		type line struct {
			Msg         string
			Batch       string
			Attempt     int
			Records     int
			Error       string
			Failed      int
			FailedIDs   []string `json:"failed_ids"`
			NextBatch   string   `json:"next_batch"`
			NextRecords int      `json:"next_records"`
			Request     *string
		}
		var got []line
		for text := range strings.Lines(log.String()) {
			var l line
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatal(err)
			}
			got = append(got, l)
		}
		e := w.function.events
		var ids []string
		for _, r := range e[1].Records[1:6] {
			ids = append(ids, r.ID)
		}
		want := []line{
			{Msg: "an attempt failed and is repeated", Batch: e[0].Batch.ID, Attempt: 1, Records: 8, Error: "the function says no"},
			{
				Msg:   "the function failed single records: they, and what follows of their keys, are the next batch",
				Batch: e[1].Batch.ID, Attempt: 2, Records: 8, Failed: 7, FailedIDs: ids,
				NextBatch: e[2].Batch.ID, NextRecords: 7, Request: new("r-2"),
			},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the log (-want +got):\n%s", diff)
		}
		if e[1].Batch.ID == e[2].Batch.ID || e[2].Batch.Attempt != 3 {
			t.Errorf("the remainder of batch %s is attempt %d of %s", e[1].Batch.ID, e[2].Batch.Attempt, e[2].Batch.ID)
		}
	})
}

func TestAnAnswerThatFailsAnUnknownRecordFailsTheBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		w.function.behave = func(_ context.Context, e *functions.Event) invoke.Result {
			if e.Batch.Attempt == 1 {
				return invoke.Result{Class: invoke.Done, Answer: []byte(`{"batchItemFailures":[{"itemIdentifier":"nobody"}]}`)}
			}
			return invoke.Result{Class: invoke.Done}
		}
		w.put("a", 1)
		d := w.start()
		w.until("a second attempt is made", func() bool { return w.function.invocations() == 2 })
		d.drain()
	})
}

func TestAnUnsettledRecordHoldsTheCheckpointAndNotTheOtherLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		w.config.Triggers[0].Parallel = 8
		poison := "0"
		w.function.behave = func(_ context.Context, e *functions.Event) invoke.Result {
			for _, r := range e.Records {
				if key, _ := r.PrimaryKey[0].Value.Text(); key == poison {
					return failed
				}
			}
			return invoke.Result{Class: invoke.Done}
		}
		for k := range 100 {
			w.put(fmt.Sprint(k), 1)
		}
		d := w.start()
		w.until("the other lanes are delivered", func() bool { return w.function.delivered() > 60 })
		<-time.After(10 * time.Second) // for commits
		d.drain()
		if len(w.function.of(poison)) != 0 {
			t.Fatal("the poison record was delivered")
		}

		// Whoever starts anew reads the poison record again: the checkpoint has
		// not passed it.
		w.function.set(nil)
		d = w.start()
		w.until("the poison record is delivered", func() bool { return len(w.function.of(poison)) == 1 })
		w.until("so is every other", func() bool { return w.function.keys() == 100 })
		d.drain()
	})
}

func TestTheLimitOfInvocationsAtOnceHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{Partitions: 4})
		w.config.Triggers[0].Parallel = 8
		w.config.Triggers[0].Batch.Records = 1
		w.config.Triggers[0].Limit.AtOnce = 3
		w.function.behave = func(context.Context, *functions.Event) invoke.Result {
			<-time.After(10 * time.Millisecond)
			return invoke.Result{Class: invoke.Done}
		}
		for k := range 200 {
			w.put(fmt.Sprint(k), 1)
		}
		d := w.start()
		w.until("everything is delivered", func() bool { return w.function.delivered() == 200 })
		d.drain()
		if w.function.most != 3 {
			t.Errorf("%d invocations at once, want 3", w.function.most)
		}
	})
}

func TestABatchEndsWhereItsPayloadWouldPassTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		w.config.Triggers[0].Batch.Bytes = 1024
		for k := range 50 {
			w.put(strings.Repeat("x", k)+"k", 1)
		}
		d := w.start()
		w.until("everything is delivered", func() bool { return w.function.delivered() == 50 })
		d.drain()
		if n := w.function.invocations(); n < 10 {
			t.Errorf("50 records of 150 bytes and more went out in %d batches of 1,024 bytes", n)
		}
	})
}

func TestAFlushedLedgerIsWrittenBackAndWorkGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		release := make(chan struct{})
		w.function.behave = func(_ context.Context, e *functions.Event) invoke.Result {
			if e.Batch.Attempt == 1 {
				<-release
			}
			return invoke.Result{Class: invoke.Done}
		}
		w.put("a", 1)
		d := w.start()
		w.until("an invocation is under way", func() bool { return w.function.invocations() == 1 })
		w.redis.FlushAll()
		close(release)
		w.until("it is settled", func() bool { return d.Stats().Settled == 1 })
		w.put("a", 2)
		w.until("work goes on", func() bool { return d.Stats().Settled == 2 })
		d.drain()
		if got := w.function.of("a"); !slices.Equal(got, []int64{1, 2}) {
			t.Errorf("delivered %v", got)
		}
	})
}

func TestACorruptRowIsReadAgainAndNeverLost(t *testing.T) {
	for name, test := range map[string]struct {
		times int // how often the page is spoilt
	}{
		"once":   {1},
		"always": {1 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, emulator.Config{})
				spoilt := 0
				w.answer = func(path string, body []byte) []byte {
					at := bytes.Index(body, []byte("revision"))
					if path != "/tunnel/readrecords" || at < 0 || spoilt == test.times {
						return body
					}
					spoilt++
					body = bytes.Clone(body)
					body[at] ^= 1 // within a cell's name: well-formed, and its checksum differs
					return body
				}
				w.put("a", 1)
				d := w.start()
				w.until("it is delivered", func() bool { return d.Stats().Settled == 1 })
				d.drain()
				if name == "once" && d.Stats().Checksums != 0 {
					t.Error("a record was delivered although a second read would have mended it")
				}
				if name == "always" && d.Stats().Checksums != 1 {
					t.Error("a record with a wrong checksum was delivered and not counted")
				}
			})
		})
	}
}

func TestAMalformedPageHoldsTheChannelUntilItIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		from := time.Now()
		w.answer = func(path string, body []byte) []byte {
			if path == "/tunnel/readrecords" && time.Since(from) < 5*time.Minute && len(body) > 60 {
				return body[:len(body)/2]
			}
			return body
		}
		w.put("a", 1)
		d := w.start()
		<-time.After(4 * time.Minute)
		if n := w.function.invocations(); n != 0 {
			t.Fatalf("%d invocations for half a page", n)
		}
		<-time.After(2 * time.Minute)
		w.until("it is delivered", func() bool { return d.Stats().Settled == 1 })
		d.drain()
	})
}

func TestAMissingTunnelIsAnErrorThatSaysWhatToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		w.config.Tunnel.Create = ""
		d := w.start()
		err := <-d.done
		if err == nil || !strings.Contains(err.Error(), `"orders-feed"`) || !strings.Contains(err.Error(), "tunnel.create") {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestWhileTheLedgerIsAwayNothingBeginsAndNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		release := make(chan struct{})
		w.function.behave = func(context.Context, *functions.Event) invoke.Result {
			<-release
			return invoke.Result{Class: invoke.Done}
		}
		w.put("a", 1)
		d := w.start()
		w.until("an invocation is under way", func() bool { return w.function.invocations() == 1 })
		w.redis.SetError("LOADING Redis is loading the dataset in memory")
		close(release)
		w.put("a", 2)
		<-time.After(10 * time.Minute)
		if n := w.function.invocations(); n != 1 {
			t.Errorf("%d invocations without a ledger", n)
		}
		if n := d.Stats().Settled; n != 0 {
			t.Errorf("%d records settled without a ledger", n)
		}
		w.redis.SetError("")
		w.until("work goes on", func() bool { return d.Stats().Settled == 2 })
		d.drain()
		if got := w.function.of("a"); !slices.Equal(got, []int64{1, 2}) {
			t.Errorf("delivered %v, want each once", got)
		}
	})
}

func TestAnExpiredTunnelEndsTheDispatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		w.status = func(path string) (int, []byte) {
			if path != "/tunnel/readrecords" {
				return 0, nil
			}
			body, err := proto.Marshal(&tunnelpb.Error{Code: proto.String("OTSTunnelExpired"), Message: proto.String("too late")})
			if err != nil {
				t.Error(err)
			}
			return http.StatusBadRequest, body
		}
		w.put("a", 1)
		d := w.start()
		if err := <-d.done; !errors.Is(err, tunnel.CodeTunnelExpired) {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestAChannelReadsNoFurtherAheadThanItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{PageRecords: 100})
		w.config.ReadAhead = 1 << 20
		release := make(chan struct{})
		w.function.behave = func(context.Context, *functions.Event) invoke.Result {
			<-release
			return invoke.Result{Class: invoke.Done}
		}
		const keys = 10_000
		for k := range keys {
			w.put(fmt.Sprint(k), 1)
		}
		d := w.start()
		<-time.After(10 * time.Second)
		if n := d.Stats().Read; n < 1000 || n > 5000 {
			t.Errorf("%d small records were read into 1 MiB", n)
		}
		close(release)
		w.until("everything is delivered", func() bool { return w.function.delivered() == keys })
		d.drain()
	})
}

func TestNoSecretOfTheConfigurationIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		var log bytes.Buffer
		w.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		w.config.Tunnel.Credentials = tunnel.StaticCredentials("id", "keep-this", "keep-that")
		w.config.Triggers[0].Function = "http://user:keep-it@function.test/?token=keep-also"
		w.function.behave = func(_ context.Context, e *functions.Event) invoke.Result {
			if e.Batch.Attempt == 1 {
				return failed
			}
			return invoke.Result{Class: invoke.Done}
		}
		w.put("a", 1)
		d := w.start()
		w.until("it is delivered", func() bool { return d.Stats().Settled == 1 })
		d.drain()
		if !strings.Contains(log.String(), "dispatching") || strings.Contains(log.String(), "keep-") {
			t.Errorf("the log:\n%s", &log)
		}
	})
}
