package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/culvertio/culvert/dispatcher/internal/batch"
	"github.com/culvertio/culvert/dispatcher/internal/event"
	"github.com/culvertio/culvert/dispatcher/invoke"
	"github.com/culvertio/culvert/functions"
	"github.com/culvertio/culvert/state"
	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// pauseLimit is how long a process may have slept between the ledger's
// answer and the send before it asks the ledger again.
const pauseLimit = 5 * time.Second

// delivery takes one batch of a lane from its first attempt to its
// settlement.
type delivery struct {
	trigger *trigger
	claim   *claim
	channel *tunnel.Channel
	lane    state.Lane
	log     *slog.Logger
	rnd     *rand.Rand
	counts  *counters

	span    []record // the batch as it was cut
	settled []byte   // a bit per record of span; nil: none is settled
	left    []record // the records of span that are not settled
	encoded [][]byte // those of left
	id      string   // of the batch that left is
	payload []byte   // reused by each attempt

	unanswered bool // the attempt before this one may still have an effect
}

// encode encodes records until the trigger's limit of bytes and makes a batch
// of those that fit, which is at least the first.
func (d *delivery) encode(records []record) error {
	format := d.trigger.format
	room := d.trigger.Batch.Bytes - int64(format.Overhead(d.header(strings.Repeat("0", batch.IDLength), math.MaxInt)))
	var row, origin plainbuffer.Row
	var text []byte // of all records; moves while it grows
	ends := make([]int, 0, len(records))
	for i, r := range records {
		var err error
		if text, err = appendRecord(format, text, r, &row, &origin); err != nil {
			return err
		}
		if i > 0 && int64(len(text)+format.Joints(i+1)) > room {
			break
		}
		ends = append(ends, len(text))
	}
	d.encoded = make([][]byte, len(ends))
	from := 0
	for i, end := range ends {
		d.encoded[i] = text[from:end:end]
		from = end
	}
	d.span = records[:len(ends)]
	d.left = d.span
	d.id = d.identify()
	return nil
}

func appendRecord(format event.Format, dst []byte, r record, row, origin *plainbuffer.Row) ([]byte, error) {
	if err := r.Decode(row); err != nil && !errors.Is(err, plainbuffer.ErrChecksum) {
		return dst, fmt.Errorf("record %s: %w", r.id, err)
	}
	var old *plainbuffer.Row
	if r.Origin != nil {
		if err := origin.Decode(r.Origin); err != nil && !errors.Is(err, plainbuffer.ErrChecksum) {
			return dst, fmt.Errorf("record %s, the row before the change: %w", r.id, err)
		}
		old = origin
	}
	return format.AppendRecord(dst, r.Action, row, old, r.id), nil
}

func (d *delivery) header(id string, attempt int) event.Header {
	return event.Header{
		BatchID: id,
		Attempt: attempt,
		Trigger: d.trigger.Name,
		Tunnel:  d.channel.TunnelID(),
		Channel: d.channel.ID(),
		Lane:    d.lane.Index,
	}
}

func (d *delivery) identify() string {
	return batch.ID(d.channel.TunnelID(), d.channel.ID(), d.trigger.Name, marks(d.left))
}

func marks(records []record) iter.Seq[state.Mark] {
	return func(yield func(state.Mark) bool) {
		for _, r := range records {
			if !yield(r.mark) {
				return
			}
		}
	}
}

// entry is what the ledger is told of the batch.
func (d *delivery) entry(attempt int) state.Batch {
	return state.Batch{
		ID:      d.id,
		First:   d.span[0].mark,
		Last:    d.span[len(d.span)-1].mark,
		Count:   len(d.span),
		Digest:  batch.Digest(marks(d.span)),
		Settled: d.settled,
		Attempt: attempt,
		// The attempt's own time begins when it is sent.
		Timeout:    d.trigger.Timeout + pauseLimit,
		Unanswered: d.unanswered,
	}
}

// run makes attempts until every record of the batch is settled, and reports
// records as they settle. Once soft has ended it waits for nothing but an
// attempt under way; when hard ends, not even for that. done is false when
// records are left; the error says why, if it is for another reason than an
// end of soft or hard.
func (d *delivery) run(soft, hard context.Context, report func(settled []record)) (done bool, err error) {
	failures := 0
	for attempt := 1; ; {
		result, made, err := d.attempt(soft, hard, attempt)
		if !made || hard.Err() != nil {
			return false, quiet(hard, err)
		}
		failed, result := d.judge(result)
		var told []any
		if result.Class != invoke.Done || slices.Contains(failed, true) {
			told = d.tells(attempt, result, failed)
		}
		text := "an attempt failed and is repeated"
		if result.Class == invoke.Done {
			settled, err := d.settle(hard, failed, attempt+1)
			if err != nil {
				return false, quiet(hard, err)
			}
			report(settled)
			if len(d.left) == 0 {
				return true, nil
			}
			result.Class = invoke.FunctionFailed
			text = "the function failed single records: they, and what follows of their keys, are the next batch"
			told = append(told, "next_batch", d.id, "next_records", len(d.left))
		}
		failures++
		d.counts.failures.Add(1)
		decision := d.trigger.policy.Decide(result, failures, d.rnd)
		level := slog.LevelWarn
		if decision.Alarm {
			level = slog.LevelError
		}
		d.log.Log(hard, level, text, append(told, "again_in", decision.Delay)...)
		d.unanswered = decision.Unanswered
		if decision.Ran {
			attempt++
		}
		if !sleep(soft, decision.Delay) {
			return false, nil
		}
	}
}

