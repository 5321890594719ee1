package tunnel_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

const (
	reads        = "/tunnel/readrecords"
	opens        = "/tunnel/getcheckpoint"
	checkpointed = "/tunnel/checkpoint"
)

var errCallback = errors.New("not today")

func TestEveryRecordReachesTheCallbackInTheOrderOfItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{Partitions: 3, PageRecords: 4}, tunnel.Stream)
		h := newHistory()
		c := s.start(tunnel.ProcessorConfig{}, h.process)
		want := each(40)
		s.puts(40)
		for i := range 20 {
			id := fmt.Sprintf("order-%03d", i)
			s.write(tunnelpb.ActionType_UPDATE_ROW, id, int64(i+100))
			s.write(tunnelpb.ActionType_DELETE_ROW, id, 0)
			want[id] = append(want[id], fmt.Sprint("UpdateRow ", i+100), "DeleteRow")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		equal(t, "records", want, h.seen())
		c.stop()
		stats := c.processor.Stats()
		if stats.Settled != 80 || stats.Read != 80 || stats.Failures != 0 || stats.Channels != 0 || stats.Held != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestACallbackThatFailsIsCalledAgainWithTheSameRecordsAndItsChannelStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{Partitions: 2, PageRecords: 3}, tunnel.Stream)
		s.puts(30)
		h := newHistory()
		var mu sync.Mutex
		var attempts []time.Duration
		var bad []string
		h.before = func(_ context.Context, ch *tunnel.Channel, records []tunnel.DecodedRecord) error {
			mu.Lock()
			defer mu.Unlock()
			ids := ""
			for _, r := range records {
				id, _ := r.KeyColumn("id")
				ids += string(id.Bytes()) + " "
			}
			if !strings.Contains(ids, "order-007") || len(attempts) >= 8 {
				return nil
			}
			attempts = append(attempts, time.Since(h.began))
			bad = append(bad, ids)
			return errCallback
		}
		c := s.start(tunnel.ProcessorConfig{Retry: tunnel.Backoff{First: time.Second, Max: 20 * time.Second, Jitter: -1}}, h.process)
		time.Sleep(10 * time.Minute)
		synctest.Wait()

		equal(t, "records", each(30), h.seen())
		equal(t, "records of each attempt", 1, len(slices.Compact(bad)))
		var waits []time.Duration
		for i := range attempts[1:] {
			waits = append(waits, attempts[i+1]-attempts[i])
		}
		equal(t, "waits", []time.Duration{
			time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 20 * time.Second, 20 * time.Second,
		}, waits)
		equal(t, "checkpoints asked for", 2, len(s.called(opens))) // each channel was opened once
		equal(t, "warnings", 8, s.log.said("WARN the callback failed"))
		if f := c.processor.Stats().Failures; f != 8 {
			t.Errorf("%d failures", f)
		}
		c.stop()
	})
}

func TestTheCheckpointStandsBeforeTheRecordsThatFailAndACleanStopRepeatsNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{PageRecords: 5}, tunnel.Stream)
		s.puts(50)
		first := newHistory()
		first.before = func(_ context.Context, _ *tunnel.Channel, records []tunnel.DecodedRecord) error {
			if n, _ := records[0].Column("n"); n.Integer() >= 20 {
				return errCallback
			}
			return nil
		}
		c := s.start(tunnel.ProcessorConfig{CheckpointInterval: 50 * time.Millisecond}, first.process)
		time.Sleep(5 * time.Minute)
		c.stop()
		equal(t, "before the stop", 20, first.count())

		second := newHistory()
		c = s.start(tunnel.ProcessorConfig{}, second.process)
		time.Sleep(5 * time.Minute)
		c.stop()
		want := each(50)
		for i := range 20 {
			delete(want, fmt.Sprintf("order-%03d", i))
		}
		equal(t, "after it", want, second.seen())
	})
}

func TestProgressIsCommittedAtTheIntervalAndWhenTheChannelDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{PageRecords: 1}, tunnel.Stream)
		h := newHistory()
		h.before = func(context.Context, *tunnel.Channel, []tunnel.DecodedRecord) error {
			time.Sleep(time.Second)
			return nil
		}
		c := s.start(tunnel.ProcessorConfig{CheckpointInterval: 10 * time.Second}, h.process)
		synctest.Wait()
		s.puts(25)
		time.Sleep(22*time.Second + 500*time.Millisecond)
		synctest.Wait()
		equal(t, "commits", 2, len(s.called(checkpointed)))
		c.stop() // the callback under way is finished
		equal(t, "settled", 23, h.count())
		equal(t, "commits", 4, len(s.called(checkpointed))) // at once, and when it was
		equal(t, "commits counted", 4, c.processor.Stats().Commits)

		time.Sleep(time.Minute)
		again := newHistory()
		c = s.start(tunnel.ProcessorConfig{}, again.process)
		time.Sleep(time.Minute)
		equal(t, "after a restart", 2, again.count())
		n := len(s.called(checkpointed))
		time.Sleep(10 * time.Minute)
		equal(t, "commits while nothing comes", n, len(s.called(checkpointed)))
		c.stop()
	})
}

