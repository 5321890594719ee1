package tunnel

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is a machine with its runs, and everything that must hold of them
// whatever the service answers.
type world struct {
	m    *machine
	at   time.Time
	runs map[string]*worldRun
	owed map[string]HeartbeatChannel // what was ended and the service has not taken note of
}

type worldRun struct{ draining, cancelled bool }

func newWorld() *world {
	return &world{
		m:    newMachine(testRules),
		at:   testStart,
		runs: make(map[string]*worldRun),
		owed: make(map[string]HeartbeatChannel),
	}
}

// act carries the machine's actions out, as a session would.
func (w *world) act(t *rapid.T, actions []action) (beats int) {
	for _, a := range actions {
		run := w.runs[a.channel]
		switch a.deed {
		case deedStart:
			if run != nil {
				t.Fatalf("%s is started while it runs", a.channel)
			}
			if w.m.leaving {
				t.Fatalf("%s is started by a worker that stops", a.channel)
			}
			w.runs[a.channel] = new(worldRun)
			delete(w.owed, a.channel)
		case deedDrain:
			if run == nil || run.draining {
				t.Fatalf("%s is drained: %+v", a.channel, run)
			}
			run.draining = true
		case deedCancel:
			if run != nil {
				run.cancelled = true
			} else {
				t.Fatalf("%s is cancelled and has no run", a.channel)
			}
		case deedBeat:
			beats++
		}
	}
	return beats
}

// end lets a run return.
func (w *world) end(t *rapid.T, id string, end End) {
	before := w.m.channels[id]
	delete(w.runs, id)
	beats := w.act(t, w.m.runEnded(w.at, id, end))
	// The service still counts on this client when the run was not cancelled
	// for being somebody else's. Then an end is owed to it, early, unless the
	// channel goes on here.
	if before.phase == phaseCancelled || w.runs[id] != nil || (end == EndLost && !before.overdue) {
		return
	}
	owed := HeartbeatChannel{ID: id, Version: before.version + 1, Status: StatusClose}
	if end == EndFinished {
		owed.Status = StatusTerminated
	}
	w.owed[id] = owed
	if beats == 0 && !w.m.leaving {
		t.Fatalf("%s ended and the service is not told early", id)
	}
}

// beat looks at a heartbeat.
func (w *world) beat(t *rapid.T) []HeartbeatChannel {
	report := w.m.report()
	seen := make(map[string]HeartbeatChannel)
	for _, c := range report {
		if _, twice := seen[c.ID]; twice {
			t.Fatalf("%s is reported twice", c.ID)
		}
		seen[c.ID] = c
		run, ended := w.runs[c.ID], c.Status == StatusClose || c.Status == StatusTerminated
		switch {
		case ended && run != nil:
			t.Fatalf("%+v is reported while it runs", c)
		case !ended && run == nil:
			t.Fatalf("%+v is reported and not held", c)
		}
	}
	for id, c := range w.owed {
		if seen[id] != c {
			t.Fatalf("%+v is owed, reported is %+v", c, seen[id])
		}
	}
	return report
}

// answer gives the machine an answer. The service has taken note of an end
// when it no longer lists the channel, or has a word of its own that is not
// older.
func (w *world) answer(t *rapid.T, list []HeartbeatChannel) {
	highest := make(map[string]HeartbeatChannel)
	for _, c := range list {
		if h, ok := highest[c.ID]; !ok || c.Version > h.Version {
			highest[c.ID] = c
		}
	}
	for id, owed := range w.owed {
		c, listed := highest[id]
		switch {
		case !listed:
			delete(w.owed, id)
		case c.Version < owed.Version:
		case c.Status == StatusClosing:
			w.owed[id] = HeartbeatChannel{ID: id, Version: c.Version + 1, Status: owed.Status}
		case c.Status == StatusOpen, c.Version > owed.Version:
			delete(w.owed, id)
		}
	}
	w.act(t, w.m.answered(w.at, list))
}

func (w *world) check(t *rapid.T) {
	if got := w.m.runs(); got != len(w.runs) {
		t.Fatalf("the machine counts %d runs, there are %d", got, len(w.runs))
	}
	for id, run := range w.runs {
		h := w.m.channels[id]
		if run.draining != (h.phase == phaseDraining) && h.phase != phaseCancelled {
			t.Fatalf("%s: %+v, %+v", id, h, run)
		}
		if run.cancelled != (h.phase == phaseCancelled || h.overdue) {
			t.Fatalf("%s: %+v, %+v", id, h, run)
		}
	}
}

// A generator writes into itself: each test has its own.

func someID() *rapid.Generator[string] { return rapid.SampledFrom([]string{"a", "b", "c"}) }
func someEnd() *rapid.Generator[End] {
	return rapid.SampledFrom([]End{EndLost, EndDrained, EndFinished})
}

