// Package lane keeps the lanes of one trigger in one channel: ordered queues
// of records, each with at most one batch in flight, and decides when a
// lane's records become a batch. It knows no I/O; time is an argument.
package lane

import "time"

// Limits say when the records that wait in a lane become a batch: at Records
// or at Bytes, or when Window has passed since the first of them arrived.
type Limits struct {
	Records int
	Bytes   int64
	Window  time.Duration
}

// Set is the lanes of one trigger in one channel. It is not safe for
// concurrent use.
type Set[R any] struct {
	limits Limits
	lanes  []queue[R]
	start  int // where Next looks first, so that no lane is preferred
	busy   int
}

type queue[R any] struct {
	waiting []entry[R]
	records []R // parallel to waiting, so that a batch is a slice of it
	bytes   int64
	busy    bool
	given   bool // abandoned: nothing of it begins any more
}

type entry[R any] struct {
	size    int64
	arrived time.Time
}

// NewSet makes parallel lanes, all empty.
func NewSet[R any](parallel int, limits Limits) *Set[R] {
	return &Set[R]{limits: limits, lanes: make([]queue[R], parallel)}
}

// Push adds a record of size bytes to the end of a lane.
func (s *Set[R]) Push(lane int, record R, size int, now time.Time) {
	q := &s.lanes[lane]
	q.waiting = append(q.waiting, entry[R]{int64(size), now})
	q.records = append(q.records, record)
	q.bytes += int64(size)
}

// Next picks a lane that has no batch in flight and whose records are due,
// and returns them, in order and at most Limits.Records. The lane is busy
// until Done or Abandon. With flush, whatever waits is due. The slice is the
// lane's own: it stays as it is until Done, and must not be changed.
func (s *Set[R]) Next(now time.Time, flush bool) (lane int, records []R, ok bool) {
	for i := range s.lanes {
		lane = (s.start + i) % len(s.lanes)
		q := &s.lanes[lane]
		if !q.open() || !flush && !s.due(q, now) {
			continue
		}
		q.busy = true
		s.busy++
		s.start = lane + 1
		n := min(len(q.records), s.limits.Records)
		return lane, q.records[:n:n], true
	}
	return 0, nil, false
}

func (q *queue[R]) open() bool { return !q.busy && !q.given && len(q.records) > 0 }

func (s *Set[R]) due(q *queue[R], now time.Time) bool {
	return len(q.records) >= s.limits.Records ||
		q.bytes >= s.limits.Bytes ||
		!now.Before(q.waiting[0].arrived.Add(s.limits.Window))
}

// Done ends the lane's batch: its first n records leave the lane, and the
// lane may be picked again.
func (s *Set[R]) Done(lane, n int) {
	q := &s.lanes[lane]
	for _, e := range q.waiting[:n] {
		q.bytes -= e.size
	}
	clear(q.records[:n]) // what they alias is free before the array is
	q.waiting = q.waiting[n:]
	q.records = q.records[n:]
	if len(q.records) == 0 {
		q.waiting, q.records = nil, nil
	}
	q.busy = false
	s.busy--
}

// Abandon ends the lane's batch without settling it: nothing of the lane
// begins any more.
func (s *Set[R]) Abandon(lane int) {
	s.lanes[lane].busy = false
	s.lanes[lane].given = true
	s.busy--
}

// Forget drops every record for which drop is true from the ends of the
// lanes, back to the first for which it is not. Records of batches in flight
// must not be dropped.
func (s *Set[R]) Forget(drop func(R) bool) {
	for i := range s.lanes {
		q := &s.lanes[i]
		n := len(q.records)
		for n > 0 && drop(q.records[n-1]) {
			n--
			q.bytes -= q.waiting[n].size
		}
		clear(q.records[n:])
		q.waiting = q.waiting[:n]
		q.records = q.records[:n]
	}
}

// Wake is when the next lane becomes due by its window, if no record arrives
// and no batch ends before; false when no lane waits for its window.
func (s *Set[R]) Wake() (at time.Time, ok bool) {
	for i := range s.lanes {
		q := &s.lanes[i]
		if !q.open() {
			continue
		}
		due := q.waiting[0].arrived.Add(s.limits.Window)
		if !ok || due.Before(at) {
			at, ok = due, true
		}
	}
	return at, ok
}

// Stuck says that nothing is in flight and nothing can begin: every lane is
// empty or abandoned.
func (s *Set[R]) Stuck() bool {
	if s.busy > 0 {
		return false
	}
	for i := range s.lanes {
		if s.lanes[i].open() {
			return false
		}
	}
	return true
}
