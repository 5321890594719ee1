package tunnel

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// readRetry paces the reads of a channel whose reads fail, beyond what the
// client does by itself.
var readRetry = Backoff{First: 100 * time.Millisecond, Max: 30 * time.Second, Factor: 2, Jitter: 0.25}

// decodedPage is a page on its way to the callback.
type decodedPage struct {
	token   string // the next one
	records *[]DecodedRecord
	bytes   int64 // that it counts for
}

// recordCost is about what a decoded record takes beside its bytes: itself
// and ten cells.
const recordCost = 1280

// pageReader reads a channel, as far ahead as its window lets it.
type pageReader struct {
	p      *Processor
	ch     *Channel
	log    *slog.Logger
	window *window
	pages  chan decodedPage // takes all that the window lets in
}

// run reads from token until ctx ends or the channel does, and closes pages.
// The error says why the channel cannot be read any more by this client;
// every other failure is tried again here.
func (r *pageReader) run(ctx context.Context, token string) error {
	defer close(r.pages)
	idle := 0
	for token != Finished {
		page, err := r.read(ctx, token)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		n := len(*page.records)
		token = page.token
		r.pages <- page
		if n > 0 {
			idle = 0
			continue
		}
		if token != Finished && sleep(ctx, r.p.cfg.Idle.wait(idle, rand.Float64())) != nil {
			return nil
		}
		idle++
	}
	return nil
}

// read reads one page, for as long as that takes.
func (r *pageReader) read(ctx context.Context, token string) (decodedPage, error) {
	suspects := make(map[uint64]bool)
	for n := 0; ; n++ {
		if err := r.window.open(ctx); err != nil {
			return decodedPage{}, err
		}
		page, err := r.once(ctx, token, suspects)
		if err == nil {
			r.window.hold(page.bytes)
			r.p.counts.pages.Add(1)
			r.p.counts.read.Add(int64(len(*page.records)))
			return page, nil
		}
		r.window.done(0)
		if hopeless(err) || ctx.Err() != nil {
			return decodedPage{}, err
		}
		wait := readRetry.wait(n, rand.Float64())
		r.log.Error("a read failed and is repeated; nothing is lost, the channel waits", "token", token, "wait", wait, "error", err)
		if err := sleep(ctx, wait); err != nil {
			return decodedPage{}, err
		}
	}
}

// once reads a page and decodes it.
func (r *pageReader) once(ctx context.Context, token string, suspects map[uint64]bool) (decodedPage, error) {
	page, err := r.ch.Read(ctx, token)
	if err != nil {
		return decodedPage{}, err
	}
	if page.NextToken == "" {
		return decodedPage{}, fmt.Errorf("%w: a page without the next token", ErrMalformed)
	}
	records := r.p.slab(len(page.Records))
	if err := r.decode(page, *records, suspects); err != nil {
		r.p.putBack(records)
		return decodedPage{}, err
	}
	return decodedPage{
		token:   page.NextToken,
		records: records,
		bytes:   int64(page.Size) + recordCost*int64(len(page.Records)),
	}, nil
}

// checksumSeed tells records apart while a page is read again and again.
var checksumSeed = maphash.MakeSeed()

// decode decodes a page. A record with a wrong checksum is an error, so that
// the page is read again, and is kept in suspects: the same bytes again are
// taken as they are, since then it is our reading of the checksum that
// differs from the service's.
func (r *pageReader) decode(page *Page, records []DecodedRecord, suspects map[uint64]bool) error {
	var corrupt error
	for i, rec := range page.Records {
		err := records[i].decode(rec)
		if err == nil {
			continue
		}
		where := fmt.Errorf("record %d of the page (%d bytes): %w; if it stays so, the row is damaged at the service or on the way: look for a proxy in between, and compare the row with GetRow", i, len(rec.Row), err)
		if !errors.Is(err, plainbuffer.ErrChecksum) {
			return where
		}
		sum := maphash.Bytes(checksumSeed, rec.Row) ^ maphash.Bytes(checksumSeed, rec.Origin)
		if suspects[sum] {
			r.p.counts.checksums.Add(1)
			r.log.Warn("a record with a wrong checksum came twice with the same bytes: it is delivered", "error", where)
			continue
		}
		suspects[sum] = true
		corrupt = errors.Join(corrupt, where)
	}
	return corrupt
}

// slab is memory for n decoded records, used before or new.
func (p *Processor) slab(n int) *[]DecodedRecord {
	slab, ok := p.slabs.Get().(*[]DecodedRecord)
	if !ok {
		slab = new([]DecodedRecord)
	}
	if old := (*slab)[:cap(*slab)]; n <= len(old) {
		*slab = old[:n]
	} else {
		*slab = append(old, make([]DecodedRecord, n-len(old))...)[:n]
	}
	return slab
}

// putBack keeps a slab's memory for another page, and nothing of this one.
func (p *Processor) putBack(slab *[]DecodedRecord) {
	for i := range *slab {
		(*slab)[i].forget()
	}
	p.slabs.Put(slab)
}
