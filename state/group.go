package state

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// largestGroup bounds the calls of one round trip, so that the first of them
// does not wait for thousands of others.
const largestGroup = 1000

// call is one operation; a script runs on one channel's hash.
type call struct {
	operation operation
	key       string
	args      []any
	done      chan struct{} // closed once answer and err are there
	answer    any
	err       error
}

// run sends a call with the next group and waits for its answer. While it
// waits to be sent it can be withdrawn; once it is sent, ctx only ends the
// waiting.
func (r *Redis) run(ctx context.Context, op operation, key string, args ...any) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	k := &call{operation: op, key: key, args: args, done: make(chan struct{})}
	select {
	case r.calls <- k:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.closing.Done():
		return nil, redis.ErrClosed
	}
	select {
	case <-k.done:
		return k.answer, k.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// send owns the connection: it takes all calls that wait, sends them in one
// round trip, answers them, and looks again. New calls gather meanwhile;
// there is no timer. Calls keep their order.
func (r *Redis) send() {
	for {
		var group []*call
		select {
		case k := <-r.calls:
			group = append(group, k)
		case <-r.closing.Done():
			return
		}
	gather:
		for len(group) < largestGroup {
			select {
			case k := <-r.calls:
				group = append(group, k)
			default:
				break gather
			}
		}
		r.roundTrip(group)
		for _, k := range group {
			if k.err != nil && r.closing.Err() != nil {
				k.err = redis.ErrClosed
			}
			close(k.done)
		}
	}
}

// roundTrip runs the calls of a group and fills in their answers. A server
// that has forgotten the scripts (a restart, a SCRIPT FLUSH) answers NOSCRIPT
// to each call from then on: it gets the scripts and those calls again.
func (r *Redis) roundTrip(group []*call) {
	// The clock makes numbers rise from one ledger of a process to the next.
	r.trip = max(r.trip+1, time.Now().UnixMicro())
	for range 2 {
		if !r.scripts.loaded {
			if err := r.scripts.load(r.closing, r.client); err != nil {
				for _, k := range group {
					k.err = err
				}
				return
			}
		}
		pipe := r.client.Pipeline()
		answers := make([]*redis.Cmd, len(group))
		for i, k := range group {
			if k.operation == ping {
				answers[i] = pipe.Do(r.closing, "INFO")
				continue
			}
			args := append([]any{r.trip}, k.args...)
			answers[i] = pipe.EvalSha(r.closing, r.scripts.digests[k.operation], []string{k.key}, args...)
		}
		// Each answer carries its own error: Exec gives the first one again.
		_, _ = pipe.Exec(r.closing)
		var again []*call
		for i, k := range group {
			k.answer, k.err = answers[i].Result()
			if redis.HasErrorPrefix(k.err, "NOSCRIPT") {
				again = append(again, k)
			}
		}
		if len(again) == 0 {
			return
		}
		r.scripts.loaded = false
		group = again
	}
}

// key is where a channel's state is. The braces keep all of it in one slot of
// a cluster.
func key(c Channel) string { return fmt.Sprintf("culvert:{%s/%s}", c.Tunnel, c.Channel) }
