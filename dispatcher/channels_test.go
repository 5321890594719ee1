package dispatcher_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/culvertio/culvert/dispatcher"
	"github.com/culvertio/culvert/dispatcher/invoke"
	"github.com/culvertio/culvert/functions"
	"github.com/culvertio/culvert/tunnel/emulator"
)

func TestChannelsShowWhatIsReadSettledAndHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		w.config.Triggers[0].Batch.Records = 1
		w.put("a", 1)
		w.put("b", 1)
		answer := make(chan struct{})
		w.function.behave = func(context.Context, *functions.Event) invoke.Result {
			<-answer
			return invoke.Result{Class: invoke.Done}
		}
		d := w.start()
		w.until("the first record is under way", func() bool { return w.function.invocations() == 1 })
		read := time.Now()
		<-time.After(time.Minute)
		shows := func(want dispatcher.ChannelStats) {
			t.Helper()
			synctest.Wait()
			got := d.Channels()
			if len(got) != 1 {
				t.Fatalf("%+v: one is held", got)
			}
			if diff := cmp.Diff(want, got[0], cmpopts.IgnoreFields(want, "ID"), cmpopts.EquateApproxTime(time.Second)); diff != "" || got[0].ID == "" {
				t.Errorf("%v (-want +got):\n%s", got[0].ID, diff)
			}
		}
		shows(dispatcher.ChannelStats{State: dispatcher.Ending, Read: 2, InFlight: 1, Oldest: read})
		answer <- struct{}{}
		shows(dispatcher.ChannelStats{State: dispatcher.Ending, Read: 2, Settled: 1, InFlight: 1, Oldest: read})
		answer <- struct{}{}
		w.until("the stream's channel is held", func() bool {
			all := d.Channels()
			return len(all) == 1 && all[0].State == dispatcher.Reading
		})
		shows(dispatcher.ChannelStats{State: dispatcher.Reading})

		w.put("a", 2)
		w.until("the change is under way", func() bool { return w.function.invocations() == 3 })
		read = time.Now()
		shows(dispatcher.ChannelStats{State: dispatcher.Reading, Read: 1, InFlight: 1, Oldest: read})
		d.stop()
		shows(dispatcher.ChannelStats{State: dispatcher.Draining, Read: 1, InFlight: 1, Oldest: read})
		close(answer)
		d.drain()
		if left := d.Channels(); len(left) > 0 {
			t.Errorf("%+v are held after the end", left)
		}
	})
}