func TestOnOpenAndOnEndFrameEachChannelWithWhyItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{PageRecords: 2}, tunnel.BaseAndStream)
		var mu sync.Mutex
		var diary []string
		note := func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			diary = append(diary, fmt.Sprintf(format, args...))
		}
		kind := func(ch *tunnel.Channel) string {
			if ch.IsBaseData() {
				return "base data"
			}
			return "stream"
		}
		var taken atomic.Bool
		c := s.start(tunnel.ProcessorConfig{
			CheckpointInterval: 100 * time.Millisecond,
			OnOpen:             func(ch *tunnel.Channel) { note("%s opens", kind(ch)) },
			OnEnd:              func(ch *tunnel.Channel, end tunnel.End) { note("%s: %v", kind(ch), end) },
		}, func(_ context.Context, ch *tunnel.Channel, records []tunnel.DecodedRecord) error {
			note("%s: %d", kind(ch), len(records))
			return nil
		})
		time.Sleep(2 * time.Minute)
		s.put("a", 1)
		time.Sleep(time.Minute)
		// Somebody else takes the channel over: the next commit finds out.
		s.refuses(func(r *http.Request, w http.ResponseWriter) bool {
			return r.URL.Path == checkpointed && !taken.Swap(true) && reject(w, r, 400, tunnel.CodeResourceGone)
		})
		s.put("b", 2)
		time.Sleep(time.Minute)
		c.stop()
		equal(t, "diary", []string{
			"base data opens", "base data: finished",
			"stream opens", "stream: 1", "stream: 1", "stream: lost",
			"stream opens", "stream: 1", "stream: drained",
		}, diary)
	})
}

func TestTheChannelOfACallbackMakesNoCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{}, tunnel.Stream)
		s.put("a", 1)
		h := newHistory()
		var errs []error
		h.before = func(ctx context.Context, ch *tunnel.Channel, _ []tunnel.DecodedRecord) error {
			_, e1 := ch.GetCheckpoint(ctx)
			_, e2 := ch.Read(ctx, "x")
			errs = []error{e1, e2, ch.Commit(ctx, tunnel.Finished)}
			return nil
		}
		c := s.start(tunnel.ProcessorConfig{}, h.process)
		time.Sleep(time.Minute)
		c.stop()
		for i, err := range errs {
			if err == nil {
				t.Errorf("call %d was made", i)
			}
		}
		equal(t, "calls", 3, len(errs))
	})
}

func TestReadsThatFailAreTriedAgainAndCloseNoChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{PageRecords: 3}, tunnel.Stream)
		s.puts(12)
		var refused atomic.Int64
		s.refuses(func(r *http.Request, w http.ResponseWriter) bool {
			if r.URL.Path != reads || refused.Add(1) > 10 {
				return false
			}
			return reject(w, r, 403, tunnel.CodePermissionDenied) // not worth another attempt, for a client
		})
		h := newHistory()
		c := s.start(tunnel.ProcessorConfig{}, h.process)
		time.Sleep(10 * time.Minute)
		equal(t, "records", each(12), h.seen())
		equal(t, "channels opened", 1, len(s.called(opens)))
		equal(t, "errors", 10, s.log.said("ERROR a read failed"))
		c.stop()
	})
}

func TestTheCheckpointThatIsReadInVainIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{}, tunnel.Stream)
		s.puts(2)
		var refused atomic.Int64
		s.refuses(func(r *http.Request, w http.ResponseWriter) bool {
			if r.URL.Path != opens || refused.Add(1) > 3 {
				return false
			}
			return reject(w, r, 403, tunnel.CodePermissionDenied)
		})
		h := newHistory()
		c := s.start(tunnel.ProcessorConfig{}, h.process)
		time.Sleep(time.Minute)
		equal(t, "records", each(2), h.seen())
		c.stop()
	})
}

func TestATunnelIsLookedUpByItsNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{}, tunnel.Stream)
		c := s.start(tunnel.ProcessorConfig{Tunnel: "no-such-feed"}, newHistory().process)
		if err := <-c.result; !errors.Is(err, tunnel.CodeParameterInvalid) || !strings.Contains(err.Error(), `"no-such-feed"`) {
			t.Errorf("Run: %v", err)
		}

		// While nobody answers it is looked up again.
		var down atomic.Bool
		down.Store(true)
		s.refuses(func(r *http.Request, w http.ResponseWriter) bool {
			return down.Load() && reject(w, r, 503, tunnel.CodeServerUnavailable)
		})
		s.puts(1)
		h := newHistory()
		c = s.start(tunnel.ProcessorConfig{}, h.process)
		time.Sleep(10 * time.Minute)
		down.Store(false)
		time.Sleep(time.Minute)
		equal(t, "records", each(1), h.seen())
		c.stop()

		down.Store(true)
		c = s.start(tunnel.ProcessorConfig{}, h.process)
		time.Sleep(10 * time.Minute)
		c.stop()
	})
}

func TestARunningProcessorIsNotRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{}, tunnel.Stream)
		c := s.start(tunnel.ProcessorConfig{}, newHistory().process)
		synctest.Wait()
		if err := c.processor.Run(t.Context()); err == nil {
			t.Error("it ran")
		}
		c.stop()

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.processor.Run(ctx); err != nil {
			t.Errorf("another run, after the first: %v", err)
		}
		equal(t, "channels opened", 2, len(s.called(opens)))
	})
}

func TestAProcessorsConfigurationNamesEveryMistake(t *testing.T) {
	_, err := tunnel.NewProcessor(nil, tunnel.ProcessorConfig{
		Table:              "orders",
		HeartbeatTimeout:   time.Second,
		DrainLimit:         time.Hour,
		CheckpointInterval: time.Millisecond,
		ReadAhead:          1000,
		ReadAheadBytes:     1,
		ChannelsAtOnce:     -1,
		Idle:               tunnel.Backoff{First: time.Minute, Max: time.Second},
		Retry:              tunnel.Backoff{Max: 2 * time.Hour, Factor: 0.5, Jitter: 2},
		Expiry:             tunnel.ExpiryConfig{Interval: time.Millisecond, Retention: time.Minute, WarnBelow: -1},
	}, nil)
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, part := range []string{
		"Table and Tunnel:", "HeartbeatTimeout:", "DrainLimit:", "CheckpointInterval:", "ReadAhead:", "ReadAheadBytes:",
		"ChannelsAtOnce:", "Idle.First:", "Retry.Max:", "Retry.Factor:", "Retry.Jitter:", "Expiry.Interval:",
		"Expiry.Retention:", "Expiry.WarnBelow:", "client:", "process:",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s is not named in: %v", part, err)
		}
	}
	_, err = tunnel.NewProcessor(nil, tunnel.ProcessorConfig{}, nil)
	if !strings.Contains(err.Error(), "TunnelID: missing") {
		t.Errorf("the tunnel is not named in: %v", err)
	}
}

func TestAProcessorWarnsEarlyOfRecordsThatWillBeLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{}, tunnel.Stream) // its stream keeps changes for a day
		h := newHistory()
		var stuck atomic.Bool
		h.before = func(context.Context, *tunnel.Channel, []tunnel.DecodedRecord) error {
			if stuck.Load() {
				return errCallback
			}
			return nil
		}
		var least atomic.Int64
		least.Store(int64(48 * time.Hour))
		c := s.start(tunnel.ProcessorConfig{
			HeartbeatInterval: 250 * time.Second,
			Idle:              tunnel.Backoff{Max: 5 * time.Minute},
			Retry:             tunnel.Backoff{Max: 5 * time.Minute},
			Expiry: tunnel.ExpiryConfig{Interval: 5 * time.Minute, Report: func(e tunnel.Expiry) {
				least.Store(min(least.Load(), int64(e.Left)))
			}},
		}, h.process)
		s.put("a", 1)
		time.Sleep(30 * time.Hour)
		equal(t, "warnings", 0, s.log.said("WARN records will be lost"))
		if d := time.Duration(least.Load()); d < 23*time.Hour || d > 24*time.Hour {
			t.Errorf("%v were left while all was delivered", d)
		}

		stuck.Store(true)
		s.put("b", 2) // read, and not settled: the service counts it as delivered
		time.Sleep(11 * time.Hour)
		equal(t, "warnings before half the time has passed", 0, s.log.said("WARN records will be lost"))
		time.Sleep(2 * time.Hour)
		if s.log.said("WARN records will be lost") == 0 {
			t.Error("the log does not warn")
		}
		if e := c.processor.Stats().Expiry; e == nil || e.Left < 10*time.Hour || e.Left > 12*time.Hour || e.Retention != 24*time.Hour {
			t.Errorf("Stats say %+v", e)
		}
		stuck.Store(false)
		time.Sleep(time.Hour)
		equal(t, "relief", 1, s.log.said("INFO records are delivered in good time again"))
		equal(t, "records", 2, h.count())
		c.stop()
	})
}

func TestTheTimeLeftIsNotAskedForWhereThatIsSwitchedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{}, tunnel.Stream)
		c := s.start(tunnel.ProcessorConfig{Expiry: tunnel.ExpiryConfig{Interval: -1}}, newHistory().process)
		time.Sleep(time.Hour)
		c.stop()
		equal(t, "descriptions", 1, len(s.called("/tunnel/describe"))) // for the id
		if c.processor.Stats().Expiry != nil {
			t.Error("Stats tell of it")
		}
	})
}
