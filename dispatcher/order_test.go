package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/dispatcher/invoke"
	"github.com/culvertio/culvert/functions"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// diary notes when each invocation began, and of which revisions.
type diary struct {
	mu      sync.Mutex
	entries []entry
}

type entry struct {
	at        time.Time
	revisions []int64
}

// note adds an invocation and says which it is, 1 and up.
func (d *diary) note(e *functions.Event) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	var revisions []int64
	for _, r := range e.Records {
		revisions = append(revisions, revision(r))
	}
	d.entries = append(d.entries, entry{time.Now(), revisions})
	return len(d.entries)
}

// first is when the first invocation began that held a revision.
func (d *diary) first(revision int64) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.entries {
		if slices.Contains(e.revisions, revision) {
			return e.at
		}
	}
	return time.Time{}
}

var cut = invoke.Result{Class: invoke.MayHaveRun, Err: errors.New("the connection broke")}

// The function may be at work on an attempt that was not answered until the
// attempt's time is over: whatever follows of its keys has to wait so long.

func TestTheNextBatchOfALaneWaitsForAnUnansweredAttempt(t *testing.T) {
	for name, unanswered := range map[string]func(context.Context) invoke.Result{
		"cut": func(context.Context) invoke.Result { return cut },
		"timed out": func(ctx context.Context) invoke.Result {
			<-ctx.Done()
			return invoke.Result{Class: invoke.TimedOut, Err: ctx.Err()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, emulator.Config{})
				w.config.Tunnel.Create = "Stream"
				w.config.Triggers[0].Batch.Records = 1
				var diary diary
				w.function.behave = func(ctx context.Context, e *functions.Event) invoke.Result {
					if diary.note(e) == 1 {
						return unanswered(ctx)
					}
					return invoke.Result{Class: invoke.Done}
				}
				d := w.start()
				w.until("the channel is there", func() bool { return d.Stats().Channels == 1 })
				w.put("a", 1)
				w.put("a", 2)
				w.until("both are delivered", func() bool { return w.function.delivered() == 2 })
				d.drain()
				if again := diary.entries[1].at.Sub(diary.entries[0].at); name == "cut" && again > time.Second {
					t.Errorf("the same batch again waited for %v", again)
				}
				if next := diary.first(2).Sub(diary.first(1)); next < w.config.Triggers[0].Timeout {
					t.Errorf("the next batch began %v after an attempt that may take %v", next, w.config.Triggers[0].Timeout)
				}
			})
		})
	}
}

func TestTheNextBatchWaitsThoughTheLedgerForgotTheUnansweredAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		w.config.Tunnel.Create = "Stream"
		w.config.Triggers[0].Batch.Records = 1
		var diary diary
		w.function.behave = func(_ context.Context, e *functions.Event) invoke.Result {
			switch diary.note(e) {
			case 1:
				return cut
			case 2:
				w.redis.FlushAll()
			}
			return invoke.Result{Class: invoke.Done}
		}
		d := w.start()
		w.until("the channel is there", func() bool { return d.Stats().Channels == 1 })
		w.put("a", 1)
		w.put("a", 2)
		w.until("both are delivered", func() bool { return w.function.delivered() == 2 })
		d.drain()
		if next := diary.first(2).Sub(diary.first(1)); next < w.config.Triggers[0].Timeout {
			t.Errorf("the next batch began %v after an attempt that may take %v", next, w.config.Triggers[0].Timeout)
		}
	})
}

