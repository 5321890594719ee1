package dispatcher_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/dispatcher/invoke"
	"github.com/culvertio/culvert/functions"
	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// Channels move between two dispatchers whose drains are cut short, calls of
// the service fail, answers are lost, the ledger goes away, and functions
// work on when their connection has broken: no key is ever in two batches at
// once, and none of its revisions is left out.
func TestWhereverChannelsMoveNoKeyIsInTwoBatchesAtOnce(t *testing.T) {
	for seed := range 6 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { move(t, seed) })
		})
	}
}

func move(t *testing.T, seed int) {
	w := newWorld(t, emulator.Config{Partitions: 3, PageRecords: 1 + seed%7})
	w.config.Tunnel.Create = "Stream"
	w.config.Drain = time.Duration(1+seed%3) * 300 * time.Millisecond
	trigger := &w.config.Triggers[0]
	trigger.Parallel, trigger.Batch.Records = 1+seed%4, 1+seed%5
	trigger.Batch.Window = time.Duration(seed%3) * 100 * time.Millisecond
	trigger.Timeout, trigger.Retry.Max = time.Second, time.Second
	stubborn := &stubborn{t: t, working: map[*work]bool{}, effects: map[string][]int64{}}
	w.function.behave = stubborn.behave
	mend := w.fail()

	const keys, revisions = 8, 12
	one := w.start()
	w.until("all channels are held", func() bool { return one.Stats().Channels == 3 })
	var two *running
	for r := range revisions {
		for k := range keys {
			w.put(fmt.Sprint(k), int64(r+1))
		}
		<-time.After(time.Duration(50*(seed%5)) * time.Millisecond)
		switch r {
		case 3:
			two = w.start()
		case 5, 9:
			w.redis.SetError("LOADING Redis is loading the dataset in memory")
			<-time.After(time.Duration(seed%4) * 150 * time.Millisecond)
			w.redis.SetError("")
		case 6:
			one.drain()
		case 8:
			one = w.start()
		}
	}
	<-time.After(time.Second)
	mend()
	<-time.After(10 * time.Minute) // every connection that breaks costs the attempt's time
	one.drain()
	two.drain()
	for key, got := range stubborn.effects {
		newest := int64(0)
		for _, revision := range got {
			if revision > newest+1 {
				t.Errorf("key %s: revision %d came without the one before it: %v", key, revision, got)
			}
			newest = max(newest, revision)
		}
		if last := got[len(got)-1]; last != revisions {
			t.Errorf("key %s: the last effect is of revision %d: %v", key, last, got)
		}
	}
	if len(stubborn.effects) != keys {
		t.Errorf("%d keys were delivered, want %d", len(stubborn.effects), keys)
	}
}

// fail makes calls of the service fail in turn, until mend is called.
func (w *world) fail() (mend func()) {
	refusal := func(code tunnel.Code) []byte {
		body, err := proto.Marshal(&tunnelpb.Error{Code: proto.String(string(code))})
		if err != nil {
			w.t.Error(err)
		}
		return body
	}
	gone, unavailable := refusal(tunnel.CodeResourceGone), refusal(tunnel.CodeServerUnavailable)
	var calls atomic.Int64
	var mended atomic.Bool
	w.status = func(path string) (int, []byte) {
		if mended.Load() {
			return 0, nil
		}
		n := calls.Add(1)
		if path == "/tunnel/readrecords" && n%61 == 0 {
			return http.StatusBadRequest, gone
		}
		if every := map[string]int64{
			"/tunnel/readrecords": 7, "/tunnel/checkpoint": 5, "/tunnel/heartbeat": 6, "/tunnel/getcheckpoint": 4,
		}[path]; every > 0 && n%every == 0 {
			return http.StatusServiceUnavailable, unavailable
		}
		return 0, nil
	}
	w.answer = func(path string, body []byte) []byte {
		if mended.Load() {
			return body
		}
		n := calls.Add(1)
		switch {
		case path == "/tunnel/checkpoint" && n%3 == 0: // done, but the answer is lost
			return []byte{0xff}
		case path == "/tunnel/readrecords" && n%11 == 0 && len(body) > 20:
			return body[:len(body)-9]
		}
		return body
	}
	return func() { mended.Store(true) }
}

// stubborn is a function whose effect comes at the end of its work, and that
// works on when nobody waits for its answer any more.
type stubborn struct {
	t *testing.T

	mu      sync.Mutex
	calls   int
	working map[*work]bool
	effects map[string][]int64 // by key
}

type work struct {
	id   string
	keys []string
}

func (s *stubborn) behave(ctx context.Context, e *functions.Event) invoke.Result {
	n, me := s.begin(e)
	broken := n%7 == 0
	takes := time.Duration(n*37%200) * time.Millisecond
	if broken {
		takes = 900 * time.Millisecond
	}
	done := make(chan struct{})
	go func() {
		<-time.After(takes)
		s.end(me, e)
		close(done)
	}()
	if broken {
		return cut
	}
	select {
	case <-done:
	case <-ctx.Done():
		return cut
	}
	if n%11 == 0 {
		return failed
	}
	return invoke.Result{Class: invoke.Done}
}

func (s *stubborn) begin(e *functions.Event) (n int, me *work) {
	s.mu.Lock()
	defer s.mu.Unlock()
	me = &work{id: e.Batch.ID}
	for _, r := range e.Records {
		key, _ := r.PrimaryKey[0].Value.Text()
		me.keys = append(me.keys, key)
	}
	for other := range s.working {
		if other.id == me.id {
			continue // the same batch again need not wait
		}
		for _, key := range me.keys {
			if slices.Contains(other.keys, key) {
				s.t.Errorf("batch %s began while batch %s was at work on key %s", me.id, other.id, key)
			}
		}
	}
	s.working[me] = true
	s.calls++
	return s.calls, me
}

func (s *stubborn) end(me *work, e *functions.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.working, me)
	for i, r := range e.Records {
		s.effects[me.keys[i]] = append(s.effects[me.keys[i]], revision(r))
	}
}
