package state

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// schema is the version of the fields in scripts/channel.lua.
const schema = 1

// Attach claims a channel: see [Ledger].
func (r *Redis) Attach(ctx context.Context, q AttachRequest) (Attachment, error) {
	subject := channelText(q.Channel)
	if err := q.valid(); err != nil {
		return Attachment{}, fmt.Errorf("ledger: attach %s: %w", subject, err)
	}
	restore := ""
	if q.Restore != nil {
		restore = strconv.FormatInt(q.Epoch, 10)
	}
	// The id lets the server tell a script that runs twice from a new claim.
	args := []any{schema, q.Nonce, rand.Text(), q.Version, r.ttl, restore, len(q.Layouts)}
	for trigger, layout := range q.Layouts {
		args = append(args, trigger, layout)
	}
	for _, l := range q.Restore {
		var watermark, batch string
		if l.Watermark != nil {
			watermark = markText(*l.Watermark)
		}
		if l.InFlight != nil {
			batch = batchText(*l.InFlight)
		}
		epoch := restore
		if l.Former {
			epoch = "0"
		}
		args = append(args, laneName(l.Lane), watermark, milliseconds(l.Wait), epoch, batch)
	}
	answer, err := r.ask(ctx, attach, q.Channel, subject, args...)
	if err != nil {
		return Attachment{}, err
	}
	return r.attachment(q, answer)
}

func (q AttachRequest) valid() error {
	switch {
	case !word(q.Nonce):
		return fmt.Errorf("the nonce %q must be one word", q.Nonce)
	case q.Version < 0:
		return fmt.Errorf("the channel version %d is negative", q.Version)
	case q.Restore != nil && q.Epoch < 1:
		return fmt.Errorf("the epoch to restore under is %d: it must be the owner's own", q.Epoch)
	}
	for _, l := range q.Restore {
		if l.InFlight != nil {
			if err := l.InFlight.valid(); err != nil {
				return err
			}
		}
	}
	return nil
}

// attachment reads the answer to attach: epoch, now, fields and values.
func (r *Redis) attachment(q AttachRequest, answer []any) (Attachment, error) {
	malformed := func() (Attachment, error) {
		return Attachment{}, r.failure(attach, channelText(q.Channel), errAnswer)
	}
	if len(answer) != 3 {
		return malformed()
	}
	epoch, err1 := strconv.ParseInt(fmt.Sprint(answer[0]), 10, 64)
	now, err2 := strconv.ParseInt(fmt.Sprint(answer[1]), 10, 64)
	fields, some := answer[2].([]any)
	if err1 != nil || err2 != nil || !some || len(fields)%2 != 0 {
		return malformed()
	}
	a := Attachment{Owner: Owner{Channel: q.Channel, Nonce: q.Nonce, Epoch: epoch}}
	lanes := map[Lane]*LaneState{}
	for pair := range slices.Chunk(fields, 2) {
		field, _ := pair[0].(string)
		value, _ := pair[1].(string)
		kind, name, _ := strings.Cut(field, ":")
		var err error
		switch kind {
		case "o":
			if a.Layouts == nil {
				a.Layouts = map[string]string{}
			}
			a.Layouts[name] = value
		case "w", "b", "d":
			err = readLane(lanes, kind, name, value, now, epoch)
		}
		if err != nil {
			// A lane without an entry is delivered again from the checkpoint.
			r.log.Warn("the ledger holds an entry that cannot be read: its records are delivered again",
				"channel", channelText(q.Channel), "field", field, "error", err)
		}
	}
	for _, l := range lanes {
		if l.Watermark != nil || l.InFlight != nil || l.Wait > 0 {
			a.Lanes = append(a.Lanes, *l)
		}
	}
	slices.SortFunc(a.Lanes, func(x, y LaneState) int {
		return cmp.Or(cmp.Compare(x.Lane.Trigger, y.Lane.Trigger), cmp.Compare(x.Lane.Index, y.Lane.Index))
	})
	return a, nil
}

// readLane adds one field to the state of its lane.
func readLane(lanes map[Lane]*LaneState, kind, name, value string, now, epoch int64) error {
	lane, err := parseLane(name)
	if err != nil {
		return err
	}
	l := lanes[lane]
	if l == nil {
		l = &LaneState{Lane: lane}
		lanes[lane] = l
	}
	wait := func(deadline int64) { l.Wait = max(l.Wait, time.Duration(deadline-now)*time.Millisecond) }
	switch kind {
	case "w":
		m, err := parseMark(value)
		if err != nil {
			return err
		}
		l.Watermark = &m
	case "b":
		e, err := parseInFlight(value)
		if err != nil {
			return err
		}
		l.InFlight, l.Former = e.batch, e.epoch != epoch
		wait(max(e.deadline, e.owed))
	case "d":
		deadline, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return err
		}
		wait(deadline)
	}
	return nil
}

