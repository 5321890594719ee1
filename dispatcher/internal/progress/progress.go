// Package progress keeps, per channel, the contiguous settled prefix of what
// was read: the only thing that a checkpoint may commit.
package progress

import (
	"fmt"
	"time"
)

// Page numbers the pages of one channel in the order they were read.
type Page uint64

// Tracker is one channel's progress. Its zero value has read nothing. It is
// not safe for concurrent use.
type Tracker struct {
	pages []page // not settled, or behind one that is not; pages[0] is never settled
	first Page   // the number of pages[0]
	token string // of the newest page of the contiguous settled prefix
	moved bool   // token has not been taken for a commit
	held  int64
}

type page struct {
	token     string
	unsettled int
	bytes     int64
	begun     bool
	read      time.Time
}

// Add notes a page: the token that follows it, how many records of it are to
// be settled, the bytes that it holds until they are, and when it was read. A
// page without records is settled from the start.
func (t *Tracker) Add(token string, records int, bytes int64, now time.Time) Page {
	n := t.first + Page(len(t.pages))
	if records == 0 {
		bytes = 0
	}
	t.pages = append(t.pages, page{token: token, unsettled: records, bytes: bytes, read: now})
	t.held += bytes
	t.advance()
	return n
}

// Begin notes that a record of the page has become part of a batch.
func (t *Tracker) Begin(n Page) { t.pages[n-t.first].begun = true }

// Settle notes that one more record of the page is settled. The error says
// that the page has no unsettled record: a bug of the caller, who must not go
// on, since some other record may be taken for settled.
func (t *Tracker) Settle(n Page) error {
	if n < t.first || n-t.first >= Page(len(t.pages)) || t.pages[n-t.first].unsettled == 0 {
		return fmt.Errorf("a record of page %d was settled twice", n)
	}
	p := &t.pages[n-t.first]
	p.unsettled--
	if p.unsettled == 0 {
		t.held -= p.bytes
		p.bytes = 0
		t.advance()
	}
	return nil
}

func (t *Tracker) advance() {
	done := 0
	for done < len(t.pages) && t.pages[done].unsettled == 0 {
		if next := t.pages[done].token; next != t.token {
			t.token = next
			t.moved = true
		}
		done++
	}
	t.pages = t.pages[done:]
	t.first += Page(done)
}

// Forget drops the pages that no batch has begun, from the newest back to the
// newest page begun, and returns the first page forgotten: records of it and
// of later ones must not be settled any more. What was forgotten is read
// again by whoever starts from the checkpoint.
func (t *Tracker) Forget() Page {
	keep := len(t.pages)
	for keep > 0 && !t.pages[keep-1].begun {
		keep--
		t.held -= t.pages[keep].bytes
	}
	t.pages = t.pages[:keep]
	return t.first + Page(keep)
}

// Take returns the newest token that may be committed, if it is newer than
// the one taken before, and the first page that it does not cover.
func (t *Tracker) Take() (token string, next Page, ok bool) {
	if !t.moved {
		return "", 0, false
	}
	t.moved = false
	return t.token, t.first, true
}

// Return gives back a token whose commit failed, so that it, or a newer one,
// is taken again.
func (t *Tracker) Return() { t.moved = true }

// Settled says whether everything added is settled.
func (t *Tracker) Settled() bool { return len(t.pages) == 0 }

// Unsettled is how many records are not settled.
func (t *Tracker) Unsettled() int {
	n := 0
	for _, p := range t.pages {
		n += p.unsettled
	}
	return n
}

// Oldest is when the oldest page with unsettled records was read; false when
// everything is settled.
func (t *Tracker) Oldest() (read time.Time, ok bool) {
	if len(t.pages) == 0 {
		return time.Time{}, false
	}
	return t.pages[0].read, true
}

// Held is how many bytes the pages with unsettled records hold.
func (t *Tracker) Held() int64 { return t.held }
