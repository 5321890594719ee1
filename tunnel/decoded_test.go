package tunnel

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// row is an encoded row of key k and columns that put their index.
func row(k string, columns ...string) []byte {
	r := plainbuffer.Row{Key: []plainbuffer.Cell{{Name: []byte("k"), Value: plainbuffer.StringValue(k)}}}
	for i, name := range columns {
		r.Columns = append(r.Columns, plainbuffer.Cell{Name: []byte(name), Value: plainbuffer.IntegerValue(int64(i))})
	}
	r.Sequence, r.HasSequence = plainbuffer.Sequence{Timestamp: 7}, true
	return plainbuffer.Append(nil, &r)
}

func TestADecodedRecordGivesItsColumnsByName(t *testing.T) {
	deletes := plainbuffer.Row{
		Key: []plainbuffer.Cell{{Name: []byte("k"), Value: plainbuffer.StringValue("b")}},
		Columns: []plainbuffer.Cell{
			{Name: []byte("gone"), Op: plainbuffer.DeleteAllVersions, Value: plainbuffer.NoValue()},
			{Name: []byte("x"), Value: plainbuffer.IntegerValue(8), HasTimestamp: true, Timestamp: 2},
			{Name: []byte("x"), Value: plainbuffer.IntegerValue(9), HasTimestamp: true, Timestamp: 1},
		},
	}
	var r DecodedRecord
	for _, tt := range []struct {
		rec            Record
		k              string
		x, y, oldX     int64
		hasX, hasY, oX bool
		sequence       bool
	}{
		{rec: Record{Action: PutRow, Row: row("a", "w", "x", "y"), Origin: row("a", "x")}, k: "a", x: 1, y: 2, hasX: true, hasY: true, oX: true, sequence: true},
		{rec: Record{Action: UpdateRow, Row: plainbuffer.Append(nil, &deletes)}, k: "b", x: 8, hasX: true},
		{rec: Record{Action: DeleteRow, Row: row("c")}, k: "c", sequence: true},
	} {
		if err := r.decode(tt.rec); err != nil {
			t.Fatal(err)
		}
		k, hasK := r.KeyColumn("k")
		x, hasX := r.Column("x")
		y, hasY := r.Column("y")
		old, hasOld := r.OldColumn("x")
		_, gone := r.Column("gone")
		_, asKey := r.KeyColumn("x")
		if r.Action != tt.rec.Action || !hasK || string(k.Bytes()) != tt.k || hasX != tt.hasX || hasX && x.Integer() != tt.x ||
			hasY != tt.hasY || hasY && y.Integer() != tt.y || hasOld != tt.oX || hasOld && old.Integer() != tt.oldX || gone || asKey {
			t.Errorf("%v %s: %+v", tt.rec.Action, tt.k, r)
		}
		if r.HasSequence != tt.sequence || len(r.OldColumns) > 0 != tt.oX {
			t.Errorf("%s: sequence %v, old columns %v", tt.k, r.HasSequence, r.OldColumns)
		}
	}
}

func TestDecodingIntoASlabThatWasUsedAllocatesNothing(t *testing.T) {
	page := &Page{NextToken: "next"}
	for range 200 {
		page.Records = append(page.Records, Record{Action: PutRow, Row: row("key", "a", "b", "c", "d"), Origin: row("key", "a", "b")})
	}
	p := &Processor{}
	r := &pageReader{p: p, log: slog.New(slog.DiscardHandler)}
	records := *p.slab(200)
	decode := func() {
		if err := r.decode(page, records, nil); err != nil {
			t.Fatal(err)
		}
	}
	decode()
	if n := testing.AllocsPerRun(20, decode); n != 0 {
		t.Errorf("%v allocations for 200 records", n)
	}
}

func TestASlabHoldsAsManyRecordsAsAreAskedFor(t *testing.T) {
	p := &Processor{}
	for _, n := range []int{0, 3, 1, 100, 7, 0, 101} {
		slab := p.slab(n)
		if len(*slab) != n {
			t.Errorf("%d records, want %d", len(*slab), n)
		}
		p.putBack(slab)
	}
}

