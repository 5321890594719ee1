package dispatcher_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/dispatcher/invoke"
	"github.com/culvertio/culvert/functions"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// A page that arrives while the channel drains stands behind pages that were
// forgotten: if it were taken, the checkpoint would pass them. Whether the
// reader still hands it over is chance, hence the rounds.
func TestAPageThatArrivesDuringADrainTakesNoForgottenPageAlong(t *testing.T) {
	for range 30 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, emulator.Config{PageRecords: 1})
			w.config.Triggers[0].Batch.Records = 1
			const keys = 6
			for k := range keys {
				w.put(fmt.Sprint(k), 1)
			}
			var reads atomic.Int32
			arrive, answer := make(chan struct{}), make(chan struct{})
			w.answer = func(path string, body []byte) []byte {
				if path == "/tunnel/readrecords" && reads.Add(1) == 4 {
					<-arrive
				}
				return body
			}
			w.function.behave = func(context.Context, *functions.Event) invoke.Result {
				<-answer
				return invoke.Result{Class: invoke.Done}
			}
			d := w.start()
			w.until("the first record is under way and the fourth being read", func() bool {
				return w.function.invocations() == 1 && reads.Load() == 4
			})
			d.stop()
			synctest.Wait()
			close(arrive)
			synctest.Wait()
			close(answer)
			d.drain()

			d = w.start()
			w.until("every key is delivered", func() bool { return w.function.keys() == keys })
			d.drain()
		})
	}
}

func TestADrainCommitsAlthoughTheCommitBeforeWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		refusal, err := proto.Marshal(&tunnelpb.Error{Code: proto.String("OTSInternal"), Message: proto.String("not now")})
		if err != nil {
			t.Fatal(err)
		}
		var refused atomic.Int32
		var sound atomic.Bool
		w.status = func(path string) (int, []byte) {
			if path != "/tunnel/checkpoint" || sound.Load() {
				return 0, nil
			}
			refused.Add(1)
			return http.StatusBadRequest, refusal
		}
		w.config.Tunnel.Create = "Stream"
		d := w.start()
		w.until("the channel is there", func() bool { return d.Stats().Channels == 1 })
		w.put("a", 1)
		w.until("it is delivered", func() bool { return w.function.delivered() == 1 })
		before := refused.Load()
		w.until("its commit is refused", func() bool { return refused.Load() > before })
		synctest.Wait()
		sound.Store(true)
		d.drain()

		d = w.start()
		<-time.After(10 * time.Second)
		d.drain()
		if n := w.function.delivered(); n != 1 {
			t.Errorf("the record was delivered %d times although the stop was clean", n)
		}
	})
}

func TestADrainWaitsForAHangingFunctionNoLongerThanItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		w.config.Triggers[0].Timeout = time.Hour
		w.function.behave = func(ctx context.Context, _ *functions.Event) invoke.Result {
			<-ctx.Done()
			return invoke.Result{Class: invoke.MayHaveRun, Err: ctx.Err()}
		}
		w.put("a", 1)
		d := w.start()
		w.until("an invocation is under way", func() bool { return w.function.invocations() == 1 })
		from := time.Now()
		d.drain()
		if took := time.Since(from); took < 30*time.Second || took > time.Minute {
			t.Errorf("the stop took %v; the limit is 30 s", took)
		}
	})
}

func TestADrainWithoutALedgerEndsAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		w.config.Triggers[0].Batch.Records = 1
		for k := range 5 {
			w.put(strings.Repeat("k", k+1), 1)
		}
		answer := make(chan struct{})
		w.function.behave = func(context.Context, *functions.Event) invoke.Result {
			<-answer
			return invoke.Result{Class: invoke.Done}
		}
		d := w.start()
		w.until("an invocation is under way", func() bool { return w.function.invocations() == 1 })
		w.redis.SetError("LOADING Redis is loading the dataset in memory")
		close(answer)
		d.drain()

		w.redis.SetError("")
		d = w.start()
		w.until("every key is delivered", func() bool { return w.function.keys() == 5 })
		d.drain()
	})
}
