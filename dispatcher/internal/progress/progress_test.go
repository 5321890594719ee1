package progress

import (
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAPageBehindAnUnsettledOneIsNotCommitted(t *testing.T) {
	var p Tracker
	first := p.Add("a", 1, 10, at(0))
	second := p.Add("b", 1, 20, at(0))

	settle(t, &p, second)
	if token, _, ok := p.Take(); ok {
		t.Fatalf("took %q while an earlier record is unsettled", token)
	}
	settle(t, &p, first)
	if token, _, ok := p.Take(); !ok || token != "b" {
		t.Fatalf("took %q, %v; want b", token, ok)
	}
	if _, _, ok := p.Take(); ok {
		t.Fatal("the same token was taken twice")
	}
}

func TestARecordIsNotSettledTwice(t *testing.T) {
	var p Tracker
	first := p.Add("a", 1, 1, at(0))
	p.Add("b", 1, 1, at(0))
	settle(t, &p, first)
	for _, page := range []Page{first, first + 2} {
		if p.Settle(page) == nil {
			t.Errorf("page %d was settled", page)
		}
	}
}

// at is when a page was read.
func at(n int) time.Time { return time.Unix(int64(n), 0) }

func settle(t interface{ Fatal(...any) }, p *Tracker, page Page) {
	if err := p.Settle(page); err != nil {
		t.Fatal(err)
	}
}

func TestAFailedCommitIsTakenAgain(t *testing.T) {
	var p Tracker
	p.Add("a", 0, 0, at(0))
	p.Take()
	p.Return()
	if token, _, ok := p.Take(); !ok || token != "a" {
		t.Fatalf("took %q, %v; want a", token, ok)
	}
}

func TestAnIdleChannelWhoseTokenStandsHasNothingToCommit(t *testing.T) {
	var p Tracker
	p.Add("a", 0, 0, at(0))
	p.Take()
	p.Add("a", 0, 0, at(0))
	if token, _, ok := p.Take(); ok {
		t.Fatalf("took %q again", token)
	}
}

func TestForgettingKeepsWhatABatchHasBegun(t *testing.T) {
	var p Tracker
	first := p.Add("a", 1, 1, at(0))
	second := p.Add("b", 1, 2, at(0))
	third := p.Add("c", 1, 4, at(0))
	p.Begin(second)

	if from := p.Forget(); from != third {
		t.Fatalf("forgot from page %d, want %d", from, third)
	}
	if p.Held() != 3 {
		t.Fatalf("holds %d bytes, want 3", p.Held())
	}
	p.Settle(first)
	settle(t, &p, second)
	if token, _, ok := p.Take(); !ok || token != "b" || !p.Settled() {
		t.Fatalf("took %q, %v; want b with nothing left", token, ok)
	}
}

// Whatever the order of reading and settling, the token taken is that of the
// longest prefix of pages in which every record is settled, and the bytes
// held are those of the pages with unsettled records.
func TestProgressIsTheContiguousSettledPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type model struct {
			token string
			left  int
			bytes int64
		}
		var p Tracker
		var pages []model
		var taken string
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			var open []int
			for i, m := range pages {
				if m.left > 0 {
					open = append(open, i)
				}
			}
			if len(open) == 0 || rapid.Bool().Draw(t, "read") {
				m := model{strconv.Itoa(len(pages)), rapid.IntRange(0, 3).Draw(t, "records"), rapid.Int64Range(0, 100).Draw(t, "bytes")}
				if got := p.Add(m.token, m.left, m.bytes, at(len(pages))); got != Page(len(pages)) {
					t.Fatalf("page %d was numbered %d", len(pages), got)
				}
				pages = append(pages, m)
			} else {
				i := rapid.SampledFrom(open).Draw(t, "page")
				pages[i].left--
				settle(t, &p, Page(i))
			}

			want := taken
			for _, m := range pages {
				if m.left > 0 {
					break
				}
				want = m.token
			}
			got, next, ok := p.Take()
			if ok != (want != taken) || ok && got != want {
				t.Fatalf("took %q, %v; want %q after %q", got, ok, want, taken)
			}
			if ok && pages[next-1].token != want {
				t.Fatalf("page %d is said to be the first that %q does not cover", next, want)
			}
			taken = want
			var held int64
			unsettled := 0
			oldest := -1
			for i, m := range pages {
				if m.left > 0 && oldest < 0 {
					oldest = i
				}
				if m.left > 0 {
					held += m.bytes
					unsettled += m.left
				}
			}
			if p.Held() != held || p.Unsettled() != unsettled || p.Settled() != (unsettled == 0) {
				t.Fatalf("holds %d bytes of %d records, settled %v; want %d of %d", p.Held(), p.Unsettled(), p.Settled(), held, unsettled)
			}
			if read, ok := p.Oldest(); ok != (oldest >= 0) || ok && !read.Equal(at(oldest)) {
				t.Fatalf("the oldest was read at %v (%v), want page %d's time", read, ok, oldest)
			}
		}
	})
}