// namedFailures is how many failed records a line of the log names.
const namedFailures = 5

// tells is what the log tells of an attempt, in the handler's own words: the
// batch and the attempt are those that the handler saw. failed, if not nil, is
// the records of left that it failed.
func (d *delivery) tells(attempt int, result invoke.Result, failed []bool) []any {
	told := []any{"batch", d.id, "attempt", attempt, "records", len(d.left)}
	if failed == nil {
		told = append(told, "class", result.Class.String(), "error", result.Err)
	} else {
		var ids []string
		n := 0
		for i, f := range failed {
			if !f {
				continue
			}
			if n++; n <= namedFailures {
				ids = append(ids, d.left[i].id)
			}
		}
		told = append(told, "failed", n, "failed_ids", ids)
	}
	if result.RequestID != "" {
		told = append(told, "request", result.RequestID)
	}
	return told
}

// quiet drops an error that only says that ctx has ended.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// attempt waits for a slot, tells the ledger, and invokes the function. made
// is false when nothing was invoked.
func (d *delivery) attempt(soft, hard context.Context, attempt int) (result invoke.Result, made bool, err error) {
	began, err := d.begin(soft, hard, attempt)
	if !began {
		return result, false, err
	}
	defer d.trigger.slots.Release(1)
	d.payload = d.trigger.format.AppendPayload(d.payload[:0], d.header(d.id, attempt), d.encoded)
	ctx, cancel := context.WithTimeout(hard, d.trigger.Timeout)
	defer cancel()
	d.counts.invocations.Add(1)
	d.counts.inFlight.Add(1)
	defer d.counts.inFlight.Add(-1)
	return d.trigger.target.Invoke(ctx, invoke.Invocation{
		Payload:     d.payload,
		ContentType: d.trigger.format.ContentType(),
		BatchID:     d.id,
		Attempt:     attempt,
		Trigger:     d.trigger.Name,
	}), true, nil
}

// begin takes a slot and has the ledger's word that the attempt may start
// now. The slot is given back while an earlier attempt of the lane may still
// have an effect, and when nothing begins.
func (d *delivery) begin(soft, hard context.Context, attempt int) (began bool, err error) {
	for {
		if err := d.trigger.slots.Acquire(hard, 1); err != nil {
			return false, err
		}
		asked := sinceBoot()
		wait, err := d.claim.begin(hard, d.lane, d.entry(attempt))
		if err == nil && wait == 0 && sinceBoot()-asked <= pauseLimit {
			return true, nil
		}
		d.trigger.slots.Release(1)
		if err != nil {
			return false, err
		}
		if wait > 0 {
			d.log.Info("the lane waits: an earlier attempt was not answered and may still have an effect", "batch", d.id, "attempt", attempt, "wait", wait)
			if !sleep(soft, wait) {
				return false, nil
			}
		}
	}
}

// judge reads the function's answer: which records it failed, by their place
// in left. An answer that no function may give makes the attempt a failed one.
func (d *delivery) judge(result invoke.Result) (failed []bool, judged invoke.Result) {
	if result.Class != invoke.Done {
		return nil, result
	}
	answer, err := functions.ParseAnswer(result.Answer)
	if err != nil {
		result.Class, result.Err = invoke.FunctionFailed, err
		return nil, result
	}
	failed = make([]bool, len(d.left))
	if len(answer.BatchItemFailures) == 0 {
		return failed, result
	}
	found := map[string]bool{}
	for _, failure := range answer.BatchItemFailures {
		found[failure.ItemIdentifier] = false
	}
	for i, r := range d.left {
		// Where positions repeat, several records have one id, and nobody can
		// say which of them is meant: all are.
		if _, failed[i] = found[r.id]; failed[i] {
			found[r.id] = true
		}
	}
	for id, found := range found {
		if !found {
			result.Class = invoke.FunctionFailed
			result.Err = fmt.Errorf("the answer fails record %q, which is not in the batch: itemIdentifier must be a record's Id", id)
			return nil, result
		}
	}
	return failed, result
}

// settle settles what succeeded. What failed, and every record behind it of
// the same key, is the remainder, which the same script begins. It returns
// the records that are settled now.
func (d *delivery) settle(ctx context.Context, failed []bool, attempt int) (settled []record, err error) {
	var left []record
	var encoded [][]byte
	held := map[uint64]bool{}
	for i, r := range d.left {
		if failed[i] || held[r.key] {
			held[r.key] = true
			left = append(left, r)
			encoded = append(encoded, d.encoded[i])
		} else {
			settled = append(settled, r)
		}
	}
	if len(settled) == 0 {
		return nil, nil
	}
	settlement := state.Settlement{Lane: d.lane, BatchID: d.id, Last: d.span[len(d.span)-1].mark}
	d.left, d.encoded = left, encoded
	if len(left) > 0 {
		d.settled = d.bitmap()
		d.id = d.identify()
		remainder := d.entry(attempt)
		settlement.Remainder = &remainder
	}
	return settled, d.claim.settle(ctx, settlement)
}

// bitmap has a bit for each record of span that is not in left, which is a
// subsequence of it.
func (d *delivery) bitmap() []byte {
	bits := make([]byte, (len(d.span)+7)/8)
	next := 0
	for i, r := range d.span {
		if next < len(d.left) && d.left[next].mark == r.mark {
			next++
			continue
		}
		bits[i/8] |= 1 << (i % 8)
	}
	return bits
}
