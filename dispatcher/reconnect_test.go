package dispatcher_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertio/culvert/tunnel/emulator"
)

// Where heartbeats are frequent, a lost connection is made anew as soon.
func TestTheWaitBeforeANewConnectionIsBoundedByTheHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		var refused []time.Time
		w.status = func(path string) (int, []byte) {
			if !strings.HasSuffix(path, "/connect") || len(refused) == 30 {
				return 0, nil
			}
			refused = append(refused, time.Now())
			return http.StatusForbidden, nil // which no layer below repeats
		}
		w.put("a", 1)
		d := w.start()
		w.until("the record has arrived", func() bool { return w.function.delivered() == 1 })
		for i := 1; i < len(refused); i++ {
			if wait := refused[i].Sub(refused[i-1]); wait > w.config.Heartbeat.Interval {
				t.Errorf("after refusal %d it waited %v", i, wait)
			}
		}
		if len(refused) != 30 {
			t.Errorf("%d refusals", len(refused))
		}
		d.drain()
	})
}