func someChannels() *rapid.Generator[[]HeartbeatChannel] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) HeartbeatChannel {
		return HeartbeatChannel{
			ID:      someID().Draw(t, "id"),
			Version: rapid.Int64Range(0, 6).Draw(t, "version"),
			Status:  ChannelStatus(rapid.IntRange(1, 4).Draw(t, "status")),
		}
	}), 0, 4)
}

// actions are what can happen in a world whose service answers anything.
func (w *world) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"heartbeat": func(t *rapid.T) {
			w.beat(t)
			// Runs may end while the heartbeat is under way.
			for _, id := range rapid.SliceOfNDistinct(someID(), 0, 2, rapid.ID).Draw(t, "meanwhile") {
				if w.runs[id] != nil {
					w.end(t, id, someEnd().Draw(t, "end"))
				}
			}
			w.answer(t, someChannels().Draw(t, "answer"))
		},
		"end": func(t *rapid.T) {
			id := someID().Draw(t, "id")
			if w.runs[id] == nil {
				t.Skip("no run")
			}
			w.end(t, id, someEnd().Draw(t, "end"))
		},
		"time": func(t *rapid.T) {
			w.at = w.at.Add(time.Duration(rapid.IntRange(1, 60).Draw(t, "seconds")) * time.Second)
			w.act(t, w.m.tick(w.at))
			if due := w.m.wake(); !due.IsZero() && !due.After(w.at) {
				t.Fatalf("a tick at %v leaves one due at %v", w.at, due)
			}
		},
		"": w.check,
	}
}

func TestWhateverTheServiceAnswersNoChannelHasTwoRunsAndEveryEndIsReported(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		actions := w.actions()
		actions["stop"] = func(t *rapid.T) {
			if rapid.IntRange(0, 9).Draw(t, "chance") > 0 {
				t.Skip("not yet")
			}
			w.act(t, w.m.softStop(w.at))
		}
		actions["gone"] = func(t *rapid.T) {
			if rapid.IntRange(0, 9).Draw(t, "chance") > 0 {
				t.Skip("not yet")
			}
			clear(w.owed)
			w.act(t, w.m.disconnected(w.at))
			for id, run := range w.runs {
				if !run.cancelled {
					t.Fatalf("the client is gone and %s goes on", id)
				}
			}
			for id := range w.runs {
				w.end(t, id, someEnd().Draw(t, "end"))
			}
			if len(w.m.channels) > 0 {
				t.Fatalf("the client is gone and holds %v", w.m.channels)
			}
			*w = *newWorld() // connected anew
		}
		t.Repeat(actions)
	})
}

// saneService is the service as the reference describes it: it alone hands
// channels out and asks for them back, and takes note of what is newer.
type saneService map[string]HeartbeatChannel

func (s saneService) heartbeat(report []HeartbeatChannel) []HeartbeatChannel {
	for _, c := range report {
		if s[c.ID].Version < c.Version {
			s[c.ID] = c
		}
	}
	var list []HeartbeatChannel
	for _, c := range s {
		switch c.Status {
		case StatusClose: // handed out again
			s[c.ID] = HeartbeatChannel{ID: c.ID, Version: c.Version + 1, Status: StatusOpen}
		case StatusTerminated:
			continue
		}
		list = append(list, s[c.ID])
	}
	return list
}

// After any disorder, a service that comes to its senses finds every channel
// consumed or terminated within a few heartbeats, and nothing more to say.
func TestAMachineComesToRestWithASaneService(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		t.Repeat(w.actions())

		service := make(saneService)
		for _, c := range someChannels().Draw(t, "service") {
			// It knows at least the versions that it handed out.
			c.Version += w.m.channels[c.ID].version
			service[c.ID] = c
		}
		ends := map[string]End{"a": EndDrained, "b": EndFinished, "c": EndLost}
		for range 6 {
			for id, run := range w.runs {
				if run.draining || run.cancelled || ends[id] == EndFinished {
					w.end(t, id, ends[id])
				}
			}
			w.at = w.at.Add(testRules.interval)
			w.act(t, w.m.tick(w.at))
			w.answer(t, service.heartbeat(w.beat(t)))
			w.check(t)
		}
		w.beat(t)
		if beats := w.act(t, w.m.answered(w.at, service.heartbeat(w.beat(t)))); beats > 0 {
			t.Fatalf("it still asks for heartbeats")
		}
		for id, c := range service {
			h := w.m.channels[id]
			switch {
			case c.Status == StatusTerminated && h.phase == phaseAbsent:
			case c.Status == StatusOpen && h.phase == phaseRunning && h.version == c.Version:
			default:
				t.Fatalf("the service has %+v, the machine %+v", c, h)
			}
		}
		for id := range w.m.channels {
			if _, ok := service[id]; !ok {
				t.Fatalf("%s is held and the service does not know it: %+v", id, w.m.channels[id])
			}
		}
	})
}
