package tunnel_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertio/culvert/tunnel"
)

const (
	connect   = "/tunnel/connect"
	heartbeat = "/tunnel/heartbeat"
	shutdown  = "/tunnel/shutdown"
)

func TestAWorkerConnectsAndHeartbeatsAtItsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.lists(open("a", 1), open("BaseData_b", 7))
		c := newConsumer(t, func(ctx context.Context, ch *tunnel.Channel) (tunnel.End, error) {
			if ch.TunnelID() != "t" || ch.ClientID() != "client-1" || ch.IsBaseData() != strings.HasPrefix(ch.ID(), "BaseData") {
				t.Errorf("channel %+v", ch)
			}
			return drains(0)(ctx, ch)
		})
		j := begin(t, client, c)
		time.Sleep(70 * time.Second)
		synctest.Wait()

		beats := s.calls(heartbeat)
		equal(t, "heartbeats", []time.Duration{0, 30 * time.Second, 60 * time.Second}, times(beats))
		equal(t, "first heartbeat", nil, beats[0].Channels)
		equal(t, "second heartbeat", []tunnel.HeartbeatChannel{open("BaseData_b", 7), open("a", 1)}, beats[1].Channels)
		equal(t, "runs", []string{"0s BaseData_b v7 begins", "0s a v1 begins"}, c.notes())
		if r := s.connects[0]; r.GetTunnelId() != "t" || r.GetClientConfig().GetTimeout() != 300 || r.GetClientConfig().GetClientTag() != "test" {
			t.Errorf("connect: %v", r)
		}
		j.end()
	})
}

func TestAChannelAskedBackIsDrainedAndGivenBackEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.lists(open("a", 1))
		c := newConsumer(t, drains(7*time.Second))
		j := begin(t, client, c)
		time.Sleep(time.Second)
		s.lists(closing("a", 2))
		time.Sleep(30 * time.Second)
		s.lists()
		time.Sleep(30 * time.Second)
		synctest.Wait()

		beats := s.calls(heartbeat)
		equal(t, "heartbeats", []time.Duration{0, 30 * time.Second, 37 * time.Second}, times(beats))
		equal(t, "what is given back", []tunnel.HeartbeatChannel{closed("a", 3)}, beats[2].Channels)
		equal(t, "runs", []string{"0s a v1 begins", "37s a ends drained"}, c.notes())
		j.end()
	})
}

func TestEarlyHeartbeatsKeepTheGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		var channels []tunnel.HeartbeatChannel
		for i := range 20 {
			channels = append(channels, open(fmt.Sprintf("c%02d", i), 1))
		}
		s.lists(channels...)
		s.fails(heartbeat, fault{}, fault{slow: 12 * time.Second})
		var order sync.Mutex
		n := 0
		c := newConsumer(t, func(context.Context, *tunnel.Channel) (tunnel.End, error) {
			order.Lock()
			n++
			wait := time.Duration(n) * 1700 * time.Millisecond
			order.Unlock()
			time.Sleep(wait)
			return tunnel.EndFinished, nil
		})
		j := begin(t, client, c)
		time.Sleep(time.Minute)
		j.end()

		at := times(s.calls(heartbeat))
		if len(at) < 5 {
			t.Errorf("heartbeats at %v: the ends did not make any come early", at)
		}
		for i := 1; i < len(at); i++ {
			if at[i]-at[i-1] < 5*time.Second {
				t.Errorf("heartbeats at %v and %v", at[i-1], at[i])
			}
		}
	})
}

func TestAChannelThatStandsStillHoldsNothingElseUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.lists(open("a", 1), open("b", 1), open("c", 1))
		s.hang("a")
		c := newConsumer(t, nil)
		c.work = func(ctx context.Context, ch *tunnel.Channel) (tunnel.End, error) {
			if _, err := ch.GetCheckpoint(ctx); err != nil {
				return tunnel.EndLost, err
			}
			c.note("%s reads", ch.ID())
			return drains(0)(ctx, ch)
		}
		j := begin(t, client, c)
		time.Sleep(45 * time.Second)
		synctest.Wait()

		equal(t, "heartbeats", []time.Duration{0, 30 * time.Second}, times(s.calls(heartbeat)))
		equal(t, "runs", []string{
			"0s a v1 begins", "0s b reads", "0s b v1 begins", "0s c reads", "0s c v1 begins",
		}, c.notes())
		j.end()
	})
}

