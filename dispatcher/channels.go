package dispatcher

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ChannelState is what a dispatcher is doing with a channel.
type ChannelState string

// The states of a channel that is held.
const (
	Starting ChannelState = "starting" // it is claimed, and its checkpoint read
	Reading  ChannelState = "reading"
	Ending   ChannelState = "ending" // read to its end; the last records are at work
	Draining ChannelState = "draining"
)

// ChannelStats is a channel that a dispatcher holds, as of now. It counts from
// when this dispatcher got the channel.
type ChannelStats struct {
	ID       string
	State    ChannelState
	Read     int64 // records
	Settled  int64 // records
	InFlight int64 // batches that have begun and not ended
	// Oldest is when the oldest record that is not settled was read. Zero:
	// all that was read is settled.
	Oldest time.Time
}

// Channels are the channels held, by id. It may be called at any time, from
// any goroutine.
func (d *Dispatcher) Channels() []ChannelStats {
	var all []ChannelStats
	for _, c := range d.held.list() {
		all = append(all, c.stats())
	}
	slices.SortFunc(all, func(a, b ChannelStats) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// holding is the channels that are held.
type holding struct {
	mu       sync.Mutex
	channels map[*channelCounts]bool
}

func (h *holding) add(c *channelCounts) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.channels == nil {
		h.channels = map[*channelCounts]bool{}
	}
	h.channels[c] = true
}

func (h *holding) remove(c *channelCounts) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.channels, c)
}

func (h *holding) list() (all []*channelCounts) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.channels {
		all = append(all, c)
	}
	return all
}

// channelCounts is what a channel's goroutines count for [ChannelStats].
type channelCounts struct {
	id                      string
	state                   atomic.Value // ChannelState
	read, settled, inFlight atomic.Int64
	oldest                  atomic.Int64 // ns of Unix time; 0: none
}

func newChannelCounts(id string) *channelCounts {
	c := &channelCounts{id: id}
	c.state.Store(Starting)
	return c
}

func (c *channelCounts) stats() ChannelStats {
	s := ChannelStats{
		ID:       c.id,
		State:    c.state.Load().(ChannelState),
		Settled:  c.settled.Load(), // before read, so that it is never more
		Read:     c.read.Load(),
		InFlight: c.inFlight.Load(),
	}
	if ns := c.oldest.Load(); ns != 0 {
		s.Oldest = time.Unix(0, ns)
	}
	return s
}

// noteOldest publishes when the oldest unsettled record was read.
func (c *consumption) noteOldest() {
	oldest, ok := c.progress.Oldest()
	if !ok {
		c.counts.oldest.Store(0)
		return
	}
	c.counts.oldest.Store(oldest.UnixNano())
}
