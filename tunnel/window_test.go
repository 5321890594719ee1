package tunnel

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// Many channels read ahead and take turns: none reads further than it may, no
// more than are allowed work at a time, every page is done, and nothing is
// held in the end.
func TestWindowsKeepTheirBoundsAndNobodyStarves(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type page struct {
			bytes      int64
			read, work time.Duration
			failures   int
		}
		atOnce := rapid.IntRange(0, 3).Draw(rt, "at once")
		ahead := rapid.IntRange(0, 3).Draw(rt, "ahead")
		bound := rapid.Int64Range(1, 50).Draw(rt, "bytes")
		duration := rapid.Custom(func(rt *rapid.T) time.Duration {
			return time.Duration(rapid.IntRange(0, 5).Draw(rt, "s")) * time.Second
		})
		channels := rapid.SliceOfN(rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) page {
			return page{
				bytes: rapid.Int64Range(0, 30).Draw(rt, "bytes"),
				read:  duration.Draw(rt, "read"), work: duration.Draw(rt, "work"),
				failures: rapid.IntRange(0, 2).Draw(rt, "failures"),
			}
		}), 0, 8), 1, 6).Draw(rt, "channels")

		var wrong []string
		var mu sync.Mutex
		fail := func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
			defer cancel()
			turns := newTurns(atOnce)
			var total atomic.Int64
			var working, done atomic.Int64
			var all sync.WaitGroup
			due := 0
			for _, pages := range channels {
				due += len(pages)
				all.Go(func() {
					w := newWindow(turns, ahead, bound, &total)
					defer w.close()
					waiting := make(chan page, ahead+1)
					var begun, finished atomic.Int64
					var reader sync.WaitGroup
					defer reader.Wait()
					reader.Go(func() {
						defer close(waiting)
						for _, p := range pages {
							if w.open(ctx) != nil {
								return
							}
							if open := begun.Add(1) - finished.Load(); open > int64(ahead)+1 {
								fail("%d pages are open, %d ahead", open, ahead)
							}
							_ = sleep(ctx, p.read)
							w.hold(p.bytes)
							waiting <- p
						}
					})
					for p := range waiting {
						for n := 0; ; n++ {
							if now := working.Add(1); atOnce > 0 && now > int64(atOnce) {
								fail("%d at work, %d may", now, atOnce)
							}
							_ = sleep(ctx, p.work)
							working.Add(-1)
							if n == p.failures {
								break
							}
							w.pause()
							_ = sleep(ctx, 10*time.Second)
							if w.resume(ctx) != nil {
								return
							}
						}
						finished.Add(1)
						w.done(p.bytes)
						done.Add(1)
					}
				})
			}
			all.Wait()
			if int(done.Load()) != due {
				fail("%d pages of %d are done", done.Load(), due)
			}
			if total.Load() != 0 {
				fail("%d bytes are held", total.Load())
			}
			for range atOnce {
				if !turns.free.TryAcquire(1) {
					fail("a turn was not given back")
				}
			}
			if turns.wanted() {
				fail("somebody waits")
			}
		})
		for _, w := range wrong {
			rt.Error(w)
		}
	})
}

func TestAWindowThatClosesGivesUpWhatItHolds(t *testing.T) {
	turns := newTurns(1)
	var total atomic.Int64
	w := newWindow(turns, 2, 100, &total)
	for range 3 {
		if err := w.open(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.hold(10)
	}
	w.close()
	if total.Load() != 0 || !turns.free.TryAcquire(1) {
		t.Errorf("%d bytes are held, or the turn", total.Load())
	}
}
