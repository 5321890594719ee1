package dispatcher_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertio/culvert/dispatcher/invoke"
	"github.com/culvertio/culvert/functions"
	"github.com/culvertio/culvert/tunnel/emulator"
)

// weighed is the function with a look at every payload.
type weighed struct {
	*function
	mu       sync.Mutex
	payloads []int // their lengths
	first    byte  // of the last payload
	strange  []string
}

func (f *weighed) Invoke(ctx context.Context, in invoke.Invocation) invoke.Result {
	f.mu.Lock()
	f.payloads = append(f.payloads, len(in.Payload))
	isJSON := json.Valid(in.Payload)
	if want := map[bool]string{true: "application/json", false: "application/cbor"}[isJSON]; in.ContentType != want {
		f.strange = append(f.strange, fmt.Sprintf("%s is said to be %s", want, in.ContentType))
	}
	f.first = in.Payload[0]
	f.mu.Unlock()
	return f.function.Invoke(ctx, in)
}

// TestBatchesKeepToTheirBytesInEitherFormat: so many records in a batch that
// what stands between them counts, and remainders after partial failures.
func TestBatchesKeepToTheirBytesInEitherFormat(t *testing.T) {
	const records, limit = 700, 64 << 10
	for format, first := range map[string]byte{"json": '{', "cbor": 0xa3} {
		t.Run(format, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, emulator.Config{})
				w.config.Triggers[0].Format = format
				w.config.Triggers[0].Batch.Records = 10_000
				w.config.Triggers[0].Batch.Bytes = limit
				w.config.Triggers[0].Batch.Window = time.Second
				target := &weighed{function: w.function}
				w.target = target
				w.function.behave = func(_ context.Context, e *functions.Event) invoke.Result {
					if e.Batch.Attempt > 1 {
						return invoke.Result{Class: invoke.Done}
					}
					var failures []string // every second record
					for i := 1; i < len(e.Records); i += 2 {
						failures = append(failures, fmt.Sprintf(`{"itemIdentifier":%q}`, e.Records[i].ID))
					}
					return invoke.Result{Class: invoke.Done, Answer: []byte(`{"batchItemFailures":[` + strings.Join(failures, ",") + `]}`)}
				}
				for k := range records {
					w.put(fmt.Sprintf("%05d", k), int64(k))
				}
				d := w.start()
				w.until("everything is delivered", func() bool { return w.function.delivered() == records })
				d.drain()

				full := 0
				for _, size := range target.payloads {
					if size > limit {
						t.Errorf("a payload of %d bytes, the limit is %d", size, limit)
					}
					if size > limit-300 { // no further record would have fitted
						full++
					}
				}
				if full == 0 {
					t.Errorf("no payload comes near the limit of %d: %v", limit, target.payloads)
				}
				if target.first != first {
					t.Errorf("payloads begin with %#02x, want %#02x", target.first, first)
				}
				if len(target.strange) > 0 {
					t.Error(target.strange)
				}
				for k := range records {
					if got := w.function.of(fmt.Sprintf("%05d", k)); len(got) != 1 || got[0] != int64(k) {
						t.Fatalf("record %d was delivered as %v", k, got)
					}
				}
			})
		})
	}
}
