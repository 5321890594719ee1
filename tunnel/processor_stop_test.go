package tunnel_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
)

func TestTheDrainLimitEndsTheCallbacksContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{}, tunnel.Stream)
		s.puts(1)
		h := newHistory()
		var drains, ends time.Duration
		h.before = func(ctx context.Context, ch *tunnel.Channel, _ []tunnel.DecodedRecord) error {
			<-ch.Draining()
			drains = time.Since(s.began)
			<-ctx.Done()
			ends = time.Since(s.began)
			return ctx.Err()
		}
		var how []tunnel.End
		c := s.start(tunnel.ProcessorConfig{
			DrainLimit: 20 * time.Second,
			OnEnd:      func(_ *tunnel.Channel, e tunnel.End) { how = append(how, e) },
		}, h.process)
		time.Sleep(time.Minute)
		c.stop()
		equal(t, "times", []time.Duration{time.Minute, time.Minute + 20*time.Second}, []time.Duration{drains, ends})
		equal(t, "commits", 0, len(s.called(checkpointed)))
		equal(t, "ends", []tunnel.End{tunnel.EndLost}, how)
		equal(t, "failures", 0, c.processor.Stats().Failures) // it was stopped
		equal(t, "warnings", 0, s.log.said("WARN the callback failed"))
	})
}

func TestAStopDoesNotWaitForACheckpointThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{}, tunnel.Stream)
		s.refuses(func(r *http.Request, w http.ResponseWriter) bool {
			return r.URL.Path == opens && reject(w, r, 403, tunnel.CodePermissionDenied)
		})
		var ends []tunnel.End
		c := s.start(tunnel.ProcessorConfig{OnEnd: func(_ *tunnel.Channel, e tunnel.End) { ends = append(ends, e) }}, newHistory().process)
		time.Sleep(10 * time.Minute)
		stopped := time.Now()
		c.stop()
		equal(t, "ends", []tunnel.End{tunnel.EndDrained}, ends)
		if d := time.Since(stopped); d > 10*time.Second {
			t.Errorf("the stop took %v", d)
		}
	})
}

func TestWhatWasSettledIsCommittedThoughTheNextCallbackOutlastsTheDrainLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{PageRecords: 1}, tunnel.Stream)
		s.puts(3)
		h := newHistory()
		h.before = func(ctx context.Context, _ *tunnel.Channel, records []tunnel.DecodedRecord) error {
			if n, _ := records[0].Column("n"); n.Integer() == 2 {
				<-ctx.Done()
			}
			return ctx.Err()
		}
		c := s.start(tunnel.ProcessorConfig{CheckpointInterval: 10 * time.Minute}, h.process)
		time.Sleep(time.Minute)
		c.stop()

		again := newHistory()
		c = s.start(tunnel.ProcessorConfig{}, again.process)
		time.Sleep(time.Minute)
		c.stop()
		equal(t, "what comes again", map[string][]string{"order-002": {"PutRow 2"}}, again.seen())
	})
}

func TestACallbackThatNeverReturnsIsWaitedForAndComplainedOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{}, tunnel.Stream)
		s.puts(1)
		release := make(chan struct{})
		c := s.start(tunnel.ProcessorConfig{DrainLimit: 20 * time.Second}, func(context.Context, *tunnel.Channel, []tunnel.DecodedRecord) error {
			<-release
			return nil
		})
		time.Sleep(10 * time.Minute)
		const complaint = "WARN channels were stopped, but"
		equal(t, "complaints while it may work", 0, s.log.said(complaint))
		c.cancel()
		time.Sleep(20*time.Second + 29*time.Second)
		equal(t, "complaints at first", 0, s.log.said(complaint))
		time.Sleep(5 * time.Minute)
		if n := s.log.said(complaint); n < 9 || n > 11 {
			t.Errorf("%d complaints in five minutes", n)
		}
		select {
		case err := <-c.result:
			t.Errorf("Run returned before the callback: %v", err)
		default:
		}
		close(release)
		c.stop()
	})
}

func TestRunReturnsAfterTheLastReportOfTheTimeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{}, tunnel.Stream)
		release := make(chan struct{})
		c := s.start(tunnel.ProcessorConfig{Expiry: tunnel.ExpiryConfig{Report: func(tunnel.Expiry) { <-release }}}, newHistory().process)
		time.Sleep(time.Minute)
		c.cancel()
		time.Sleep(time.Minute)
		select {
		case err := <-c.result:
			t.Errorf("Run returned while Report was called: %v", err)
			close(release)
		default:
			close(release)
			c.stop()
		}
	})
}

func TestAStopDoesNotWaitForACommitThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{}, tunnel.BaseData)
		s.refuses(func(r *http.Request, w http.ResponseWriter) bool {
			return r.URL.Path == checkpointed && reject(w, r, 403, tunnel.CodePermissionDenied)
		})
		var end tunnel.End
		c := s.start(tunnel.ProcessorConfig{
			CheckpointInterval: 10 * time.Minute,
			OnEnd:              func(_ *tunnel.Channel, e tunnel.End) { end = e },
		}, newHistory().process)
		time.Sleep(time.Minute) // it has been read to its end
		stopped := time.Now()
		c.stop()
		equal(t, "end", tunnel.EndDrained, end)
		if d := time.Since(stopped); d > 10*time.Second {
			t.Errorf("the stop took %v", d)
		}
	})
}

func TestACommitThatIsRefusedAtTheEndIsTriedAtTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{}, tunnel.BaseData)
		var refused atomic.Int64
		s.refuses(func(r *http.Request, w http.ResponseWriter) bool {
			return r.URL.Path == checkpointed && refused.Add(1) <= 2 && reject(w, r, 403, tunnel.CodePermissionDenied)
		})
		var ended time.Duration
		c := s.start(tunnel.ProcessorConfig{
			CheckpointInterval: time.Minute,
			OnEnd:              func(*tunnel.Channel, tunnel.End) { ended = time.Since(s.began) },
		}, newHistory().process)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if ended < 2*time.Minute || ended > 2*time.Minute+10*time.Second {
			t.Errorf("it ended after %v", ended)
		}
		equal(t, "commits", 3, len(s.called(checkpointed)))
		c.stop()
	})
}

func TestTheLastCommitIsTriedThoughTheOneBeforeItWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{PageRecords: 1}, tunnel.Stream)
		s.puts(3)
		var refused atomic.Int64
		s.refuses(func(r *http.Request, w http.ResponseWriter) bool {
			return r.URL.Path == checkpointed && refused.Add(1) <= 1 && reject(w, r, 403, tunnel.CodePermissionDenied)
		})
		h := newHistory()
		h.before = func(context.Context, *tunnel.Channel, []tunnel.DecodedRecord) error {
			time.Sleep(20 * time.Second)
			return nil
		}
		c := s.start(tunnel.ProcessorConfig{CheckpointInterval: 10 * time.Minute}, h.process)
		time.Sleep(30 * time.Second)
		c.stop() // the commit of the first page is refused, while the second is settled
		equal(t, "settled", 2, h.count())

		again := newHistory()
		c = s.start(tunnel.ProcessorConfig{}, again.process)
		time.Sleep(time.Minute)
		c.stop()
		equal(t, "what comes again", map[string][]string{"order-002": {"PutRow 2"}}, again.seen())
	})
}

func TestAChannelHasOneCommitUnderWayAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{PageRecords: 1}, tunnel.Stream)
		s.puts(30)
		var now, most atomic.Int64
		s.refuses(func(r *http.Request, w http.ResponseWriter) bool {
			if r.URL.Path != checkpointed {
				return false
			}
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(3 * time.Second)
			s.emulator.ServeHTTP(w, r)
			return true
		})
		h := newHistory()
		h.before = func(context.Context, *tunnel.Channel, []tunnel.DecodedRecord) error {
			time.Sleep(400 * time.Millisecond)
			return nil
		}
		c := s.start(tunnel.ProcessorConfig{CheckpointInterval: 100 * time.Millisecond}, h.process)
		time.Sleep(time.Minute)
		c.stop()
		equal(t, "records", each(30), h.seen())
		equal(t, "commits at a time", 1, most.Load())
	})
}

func TestRunEndsWhenAReadOrACommitSaysThatTheTunnelHasExpired(t *testing.T) {
	for _, path := range []string{reads, opens, checkpointed} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop(t, emulator.Config{Partitions: 2}, tunnel.Stream)
				s.puts(2)
				s.refuses(func(r *http.Request, w http.ResponseWriter) bool {
					return r.URL.Path == path && reject(w, r, 400, tunnel.CodeTunnelExpired)
				})
				c := s.start(tunnel.ProcessorConfig{}, newHistory().process)
				time.Sleep(time.Minute)
				select {
				case err := <-c.result:
					if !errors.Is(err, tunnel.CodeTunnelExpired) {
						t.Errorf("Run: %v", err)
					}
				default:
					t.Error("it goes on")
					c.stop()
				}
				equal(t, "shutdowns", 1, len(s.called(shutdown)))
			})
		})
	}
}

// As with errgroup, where the first to fail ends the others.
func TestARunThatIsStoppedForAnothersFailureReturnsNil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{}, tunnel.Stream)
		p, err := tunnel.NewProcessor(s.client, tunnel.ProcessorConfig{Table: "orders", Tunnel: "feed", Logger: slog.New(s.log)}, newHistory().process)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(fmt.Errorf("the other: %w", &tunnel.Error{Code: tunnel.CodeTunnelExpired})) })
		if err := p.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}