// Begin notes that an attempt of b is about to start: see [Ledger].
func (r *Redis) Begin(ctx context.Context, o Owner, lane Lane, b Batch) (Began, error) {
	subject := laneText(o.Channel, lane)
	if err := b.valid(); err != nil {
		return Began{}, fmt.Errorf("ledger: begin %s: %w", subject, err)
	}
	answer, err := r.ask(ctx, begin, o.Channel, subject, o.Nonce, o.Epoch, r.ttl, laneName(lane),
		b.ID, b.Attempt, milliseconds(b.Timeout), flag(b.Unanswered), batchText(b))
	if err != nil {
		return Began{}, err
	}
	if len(answer) != 1 {
		return Began{}, r.failure(begin, subject, errAnswer)
	}
	wait, err := strconv.ParseInt(fmt.Sprint(answer[0]), 10, 64)
	if err != nil {
		return Began{}, r.failure(begin, subject, errAnswer)
	}
	return Began{Wait: time.Duration(wait) * time.Millisecond}, nil
}

func (b Batch) valid() error {
	switch {
	case !word(b.ID):
		return fmt.Errorf("the batch id %q must be one word", b.ID)
	case b.Attempt < 0 || b.Count < 0 || b.Timeout < 0:
		return fmt.Errorf("batch %s: attempt %d, count %d or timeout %v is negative", b.ID, b.Attempt, b.Count, b.Timeout)
	}
	return nil
}

// Settle notes that the lane's batch in flight is settled: see [Ledger].
func (r *Redis) Settle(ctx context.Context, o Owner, s Settlement) error {
	subject := laneText(o.Channel, s.Lane)
	args := []any{o.Nonce, o.Epoch, r.ttl, laneName(s.Lane), s.BatchID, flag(s.Unanswered), markText(s.Last)}
	if b := s.Remainder; b != nil {
		err := b.valid()
		if err == nil && b.ID == s.BatchID {
			err = fmt.Errorf("batch %s is its own remainder", b.ID)
		}
		if err != nil {
			return fmt.Errorf("ledger: settle %s: %w", subject, err)
		}
		args = append(args, b.ID, b.Attempt, milliseconds(b.Timeout), batchText(*b))
	}
	_, err := r.ask(ctx, settle, o.Channel, subject, args...)
	return err
}

// largestTrim bounds the lanes of one script, which nothing else on the
// server runs beside.
const largestTrim = 1000

// Trim forgets watermarks that the checkpoint covers: see [Ledger]. Thousands
// of lanes take more than one script; each is atomic.
func (r *Redis) Trim(ctx context.Context, o Owner, lanes map[Lane]Mark) error {
	for part := range slices.Chunk(slices.Collect(maps.Keys(lanes)), largestTrim) {
		args := []any{o.Nonce, o.Epoch, r.ttl}
		for _, lane := range part {
			args = append(args, laneName(lane), markText(lanes[lane]))
		}
		if _, err := r.ask(ctx, trim, o.Channel, channelText(o.Channel), args...); err != nil {
			return err
		}
	}
	return nil
}

// Release gives the channel up: see [Ledger].
func (r *Redis) Release(ctx context.Context, o Owner, end bool) error {
	_, err := r.ask(ctx, release, o.Channel, channelText(o.Channel), o.Nonce, o.Epoch, r.ttl, flag(end))
	return err
}

var (
	errAnswer    = errors.New("its answer cannot be read")
	errOvertaken = errors.New("a later call of the same owner came before this one")
)

// ask runs a script and turns a refusal into the error that says so.
func (r *Redis) ask(ctx context.Context, op operation, c Channel, subject string, args ...any) ([]any, error) {
	reply, err := r.run(ctx, op, key(c), args...)
	if err != nil {
		return nil, r.failed(ctx, op, subject, err)
	}
	answer, _ := reply.([]any)
	if len(answer) == 0 {
		return nil, r.failure(op, subject, errAnswer)
	}
	detail := ""
	if len(answer) > 1 {
		detail = fmt.Sprint(answer[1])
	}
	switch answer[0] {
	case "ok":
		return answer[1:], nil
	case "absent":
		return nil, refusal(op, subject, ErrAbsent, "")
	case "foreign":
		return nil, refusal(op, subject, ErrForeign, "its epoch there is "+detail)
	case "inflight":
		return nil, refusal(op, subject, ErrInFlight, detail)
	case "overtaken":
		return nil, r.failure(op, subject, errOvertaken)
	case "schema":
		return nil, refusal(op, subject, ErrSchema, fmt.Sprintf("schema %s, this program knows %d: run the newer one", detail, schema))
	}
	return nil, r.failure(op, subject, errAnswer)
}

// failed is the error of a call that got no answer: the context's if that has
// ended, a Failure otherwise.
func (r *Redis) failed(ctx context.Context, op operation, subject string, err error) error {
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("ledger: %s: %w", strings.TrimSpace(op.String()+" "+subject), cause)
	}
	return r.failure(op, subject, err)
}

func (r *Redis) failure(op operation, subject string, err error) error {
	return &Failure{Operation: op.String(), Subject: subject, Address: r.address, Hint: hint(err), Err: err}
}

func channelText(c Channel) string { return "channel " + c.Tunnel + "/" + c.Channel }

func laneText(c Channel, l Lane) string { return channelText(c) + " lane " + laneName(l) }

// word tells whether s is something that the scripts can put between spaces.
func word(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
