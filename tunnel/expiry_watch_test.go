package tunnel_test

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
)

func TestAWatchSaysOnceOfEachOutageWhatItCannotFindOut(t *testing.T) {
	for path, line := range map[string]string{
		"/tunnel/describe": "WARN how much time is left until records are lost could not be found out",
		"/DescribeTable":   "WARN how long the table's stream keeps a change is not known",
	} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop(t, emulator.Config{}, tunnel.Stream)
				var down atomic.Bool
				s.refuses(func(r *http.Request, w http.ResponseWriter) bool {
					return r.URL.Path == path && down.Load() && reject(w, r, 403, tunnel.CodeNoPermissionAccess)
				})
				watch, err := tunnel.NewExpiryWatch(s.client, "orders", "feed", tunnel.ExpiryConfig{}, slog.New(s.log))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var watching sync.WaitGroup
				watching.Go(func() { watch.Run(ctx) })
				for n := range 3 {
					time.Sleep(10 * time.Minute)
					equal(t, "lines before an outage", n, s.log.said(line))
					down.Store(true)
					time.Sleep(10 * time.Minute)
					equal(t, "lines in an outage", n+1, s.log.said(line))
					down.Store(false)
				}
				cancel()
				watching.Wait()
			})
		})
	}
}