func TestTheDrainLimitEndsTheRunAndTheChannelIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.lists(open("a", 1))
		c := newConsumer(t, drains(time.Hour))
		j := begin(t, client, c)
		time.Sleep(time.Second)
		s.lists(closing("a", 2))
		time.Sleep(65 * time.Second)
		synctest.Wait()

		// Asked back at 30 s; the limit passes at 60 s, together with a
		// regular heartbeat.
		equal(t, "runs", []string{"0s a v1 begins", "1m0s a ends lost"}, c.notes())
		given := 0
		for _, b := range s.calls(heartbeat) {
			if slices.Equal(b.Channels, []tunnel.HeartbeatChannel{closed("a", 3)}) {
				given++
			}
		}
		equal(t, "heartbeats that give it back", 1, given)
		j.end()
	})
}

func TestAClientThatIsGoneStopsItsChannelsAndConnectsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.lists(open("a", 1))
		stopped := make(chan struct{})
		c := newConsumer(t, func(ctx context.Context, ch *tunnel.Channel) (tunnel.End, error) {
			select {
			case <-ch.Draining():
				return tunnel.EndDrained, nil
			case <-ctx.Done():
			}
			// Longer than any reconnect waits: the new session waits for it.
			time.Sleep(time.Minute)
			close(stopped)
			return tunnel.EndLost, ctx.Err()
		})
		s.fails(heartbeat, fault{}, fault{code: tunnel.CodeResourceGone})
		j := begin(t, client, c)
		<-stopped
		time.Sleep(11 * time.Second)
		synctest.Wait()

		equal(t, "runs", []string{"0s a v1 begins", "1m30s a ends lost"}, c.notes()[:2])
		connects := s.calls(connect)
		if len(connects) != 2 || connects[1].At < 90*time.Second || connects[1].At > 100*time.Second {
			t.Errorf("connects: %+v", connects)
		}
		beats := s.calls(heartbeat)
		last := beats[len(beats)-1]
		if last.Client != "client-2" || last.Channels != nil || len(c.notes()) != 3 {
			t.Errorf("after connecting anew: %+v, %v", last, c.notes())
		}
		j.end()
	})
}

func TestAClientThatNobodyAnswersGivesUpAfterTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.lists(open("a", 1))
		c := newConsumer(t, drains(0))
		j := begin(t, client, c)
		time.Sleep(time.Second)
		s.fails(heartbeat, slices.Repeat([]fault{{code: tunnel.CodeServerUnavailable}}, 10_000)...)
		time.Sleep(310 * time.Second)
		s.heals(heartbeat)
		time.Sleep(10 * time.Second)
		synctest.Wait()

		notes := c.notes()
		if len(notes) != 3 || notes[1] != "5m0s a ends lost" {
			t.Errorf("runs: %v", notes)
		}
		equal(t, "connects", 2, len(s.calls(connect)))
		j.end()
	})
}

func TestAHeartbeatThatHangsIsGivenUpAfterTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.lists(open("a", 1))
		c := newConsumer(t, drains(0))
		j := begin(t, client, c)
		time.Sleep(time.Second)
		s.fails(heartbeat, slices.Repeat([]fault{{slow: time.Hour}}, 100)...)
		time.Sleep(310 * time.Second)
		s.heals(heartbeat)
		time.Sleep(2 * time.Minute) // a heartbeat of the next client hangs too
		synctest.Wait()

		if notes := c.notes(); len(notes) != 3 || notes[1] != "5m0s a ends lost" {
			t.Errorf("runs: %v", notes)
		}
		j.end()
	})
}

