package emulator

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// state is where a channel stands, as the server sees it.
//
//	WAIT ──open──▶ OPEN ──ask back──▶ CLOSING
//	                ▲ │ ╲                │
//	                │ │  ╲───────────────┤ the client reports CLOSE, or is gone
//	                │ │                  ▼
//	                └─┼────open─────── CLOSE
//	                  ▼
//	             TERMINATED: the client reports it, from OPEN or CLOSING
//
// Every arrow raises the version by one.
type state uint8

const (
	wait       state = iota // made with the tunnel, not yet handed out
	open                    // a client consumes it
	closing                 // being taken away from its client
	closed                  // given back, free to hand out again
	terminated              // read to its end
)

func (s state) String() string {
	switch s {
	case wait:
		return "WAIT"
	case open:
		return "OPEN"
	case closing:
		return "CLOSING"
	case closed:
		return "CLOSE"
	case terminated:
		return "TERMINATED"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// lease is a channel's state and who holds it. Its functions are pure: they
// give the lease after the event.
type lease struct {
	state   state
	version int64
	client  string // set in OPEN and CLOSING
}

// held says whether the client holds the channel: whether it may read it and
// commit, and is told of it.
func (l lease) held(client string) bool {
	return client != "" && l.client == client
}

// reported gives the lease after its holder's report in a heartbeat, and
// whether the report changed it. The higher version wins: a report that is
// not above ours is of what the client held before it heard of ours, and the
// answer tells it.
func (l lease) reported(client string, version int64, status tunnelpb.ChannelStatus) (lease, bool) {
	if !l.held(client) || version <= l.version {
		return l, false
	}
	switch status {
	case tunnelpb.ChannelStatus_CLOSE:
		return lease{state: closed, version: version}, true
	case tunnelpb.ChannelStatus_TERMINATED:
		return lease{state: terminated, version: version}, true
	}
	return l, false
}

// left gives the lease after a client is gone: what it held is free at once.
func (l lease) left(client string) (lease, bool) {
	if !l.held(client) {
		return l, false
	}
	return lease{state: closed, version: l.version + 1}, true
}

// seat is a channel as assign sees it.
type seat struct {
	lease
	ready bool // every parent is TERMINATED
}

// move gives a channel a new lease.
type move struct {
	channel int // index of the seat
	to      lease
}

// assign says what to move so that the channels which can be consumed are
// spread over the clients evenly: no client holds two more than another, once
// what is CLOSING has come back. Free channels are handed out; a client that
// holds more than its share is asked for the rest. Clients are in the order
// in which they came, which decides ties.
func assign(clients []string, seats []seat) []move {
	if len(clients) == 0 {
		return nil
	}
	holds := make(map[string][]int, len(clients)) // OPEN ones, by client
	var free []int
	total := 0
	for i, s := range seats {
		switch s.state {
		case open:
			holds[s.client] = append(holds[s.client], i)
			total++
		case closing:
			total++
		case wait, closed:
			if s.ready {
				free = append(free, i)
				total++
			}
		}
	}
	// Who holds most gets the larger share, so that the fewest move.
	order := slices.Clone(clients)
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(len(holds[b]), len(holds[a])) })
	var moves []move
	for i, client := range order {
		share := total / len(order)
		if i < total%len(order) {
			share++
		}
		for n := len(holds[client]); n > share; n-- {
			c := holds[client][n-1]
			moves = append(moves, move{c, lease{state: closing, version: seats[c].version + 1, client: client}})
		}
		for n := len(holds[client]); n < share && len(free) > 0; n++ {
			c := free[0]
			free = free[1:]
			moves = append(moves, move{c, lease{state: open, version: seats[c].version + 1, client: client}})
		}
	}
	return moves
}
