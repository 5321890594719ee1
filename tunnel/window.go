package tunnel

import (
	"context"
	"sync"
	"sync/atomic"
)

// window says how far a channel may be read ahead of its callback. It counts
// the pages that were begun to be read and are not done with, and holds the
// channel's turn while there are any.
type window struct {
	turns *turns
	ahead int           // pages beside the one that the callback works on
	bytes int64         // of all channels together, beyond which none is read ahead
	total *atomic.Int64 // bytes held by all channels

	mu      sync.Mutex
	pages   int
	held    int64 // bytes
	hasTurn bool
	changed chan struct{} // there may be room; holds one
}

func newWindow(t *turns, ahead int, bytes int64, total *atomic.Int64) *window {
	return &window{turns: t, ahead: ahead, bytes: bytes, total: total, changed: make(chan struct{}, 1)}
}

// open waits until a page may be read, and counts it. A channel without a
// page may always read one as soon as it has a turn, so that no channel that
// stands still keeps another one from moving.
func (w *window) open(ctx context.Context) error {
	for {
		w.mu.Lock()
		first := w.pages == 0
		room := w.hasTurn && w.pages <= w.ahead && w.total.Load() < w.bytes && !w.turns.wanted()
		if room {
			w.pages++
		}
		w.mu.Unlock()
		switch {
		case first:
			// Nobody else touches a window without pages.
			if err := w.turns.take(ctx); err != nil {
				return err
			}
			w.mu.Lock()
			w.pages, w.hasTurn = 1, true
			w.mu.Unlock()
			return nil
		case room:
			return ctx.Err()
		}
		select {
		case <-w.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hold counts the bytes of the page that open let in.
func (w *window) hold(bytes int64) {
	w.mu.Lock()
	w.held += bytes
	w.mu.Unlock()
	w.total.Add(bytes)
}

// done gives up a page and its bytes, and the turn with the last one.
func (w *window) done(bytes int64) {
	w.total.Add(-bytes)
	w.mu.Lock()
	w.pages--
	w.held -= bytes
	over := w.pages == 0 && w.hasTurn
	if over {
		w.hasTurn = false
	}
	w.mu.Unlock()
	if over {
		w.turns.giveBack()
	}
	w.look()
}

// pause gives the turn to others while a callback that failed waits.
func (w *window) pause() {
	w.mu.Lock()
	had := w.hasTurn
	w.hasTurn = false
	w.mu.Unlock()
	if had {
		w.turns.giveBack()
	}
}

// resume waits for a turn after pause.
func (w *window) resume(ctx context.Context) error {
	if err := w.turns.take(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	w.hasTurn = true
	w.mu.Unlock()
	w.look()
	return nil
}

// look has open look again.
func (w *window) look() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// close gives up all that is left. Nobody reads or works any more.
func (w *window) close() {
	w.mu.Lock()
	held := w.held
	w.pages, w.held = 0, 0
	w.mu.Unlock()
	w.total.Add(-held)
	w.pause()
}