func TestAFatalErrorEndsRunWhenTheConsumersHaveReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.lists(open("a", 1), open("b", 1))
		c := newConsumer(t, func(ctx context.Context, _ *tunnel.Channel) (tunnel.End, error) {
			<-ctx.Done()
			time.Sleep(3 * time.Second)
			return tunnel.EndLost, ctx.Err()
		})
		s.fails(heartbeat, fault{}, fault{code: tunnel.CodeTunnelExpired})
		err := <-begin(t, client, c).result
		if !errors.Is(err, tunnel.CodeTunnelExpired) || !tunnel.Fatal(err) {
			t.Errorf("Run: %v", err)
		}
		equal(t, "runs", []string{"0s a v1 begins", "0s b v1 begins", "33s a ends lost", "33s b ends lost"}, c.notes())
		equal(t, "connects", 1, len(s.calls(connect)))
	})
}

func TestAConnectThatIsRefusedForGoodEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.fails(connect, fault{code: tunnel.CodeServerUnavailable}, fault{code: tunnel.CodePermissionDenied})
		err := <-begin(t, client, newConsumer(t, nil)).result
		if !errors.Is(err, tunnel.CodePermissionDenied) {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestAFinishedChannelIsReportedTerminated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.lists(open("a", 1))
		j := begin(t, client, newConsumer(t, func(context.Context, *tunnel.Channel) (tunnel.End, error) {
			return tunnel.EndFinished, nil
		}))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		beats := s.calls(heartbeat)
		equal(t, "heartbeats", []time.Duration{0, 5 * time.Second}, times(beats))
		equal(t, "reported", []tunnel.HeartbeatChannel{terminated("a", 2)}, beats[1].Channels)
		j.end()
	})
}

func TestALostChannelIsLeftOutAndOpenedAfresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.lists(open("a", 1))
		c := newConsumer(t, nil)
		first := true
		c.work = func(ctx context.Context, ch *tunnel.Channel) (tunnel.End, error) {
			if first {
				first = false
				return tunnel.EndLost, tunnel.ErrTakenOver
			}
			return drains(0)(ctx, ch)
		}
		j := begin(t, client, c)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		beats := s.calls(heartbeat)
		equal(t, "heartbeats", []time.Duration{0, 5 * time.Second}, times(beats))
		equal(t, "reported", nil, beats[1].Channels)
		equal(t, "runs", []string{"0s a ends lost", "0s a v1 begins", "5s a v1 begins"}, c.notes())
		j.end()
	})
}

func TestALostAnswerOfAHeartbeatChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.lists(open("a", 1))
		s.fails(heartbeat, fault{cut: true}, fault{}, fault{cut: true}, fault{code: "OTSSomethingNew"})
		c := newConsumer(t, drains(0))
		j := begin(t, client, c)
		time.Sleep(100 * time.Second)
		synctest.Wait()
		if notes := c.notes(); len(notes) != 1 {
			t.Errorf("runs: %v", notes)
		}
		equal(t, "connects", 1, len(s.calls(connect)))
		j.end()
	})
}

func TestAWorkerRunsOnceAtATimeAndAgainAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.lists(open("a", 1))
		worker, err := tunnel.NewWorker(client, tunnel.WorkerConfig{TunnelID: "t", Logger: slog.New(slog.DiscardHandler)}, newConsumer(t, drains(0)))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			ctx, stop := context.WithCancel(t.Context())
			result := make(chan error, 1)
			go func() { result <- worker.Run(ctx) }()
			synctest.Wait()
			if err := worker.Run(t.Context()); err == nil {
				t.Error("a second Run beside the first")
			}
			stop()
			if err := <-result; err != nil {
				t.Error(err)
			}
		}
		equal(t, "shutdowns", 2, len(s.calls(shutdown)))
	})
}

