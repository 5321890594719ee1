package tunnel_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
)

func TestAChannelIsReadAheadAsFarAsItMayAndNoFurther(t *testing.T) {
	for ahead, want := range map[int]int{-1: 1, 1: 2, 3: 4, 0: 3} { // 0: the default, 2
		t.Run(fmt.Sprint(ahead), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop(t, emulator.Config{PageRecords: 1}, tunnel.Stream)
				s.puts(20)
				h := newHistory()
				release := make(chan struct{})
				h.before = func(ctx context.Context, _ *tunnel.Channel, _ []tunnel.DecodedRecord) error {
					<-release
					return nil
				}
				c := s.start(tunnel.ProcessorConfig{ReadAhead: ahead}, h.process)
				time.Sleep(time.Minute)
				synctest.Wait()
				equal(t, "reads while the first callback works", want, len(s.called(reads)))
				release <- struct{}{}
				synctest.Wait()
				equal(t, "reads while the second one works", want+1, len(s.called(reads)))
				close(release)
				time.Sleep(time.Minute)
				equal(t, "records", each(20), h.seen())
				c.stop()
			})
		})
	}
}

func TestBeyondTheBytesReadAheadAChannelReadsOnlyWhatItWorksOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A record counts for more than 1 KiB: two full pages pass the bound.
		s := newShop(t, emulator.Config{PageRecords: 500}, tunnel.Stream)
		for i := range 5000 {
			s.put("one", int64(i))
		}
		h := newHistory()
		release := make(chan struct{})
		h.before = func(context.Context, *tunnel.Channel, []tunnel.DecodedRecord) error {
			<-release
			return nil
		}
		c := s.start(tunnel.ProcessorConfig{ReadAhead: 100, ReadAheadBytes: 1 << 20}, h.process)
		time.Sleep(time.Minute)
		equal(t, "reads", 2, len(s.called(reads)))
		if held := c.processor.Stats().Held; held < 1<<20 || held > 3<<20 {
			t.Errorf("%d bytes are held", held)
		}
		close(release)
		time.Sleep(time.Minute)
		equal(t, "records", 5000, h.count())
		c.stop()
		equal(t, "bytes held in the end", 0, c.processor.Stats().Held)
	})
}

func TestChannelsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{Partitions: 8, PageRecords: 1}, tunnel.Stream)
		s.puts(200)
		h := newHistory()
		var mu sync.Mutex
		served := make(map[string]int)
		h.before = func(_ context.Context, ch *tunnel.Channel, _ []tunnel.DecodedRecord) error {
			time.Sleep(time.Second)
			mu.Lock()
			served[ch.ID()]++
			mu.Unlock()
			return nil
		}
		c := s.start(tunnel.ProcessorConfig{ChannelsAtOnce: 2}, h.process)
		time.Sleep(40 * time.Second)
		synctest.Wait()
		mu.Lock()
		for id, n := range served {
			if n < 8 || n > 13 { // the first two read ahead before others wait
				t.Errorf("channel %s had %d turns of 80", id, n)
			}
		}
		equal(t, "channels that had a turn", 8, len(served))
		mu.Unlock()
		time.Sleep(5 * time.Minute)
		equal(t, "records", each(200), h.seen())
		equal(t, "callbacks at a time", 2, h.most)
		c.stop()
	})
}

func TestAFailingCallbackDoesNotKeepTheTurnFromOtherChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{Partitions: 4, PageRecords: 2}, tunnel.Stream)
		s.puts(40)
		h := newHistory()
		failing := ""
		h.before = func(_ context.Context, ch *tunnel.Channel, _ []tunnel.DecodedRecord) error {
			if failing == "" {
				failing = ch.ID()
			}
			if failing == ch.ID() {
				return errCallback
			}
			return nil
		}
		c := s.start(tunnel.ProcessorConfig{ChannelsAtOnce: 1}, h.process)
		time.Sleep(10 * time.Minute)
		if n := h.count(); n < 20 || n == 40 {
			t.Errorf("%d records while one of four channels fails", n)
		}
		equal(t, "callbacks at a time", 1, h.most)
		c.stop()
	})
}

func TestAnyRecordEndsTheIdleBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{}, tunnel.Stream)
		h := newHistory()
		c := s.start(tunnel.ProcessorConfig{Idle: tunnel.Backoff{First: 10 * time.Millisecond, Max: 10 * time.Second, Factor: 10, Jitter: -1}}, h.process)
		time.Sleep(time.Minute)
		idle := len(s.called(reads))
		if idle > 12 {
			t.Errorf("%d reads in an idle minute", idle)
		}
		s.put("first", 1)
		for h.count() == 0 { // up to the longest wait
			time.Sleep(time.Millisecond)
		}
		start := time.Since(h.began)
		s.put("second", 2)
		time.Sleep(time.Minute)
		h.mu.Lock()
		late := h.times[1] - start
		h.mu.Unlock()
		if late > 15*time.Millisecond {
			t.Errorf("a record that follows another one waits %v", late)
		}
		c.stop()
	})
}