func TestASlabThatWaitsForItsNextPageHoldsNothingOfTheLast(t *testing.T) {
	p := &Processor{}
	r := &pageReader{p: p, log: slog.New(slog.DiscardHandler)}
	full := Record{Action: PutRow, Row: row("key", "a", "b"), Origin: row("key", "a")}
	slab := p.slab(2)
	if err := r.decode(&Page{Records: []Record{full, full}}, *slab, nil); err != nil {
		t.Fatal(err)
	}
	p.putBack(slab)
	for i := range *slab {
		rec := &(*slab)[i]
		if rec.Record.Row != nil || rec.Key != nil || rec.row.KeyBytes != nil || rec.old.KeyBytes != nil {
			t.Errorf("record %d holds its bytes", i)
		}
		if cap(rec.row.Columns) == 0 || cap(rec.old.Columns) == 0 {
			t.Errorf("record %d has lost its memory", i)
		}
		for _, cells := range [][]plainbuffer.Cell{rec.row.Key, rec.row.Columns, rec.old.Key, rec.old.Columns} {
			for _, cell := range cells[:cap(cells)] {
				if cell.Name != nil || cell.Value.Bytes() != nil {
					t.Errorf("a cell of record %d holds its bytes", i)
				}
			}
		}
	}
}

// scripted answers reads with what it is told to.
type scripted struct {
	channelCalls
	reads func(n int) (*Page, error) // numbered from 1
	n     int
}

func (s *scripted) ReadRecords(context.Context, ReadRecordsRequest) (*Page, error) {
	s.n++
	return s.reads(s.n)
}

// readOne reads one page of a script, in a bubble.
func readOne(t *testing.T, limit time.Duration, reads func(n int) (*Page, error)) (page decodedPage, n int, p *Processor, err error) {
	p = &Processor{cfg: ProcessorConfig{}.withDefaults()}
	calls := &scripted{reads: reads}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	r := &pageReader{
		p: p, ch: newChannel(calls, "t", "c", "a", 1), log: slog.New(slog.DiscardHandler),
		window: newWindow(nil, 0, 1<<20, &p.counts.held),
	}
	page, err = r.read(ctx, "token")
	return page, calls.n, p, err
}

func TestARowWithAWrongChecksumIsReadAgainAndTakenWhenItsBytesAreTheSame(t *testing.T) {
	good := Record{Action: PutRow, Row: row("a", "x")}
	flipped := func(at int) Record {
		b := slices.Clone(good.Row)
		b[len(b)-at] ^= 1
		return Record{Action: PutRow, Row: b}
	}
	page := func(records ...Record) *Page { return &Page{Records: records, NextToken: "next"} }
	for name, tt := range map[string]struct {
		reads     []*Page
		n         int
		checksums int64
	}{
		"right at once":             {[]*Page{page(good)}, 1, 0},
		"right the second time":     {[]*Page{page(flipped(1)), page(good)}, 2, 0},
		"the same twice":            {[]*Page{page(flipped(1)), page(flipped(1))}, 2, 1},
		"wrong in one row of two":   {[]*Page{page(good, flipped(1)), page(good, flipped(1))}, 2, 1},
		"wrong elsewhere each time": {[]*Page{page(flipped(1), good), page(good, Record{Action: PutRow, Row: good.Row, Origin: flipped(1).Row}), page(good, good)}, 3, 0},
		"wrong before the change":   {[]*Page{page(Record{Action: PutRow, Row: good.Row, Origin: flipped(1).Row}), page(Record{Action: PutRow, Row: good.Row, Origin: flipped(1).Row})}, 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, n, p, err := readOne(t, time.Hour, func(n int) (*Page, error) { return tt.reads[n-1], nil })
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff([]int64{int64(tt.n), tt.checksums, int64(len(tt.reads[tt.n-1].Records))},
					[]int64{int64(n), p.counts.checksums.Load(), int64(len(*got.records))}); d != "" {
					t.Errorf("reads, checksums, records: %s", d)
				}
			})
		})
	}
}

func TestAMalformedRowIsNeverDelivered(t *testing.T) {
	good := row("a", "x")
	for name, rec := range map[string]Record{
		"row":                   {Action: PutRow, Row: good[:len(good)-3]},
		"row before the change": {Action: PutRow, Row: good, Origin: []byte("garbage")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, n, _, err := readOne(t, time.Hour, func(int) (*Page, error) {
					return &Page{Records: []Record{rec}, NextToken: "next"}, nil
				})
				if !errors.Is(err, context.DeadlineExceeded) || n < 100 || n > 150 { // every 30 s or so
					t.Errorf("%d reads in an hour, %v", n, err)
				}
			})
		})
	}
}

func TestAPageWithoutTheNextTokenIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page, n, _, err := readOne(t, time.Hour, func(n int) (*Page, error) {
			return &Page{NextToken: strings.Repeat("x", n/3)}, nil
		})
		if err != nil || n != 3 || page.token != "x" {
			t.Errorf("%d reads, token %q, %v", n, page.token, err)
		}
	})
}
