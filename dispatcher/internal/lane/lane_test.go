package lane

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var t0 = time.Unix(1_700_000_000, 0)

func TestALaneWaitsForItsWindow(t *testing.T) {
	s := NewSet[int](1, Limits{Records: 10, Bytes: 100, Window: time.Second})
	s.Push(0, 7, 1, t0)
	if _, _, ok := s.Next(t0.Add(time.Second-1), false); ok {
		t.Fatal("a batch was cut before its window had passed")
	}
	if at, ok := s.Wake(); !ok || !at.Equal(t0.Add(time.Second)) {
		t.Fatalf("wakes at %v, %v", at, ok)
	}
	if _, records, ok := s.Next(t0.Add(time.Second), false); !ok || !slices.Equal(records, []int{7}) {
		t.Fatalf("cut %v, %v", records, ok)
	}
}

func TestAFullLaneDoesNotWait(t *testing.T) {
	for name, push := range map[string]func(*Set[int]){
		"records": func(s *Set[int]) { s.Push(0, 1, 1, t0); s.Push(0, 2, 1, t0) },
		"bytes":   func(s *Set[int]) { s.Push(0, 1, 100, t0) },
	} {
		s := NewSet[int](1, Limits{Records: 2, Bytes: 100, Window: time.Hour})
		push(s)
		if _, _, ok := s.Next(t0, false); !ok {
			t.Errorf("full by %s, and not cut", name)
		}
	}
}

func TestALaneWithABatchInFlightBeginsNoOther(t *testing.T) {
	s := NewSet[int](2, Limits{Records: 1, Bytes: 100})
	s.Push(1, 1, 1, t0)
	s.Push(1, 2, 1, t0)
	lane, records, ok := s.Next(t0, false)
	if !ok || lane != 1 || !slices.Equal(records, []int{1}) {
		t.Fatalf("cut %v of lane %d, %v", records, lane, ok)
	}
	if _, _, ok := s.Next(t0, true); ok {
		t.Fatal("a second batch of the lane was cut")
	}
	s.Done(1, 1)
	if _, records, ok := s.Next(t0, false); !ok || !slices.Equal(records, []int{2}) {
		t.Fatalf("cut %v, %v", records, ok)
	}
}

func TestAnAbandonedLaneIsStuckAndTheOthersAreNot(t *testing.T) {
	s := NewSet[int](2, Limits{Records: 1, Bytes: 100})
	s.Push(0, 1, 1, t0)
	s.Push(0, 2, 1, t0)
	s.Next(t0, false)
	s.Abandon(0)
	if !s.Stuck() {
		t.Fatal("an abandoned lane still has something to begin")
	}
	s.Push(1, 3, 1, t0)
	if lane, _, ok := s.Next(t0, false); !ok || lane != 1 {
		t.Fatalf("picked lane %d, %v", lane, ok)
	}
}

// Every record leaves its lane once, in the order of arrival, at most a
// batch's worth at a time, whatever part of each batch is done.
func TestRecordsLeaveTheirLaneInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parallel := rapid.IntRange(1, 5).Draw(t, "parallel")
		limits := Limits{
			Records: rapid.IntRange(1, 4).Draw(t, "records"),
			Bytes:   rapid.Int64Range(1, 50).Draw(t, "bytes"),
			Window:  time.Duration(rapid.IntRange(0, 5).Draw(t, "window")),
		}
		s := NewSet[int](parallel, limits)
		pushed := make([][]int, parallel)
		left := make([][]int, parallel)
		inFlight := map[int][]int{}
		now := t0
		next := 0
		step := func(flush bool) {
			lane, records, ok := s.Next(now, flush)
			if !ok {
				return
			}
			if _, busy := inFlight[lane]; busy {
				t.Fatalf("lane %d has two batches", lane)
			}
			if len(records) == 0 || len(records) > limits.Records {
				t.Fatalf("a batch of %d records", len(records))
			}
			inFlight[lane] = records
		}
		done := func(lane, n int) {
			left[lane] = append(left[lane], inFlight[lane][:n]...)
			delete(inFlight, lane)
			s.Done(lane, n)
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "passes")))
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				lane := rapid.IntRange(0, parallel-1).Draw(t, "lane")
				s.Push(lane, next, rapid.IntRange(0, 30).Draw(t, "size"), now)
				pushed[lane] = append(pushed[lane], next)
				next++
			case 1:
				step(rapid.Bool().Draw(t, "flush"))
			case 2:
				for lane := range parallel {
					if batch, ok := inFlight[lane]; ok {
						done(lane, rapid.IntRange(0, len(batch)).Draw(t, "done"))
						break
					}
				}
			}
			if s.busy != len(inFlight) {
				t.Fatalf("%d lanes busy, want %d", s.busy, len(inFlight))
			}
		}
		for !s.Stuck() {
			step(true)
			for lane, batch := range inFlight {
				done(lane, len(batch))
			}
		}
		for lane := range parallel {
			if !slices.Equal(left[lane], pushed[lane]) {
				t.Fatalf("lane %d: %v left, %v pushed", lane, left[lane], pushed[lane])
			}
		}
	})
}

func TestForgettingDropsOnlyTheEnd(t *testing.T) {
	s := NewSet[int](1, Limits{Records: 2, Bytes: 100})
	for i := range 5 {
		s.Push(0, i, 1, t0)
	}
	s.Next(t0, false)
	s.Forget(func(r int) bool { return r >= 3 })
	s.Done(0, 2)
	_, records, _ := s.Next(t0, false)
	if !slices.Equal(records, []int{2}) {
		t.Fatalf("left %v, want 2 alone", records)
	}
	s.Done(0, 1)
	if !s.Stuck() {
		t.Fatal("something is left")
	}
}