func TestTheNextOwnerWaitsThoughTheLedgerForgotTheAttemptUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		w.config.Tunnel.Create = "Stream"
		w.config.Drain = 10 * time.Millisecond
		w.config.Triggers[0].Parallel = 8
		w.config.Triggers[0].Batch.Records = 1
		var diary diary
		w.function.behave = func(ctx context.Context, e *functions.Event) invoke.Result {
			diary.note(e)
			if key, _ := e.Records[0].PrimaryKey[0].Value.Text(); key == "slow" {
				<-ctx.Done()
				return cut
			}
			return invoke.Result{Class: invoke.Done}
		}
		d := w.start()
		w.until("the channel is there", func() bool { return d.Stats().Channels == 1 })
		w.put("slow", 1)
		w.put("slow", 2)
		w.until("an invocation is under way", func() bool { return w.function.invocations() == 1 })
		w.redis.FlushAll()
		for k := range 20 { // any other lane makes the ledger be written back
			w.put(fmt.Sprint(k), 9)
		}
		w.until("other lanes go on", func() bool { return w.function.delivered() > 10 })
		d.drain()

		w.function.set(func(_ context.Context, e *functions.Event) invoke.Result {
			diary.note(e)
			return invoke.Result{Class: invoke.Done}
		})
		w.config.Triggers[0].Batch.Records = 2 // another batch, of another id
		d = w.start()
		w.until("both are delivered", func() bool { return len(w.function.of("slow")) == 2 })
		d.drain()
		if next := diary.first(2).Sub(diary.first(1)); next < w.config.Triggers[0].Timeout {
			t.Errorf("another batch began %v after an attempt that may take %v", next, w.config.Triggers[0].Timeout)
		}
	})
}

func TestAChildBeginsWhenNoAttemptOfItsParentCanHaveAnEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		var diary diary
		w.function.behave = func(_ context.Context, e *functions.Event) invoke.Result {
			if diary.note(e) == 1 {
				return cut
			}
			return invoke.Result{Class: invoke.Done}
		}
		w.put("a", 1) // base data
		d := w.start()
		w.until("it is delivered", func() bool { return w.function.delivered() == 1 })
		w.put("a", 2)
		w.until("the change is delivered", func() bool { return w.function.delivered() == 2 })
		d.drain()
		if next := diary.first(2).Sub(diary.first(1)); next < w.config.Triggers[0].Timeout {
			t.Errorf("the child's batch began %v after an attempt of its parent that may take %v", next, w.config.Triggers[0].Timeout)
		}
	})
}

// Clocks of the service may repeat positions: an id then names several
// records, and nobody can say which of them the function failed.
func TestAnIdThatSeveralRecordsHaveFailsThemAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, emulator.Config{})
		w.config.Tunnel.Create = "Stream"
		w.config.Triggers[0].Batch.Window = time.Second
		w.answer = func(path string, body []byte) []byte {
			if path != "/tunnel/readrecords" {
				return body
			}
			return samePosition(t, body)
		}
		w.function.behave = func(_ context.Context, e *functions.Event) invoke.Result {
			if e.Batch.Attempt == 1 {
				return invoke.Result{Class: invoke.Done, Answer: fmt.Appendf(nil, `{"batchItemFailures":[{"itemIdentifier":%q}]}`, e.Records[0].ID)}
			}
			return invoke.Result{Class: invoke.Done}
		}
		d := w.start()
		w.until("the channel is there", func() bool { return d.Stats().Channels == 1 })
		w.put("a", 1)
		w.put("b", 1)
		w.until("everything is settled", func() bool { return d.Stats().Settled == 2 })
		d.drain()
		if last := w.function.events[len(w.function.events)-1]; len(last.Records) != 2 {
			t.Errorf("of two records with the failed id, %d were delivered again", len(last.Records))
		}
	})
}

// samePosition gives all records of a page the same position.
func samePosition(t *testing.T, body []byte) []byte {
	var page tunnelpb.ReadRecordsResponse
	if err := proto.Unmarshal(body, &page); err != nil {
		t.Error(err)
	}
	for _, r := range page.Records {
		var row plainbuffer.Row
		if err := row.Decode(r.Record); err != nil {
			t.Error(err)
		}
		row.Sequence = plainbuffer.Sequence{Timestamp: 1}
		r.Record = plainbuffer.Append(nil, &row)
	}
	body, err := proto.Marshal(&page)
	if err != nil {
		t.Error(err)
	}
	return body
}
