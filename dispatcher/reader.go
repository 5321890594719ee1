package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/culvertio/culvert/dispatcher/internal/batch"
	"github.com/culvertio/culvert/dispatcher/internal/progress"
	"github.com/culvertio/culvert/dispatcher/internal/retry"
	"github.com/culvertio/culvert/state"
	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// idlePolicy paces the reads of a channel that brings nothing. Any record
// ends it, so that records that trickle in do not wait.
var idlePolicy = retry.Policy{First: 20 * time.Millisecond, Max: 2 * time.Second}

// readPolicy paces the reads of a channel whose read fails.
var readPolicy = retry.Policy{First: 100 * time.Millisecond, Max: 30 * time.Second}

// record is one change on its way from the page to its settlement. It
// aliases the page's buffer.
type record struct {
	tunnel.Record
	id   string
	mark state.Mark
	key  uint64 // a hash of the encoded primary key
	lane int
	page progress.Page
}

// recordCost is about what a record takes in memory beside its bytes in the
// page: many small ones must not pass the bound of the read-ahead by far.
const recordCost = 256

// size is what the record counts for in its lane.
func (r record) size() int { return len(r.Row) + len(r.Origin) }

// pageRead is a page as the channel's loop takes it.
type pageRead struct {
	records []record
	token   string
	bytes   int // held until the page is settled
}

// reader reads a channel ahead of the work: one page for each grant.
type reader struct {
	ch       *tunnel.Channel
	parallel int
	log      *slog.Logger
	rnd      *rand.Rand
	counts   *counters

	grants chan struct{}
	pages  chan pageRead
}

// run reads from token until ctx ends or the channel does, and closes pages.
// It returns an error only when the channel cannot be read any more by this
// client; every other failure is retried in place.
func (r *reader) run(ctx context.Context, token string) error {
	defer close(r.pages)
	idle := 0
	for token != tunnel.Finished {
		select {
		case <-r.grants:
		case <-ctx.Done():
			return nil
		}
		page, err := r.read(ctx, token)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case r.pages <- page:
		case <-ctx.Done():
			return nil
		}
		token = page.token
		if len(page.records) > 0 {
			idle = 0
			continue
		}
		idle++
		if token != tunnel.Finished && !sleep(ctx, idlePolicy.Delay(idle, r.rnd)) {
			return nil
		}
	}
	return nil
}

// read reads one page, for as long as that takes.
func (r *reader) read(ctx context.Context, token string) (pageRead, error) {
	suspects := map[uint64]bool{}
	for failures := 1; ; failures++ {
		page, err := r.ch.Read(ctx, token)
		if err == nil && page.NextToken == "" {
			err = errors.New("the service answered a page without the next token")
		}
		if err == nil {
			var read pageRead
			if read, err = r.decode(page, suspects); err == nil {
				r.counts.read.Add(int64(len(read.records)))
				return read, nil
			}
		}
		if errors.Is(err, tunnel.ErrTakenOver) || errors.Is(err, tunnel.CodeTunnelExpired) || ctx.Err() != nil {
			return pageRead{}, err
		}
		delay := readPolicy.Delay(failures, r.rnd)
		r.log.Error("a read failed and is repeated; nothing is lost, the channel waits", "error", err, "token", token, "again_in", delay)
		if !sleep(ctx, delay) {
			return pageRead{}, ctx.Err()
		}
	}
}

// corruptRecord says that a record's bytes are not what the service wrote.
type corruptRecord struct {
	index int
	size  int
	err   error
}

func (e *corruptRecord) Error() string {
	return fmt.Sprintf("record %d of the page (%d bytes) is corrupt: %v; if it stays so, the row is damaged at the service or on the way: look for a proxy in between, and compare the row with GetRow", e.index, e.size, e.err)
}

func (e *corruptRecord) Unwrap() error { return e.err }

// decode makes records of a page. A record with a wrong checksum is an error,
// so that the page is read again, and its fingerprint goes into suspects: the
// same bytes again, well-formed, are taken as they are, since then it is our
// reading of the checksum that differs from the service's.
func (r *reader) decode(page *tunnel.Page, suspects map[uint64]bool) (pageRead, error) {
	read := pageRead{records: make([]record, len(page.Records)), token: page.NextToken, bytes: page.Size + recordCost*len(page.Records)}
	var row, origin plainbuffer.Row
	var corrupt error
	for i, rec := range page.Records {
		fingerprint := batch.Fingerprint(rec)
		err := rec.Decode(&row)
		if rec.Origin != nil && (err == nil || errors.Is(err, plainbuffer.ErrChecksum)) {
			if originErr := origin.Decode(rec.Origin); originErr != nil {
				err = fmt.Errorf("the row before the change: %w", originErr)
			}
		}
		switch {
		case err == nil:
		case !errors.Is(err, plainbuffer.ErrChecksum):
			return read, &corruptRecord{i, len(rec.Row), err}
		case suspects[fingerprint]:
			r.counts.checksums.Add(1)
			r.log.Warn("a record with a wrong checksum came twice with the same bytes: it is delivered", "record", batch.RecordID(&row, fingerprint), "error", err)
		default:
			suspects[fingerprint] = true
			if corrupt == nil {
				corrupt = &corruptRecord{i, len(rec.Row), err}
			}
		}
		id := batch.RecordID(&row, fingerprint)
		position := id
		if !row.HasSequence {
			position = batch.Position(&row)
		}
		read.records[i] = record{
			Record: rec,
			id:     id,
			mark:   state.Mark{Position: position, Fingerprint: fingerprint},
			key:    xxhash.Sum64(row.KeyBytes),
			lane:   batch.LaneOf(row.KeyBytes, r.parallel),
		}
	}
	return read, corrupt
}