func TestNewWorkerNamesEveryMistake(t *testing.T) {
	t.Parallel()
	client, err := tunnel.NewClient(tunnel.ClientConfig{Endpoint: "http://127.0.0.1:1", Instance: "i"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cfg  tunnel.WorkerConfig
		want []string // the fields that are named; none: it is accepted
	}{
		{"the defaults", tunnel.WorkerConfig{TunnelID: "t"}, nil},
		{"an emulator's", tunnel.WorkerConfig{TunnelID: "t", HeartbeatInterval: 50 * time.Millisecond, HeartbeatGap: time.Millisecond, HeartbeatTimeout: time.Second}, nil},
		{"the official least", tunnel.WorkerConfig{TunnelID: "t", HeartbeatInterval: 5 * time.Second}, nil},
		{"an interval below five seconds needs a gap below", tunnel.WorkerConfig{TunnelID: "t", HeartbeatInterval: 4 * time.Second}, []string{"HeartbeatInterval"}},
		{"an interval below the gap", tunnel.WorkerConfig{TunnelID: "t", HeartbeatInterval: time.Second, HeartbeatGap: 2 * time.Second}, []string{"HeartbeatInterval"}},
		{"a gap above the interval", tunnel.WorkerConfig{TunnelID: "t", HeartbeatGap: time.Minute}, []string{"HeartbeatGap"}},
		{"a timeout that is not above the interval", tunnel.WorkerConfig{TunnelID: "t", HeartbeatTimeout: 30 * time.Second}, []string{"HeartbeatTimeout"}},
		{"a timeout with a fraction", tunnel.WorkerConfig{TunnelID: "t", HeartbeatTimeout: 31500 * time.Millisecond}, []string{"HeartbeatTimeout"}},
		{"everything", tunnel.WorkerConfig{
			HeartbeatInterval: -1, HeartbeatTimeout: -1, HeartbeatGap: -1, DrainLimit: -1, ReconnectMax: -1,
		}, []string{"TunnelID", "HeartbeatInterval", "HeartbeatTimeout", "HeartbeatGap", "DrainLimit", "ReconnectMax"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := tunnel.NewWorker(client, tt.cfg, newConsumer(t, nil))
			if (err != nil) != (tt.want != nil) {
				t.Fatalf("NewWorker: %v", err)
			}
			for _, field := range tt.want {
				if !strings.Contains(err.Error(), field+":") {
					t.Errorf("%v\ndoes not name %s", err, field)
				}
			}
		})
	}
	if _, err := tunnel.NewWorker(nil, tunnel.WorkerConfig{TunnelID: "t"}, newConsumer(t, nil)); err == nil {
		t.Error("a worker without a client")
	}
	if _, err := tunnel.NewWorker(client, tunnel.WorkerConfig{TunnelID: "t"}, nil); err == nil {
		t.Error("a worker without a consumer")
	}
}

// After a crash nothing happens for minutes, which must not look like a fault.
func TestAWorkerWithoutChannelsSaysHowLongThatMayLast(t *testing.T) {
	const (
		waits = "INFO no channel for this client yet: other clients hold them, and one that was killed keeps its own until its heartbeat.timeout has passed"
		last  = "INFO still no channel for this client"
	)
	run := func(t *testing.T, comes bool) *logbook {
		s, client := newService(t)
		s.lists()
		log := new(logbook)
		worker, err := tunnel.NewWorker(client, tunnel.WorkerConfig{TunnelID: "t", Logger: slog.New(log)}, newConsumer(t, drains(0)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- worker.Run(ctx) }()
		time.Sleep(100 * time.Second)
		if comes {
			s.lists(open("a", 1))
		}
		time.Sleep(15 * time.Minute)
		stop()
		if err := <-result; err != nil {
			t.Errorf("Run: %v", err)
		}
		return log
	}
	t.Run("a killed client's come", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			log := run(t, true)
			// At 0, 30, 60 and 90 s, and perhaps at 120 s, when they come.
			if n := log.said(waits); n < 4 || n > 5 || log.said(last) != 0 {
				t.Errorf("said %d times, and %d times the last of it: %q", n, log.said(last), log.lines)
			}
			if n := log.said(waits + " heartbeat.timeout=5m0s left_at_most=4m30s"); n != 1 {
				t.Errorf("the time that is left after a minute is said %d times: %q", n, log.lines)
			}
		})
	})
	t.Run("others hold them", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			log := run(t, false)
			if n := log.said(waits); n != 11 || log.said(last) != 1 {
				t.Errorf("said %d times, and %d times the last of it; want 11 and 1: %q", n, log.said(last), log.lines)
			}
		})
	})
}
