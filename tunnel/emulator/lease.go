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

// askedBack gives the lease of a channel that its holder is to give back.
func (l lease) askedBack() lease {
	return lease{state: closing, version: l.version + 1, client: l.client}
}

// calledOff gives the lease of a channel that its holder need not give back
// after all.
func (l lease) calledOff() lease {
	return lease{state: open, version: l.version + 1, client: l.client}
}

// handover is how channels change hands, which switches decide. The zero value
// raises the version with every change, and asks a channel back before another
// client gets it.
type handover struct {
	keepsVersion bool
	skipsClosing bool
}

func (h handover) next(version int64) int64 {
	if h.keepsVersion {
		return version
	}
	return version + 1
}

// left gives the lease after a client is gone: what it held is free at once.
func (h handover) left(l lease, client string) (lease, bool) {
	if !l.held(client) {
		return l, false
	}
	return lease{state: closed, version: h.next(l.version)}, true
}

// hand gives the lease of a channel that a client gets.
func (h handover) hand(l lease, client string) lease {
	return lease{state: open, version: h.next(l.version), client: client}
}

// seat is a channel as assign sees it.
type seat struct {
	lease
	ready  bool   // every parent is TERMINATED
	wanted string // the client for which it was moved; empty: any will do
}

// move gives a channel a new lease.
type move struct {
	channel int // index of the seat
	to      lease
}

// assign says what to move so that the channels which can be consumed are
// spread over the clients evenly: no client holds two more than another, once
// what is CLOSING has come back. Free channels are handed out, first of all
// those that were moved for a client to that one; a client that holds more than
// its share is asked for the rest, last of all for those that were moved to it.
// Clients are in the order in which they came, which decides ties.
func (h handover) assign(clients []string, seats []seat) []move {
	if len(clients) == 0 {
		return nil
	}
	seats = slices.Clone(seats)
	var moves []move
	holds := make(map[string][]int, len(clients)) // OPEN ones, by client
	hand := func(i int, client string) {
		seats[i].lease = h.hand(seats[i].lease, client)
		moves = append(moves, move{i, seats[i].lease})
		holds[client] = append(holds[client], i)
	}
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
			if !s.ready {
				continue
			}
			total++
			if slices.Contains(clients, s.wanted) {
				hand(i, s.wanted)
			} else {
				free = append(free, i)
			}
		}
	}
	// Who holds most gets the larger share, so that the fewest move.
	order := slices.Clone(clients)
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(len(holds[b]), len(holds[a])) })
	for i, client := range order {
		share := total / len(order)
		if i < total%len(order) {
			share++
		}
		for len(holds[client]) > share {
			back := leastWanted(holds[client], seats, client)
			holds[client] = slices.DeleteFunc(holds[client], func(c int) bool { return c == back })
			if h.skipsClosing {
				free = append(free, back)
			} else {
				moves = append(moves, move{back, seats[back].askedBack()})
			}
		}
		for len(holds[client]) < share && len(free) > 0 {
			hand(free[0], client)
			free = free[1:]
		}
	}
	return moves
}

// leastWanted is the last of the channels that were not moved for the client
// that holds them, or else the last one.
func leastWanted(held []int, seats []seat, client string) int {
	for _, c := range slices.Backward(held) {
		if seats[c].wanted != client {
			return c
		}
	}
	return held[len(held)-1]
}
