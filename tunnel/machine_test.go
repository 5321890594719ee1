package tunnel

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	testRules = rules{interval: 30 * time.Second, gap: 5 * time.Second, drain: 20 * time.Second}
	testStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

// step is one event of a script for a machine that knows the one channel "c",
// and what must follow.
type step struct {
	do     func(m *machine, at time.Time) []action
	after  time.Duration // since the step before
	deeds  []deed
	phase  phase
	report []HeartbeatChannel // what a heartbeat would say; none was sent for looking
}

// says is a heartbeat and its answer. No version means that the channel is not
// listed.
func says(status ChannelStatus, version ...int64) func(*machine, time.Time) []action {
	return func(m *machine, at time.Time) []action {
		m.report()
		var list []HeartbeatChannel
		for _, v := range version {
			list = append(list, HeartbeatChannel{ID: "c", Version: v, Status: status})
		}
		return m.answered(at, list)
	}
}

// late is the answer to the heartbeat that was sent before the last event.
func late(status ChannelStatus, version ...int64) func(*machine, time.Time) []action {
	return func(m *machine, at time.Time) []action {
		m.sent--
		return says(status, version...)(m, at)
	}
}

func nothing(m *machine, at time.Time) []action { return says(0)(m, at) }

func ends(end End) func(*machine, time.Time) []action {
	return func(m *machine, at time.Time) []action { return m.runEnded(at, "c", end) }
}

func reports(status ChannelStatus, version int64) []HeartbeatChannel {
	return []HeartbeatChannel{{ID: "c", Version: version, Status: status}}
}

func TestMachine(t *testing.T) {
	t.Parallel()
	var (
		opened = step{do: says(StatusOpen, 1), deeds: []deed{deedStart}, phase: phaseRunning, report: reports(StatusOpen, 1)}
		asked  = step{do: says(StatusClosing, 2), deeds: []deed{deedDrain}, phase: phaseDraining, report: reports(StatusClosing, 2)}
		missed = step{do: nothing, deeds: []deed{deedCancel}, phase: phaseCancelled}
		gone   = step{do: ends(EndLost), deeds: []deed{deedBeat}, phase: phaseLost}
		stop   = step{do: (*machine).softStop, deeds: []deed{deedDrain}, phase: phaseDraining, report: reports(StatusOpen, 1)}
	)
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"an open channel is run until it is asked back, drained and given back", []step{
			opened,
			{do: says(StatusOpen, 1), phase: phaseRunning, report: reports(StatusOpen, 1)},
			asked,
			{do: says(StatusClosing, 2), phase: phaseDraining, report: reports(StatusClosing, 2)},
			{do: ends(EndDrained), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusClose, 3)},
			{do: says(StatusClosing, 2), phase: phaseEnded, report: reports(StatusClose, 3)},
			{do: nothing, phase: phaseAbsent},
		}},
		{"a finished channel is reported until the service no longer lists it", []step{
			opened,
			{do: ends(EndFinished), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusTerminated, 2)},
			{do: late(StatusOpen, 1), phase: phaseEnded, report: reports(StatusTerminated, 2)},
			{do: says(StatusTerminated, 2), phase: phaseEnded, report: reports(StatusTerminated, 2)},
			{do: nothing, phase: phaseAbsent},
		}},
		{"a channel that finishes while it is asked back under the same number is reported under the next", []step{
			opened,
			{do: ends(EndFinished), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusTerminated, 2)},
			{do: late(StatusClosing, 2), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusTerminated, 3)},
			{do: says(StatusTerminated, 4), phase: phaseAbsent},
		}},
		{"a channel that was given back is run again when it is handed out again", []step{
			opened, asked,
			{do: ends(EndDrained), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusClose, 3)},
			{do: says(StatusOpen, 4), deeds: []deed{deedStart}, phase: phaseRunning, report: reports(StatusOpen, 4)},
		}},
		{"a channel that was given back is run again even if the service counts as we did", []step{
			opened, asked,
			{do: ends(EndDrained), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusClose, 3)},
			{do: says(StatusOpen, 3), deeds: []deed{deedStart}, phase: phaseRunning, report: reports(StatusOpen, 3)},
		}},
		{"a lower version is a word of the past", []step{
			{do: says(StatusOpen, 5), deeds: []deed{deedStart}, phase: phaseRunning, report: reports(StatusOpen, 5)},
			{do: says(StatusClosing, 4), phase: phaseRunning, report: reports(StatusOpen, 5)},
			{do: says(StatusTerminated, 4), phase: phaseRunning, report: reports(StatusOpen, 5)},
		}},
		{"of a channel named twice the higher version counts", []step{
			opened,
			{do: says(StatusOpen, 1, 3, 2), phase: phaseRunning, report: reports(StatusOpen, 3)},
		}},
		{"a status that nobody knows changes nothing", []step{
			{do: says(9, 1), phase: phaseAbsent},
			opened,
			{do: says(9, 2), phase: phaseRunning, report: reports(StatusOpen, 1)},
			asked,
			{do: ends(EndDrained), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusClose, 3)},
			{do: says(9, 7), phase: phaseEnded, report: reports(StatusClose, 3)},
		}},

		// The uncertainties of the real service.
		{"moved without a version bump: unlisted, then listed again, one run at a time", []step{
			opened, missed,
			{do: says(StatusOpen, 1), phase: phaseCancelled},
			{do: ends(EndLost), deeds: []deed{deedStart}, phase: phaseRunning, report: reports(StatusOpen, 1)},
		}},
		{"moved without CLOSING: unlisted, the run is stopped and nothing is reported", []step{
			opened, missed,
			{do: nothing, phase: phaseCancelled},
			{do: ends(EndLost), phase: phaseAbsent},
		}},
		{"moved away and back while the run stops", []step{
			opened, missed,
			{do: says(StatusOpen, 4), phase: phaseCancelled},
			{do: nothing, phase: phaseCancelled},
			{do: says(StatusOpen, 7), phase: phaseCancelled},
			{do: ends(EndDrained), deeds: []deed{deedStart}, phase: phaseRunning, report: reports(StatusOpen, 7)},
		}},
		{"moved away and back between two heartbeats: the run goes on under the new number", []step{
			opened,
			{do: says(StatusOpen, 4), phase: phaseRunning, report: reports(StatusOpen, 4)},
		}},
		{"CLOSING turned back to OPEN while draining: the next run starts when the first has returned", []step{
			opened, asked,
			{do: says(StatusOpen, 3), phase: phaseDraining, report: reports(StatusOpen, 3)},
			{do: ends(EndDrained), deeds: []deed{deedStart}, phase: phaseRunning, report: reports(StatusOpen, 3)},
		}},
		{"CLOSING turned back to OPEN at the same version", []step{
			opened, asked,
			{do: says(StatusOpen, 2), phase: phaseDraining, report: reports(StatusOpen, 2)},
			{do: ends(EndDrained), deeds: []deed{deedStart}, phase: phaseRunning, report: reports(StatusOpen, 2)},
		}},
		{"CLOSING, OPEN and CLOSING again while draining: it is given back", []step{
			opened, asked,
			{do: says(StatusOpen, 3), phase: phaseDraining, report: reports(StatusOpen, 3)},
			{do: says(StatusClosing, 4), phase: phaseDraining, report: reports(StatusClosing, 4)},
			{do: ends(EndDrained), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusClose, 5)},
		}},
		{"CLOSING turned back to OPEN, but the channel was read to its end", []step{
			opened, asked,
			{do: says(StatusOpen, 3), phase: phaseDraining, report: reports(StatusOpen, 3)},
			{do: ends(EndFinished), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusTerminated, 4)},
		}},
		{"TERMINATED set by Schedule stops the run, and nothing is reported", []step{
			opened,
			{do: says(StatusTerminated, 2), deeds: []deed{deedCancel}, phase: phaseCancelled},
			{do: says(StatusTerminated, 2), phase: phaseCancelled},
			{do: ends(EndLost), phase: phaseAbsent},
			{do: says(StatusTerminated, 2), phase: phaseAbsent},
		}},
		{"TERMINATED set by Schedule without a version bump", []step{
			opened,
			{do: says(StatusTerminated, 1), deeds: []deed{deedCancel}, phase: phaseCancelled},
			{do: ends(EndLost), phase: phaseAbsent},
		}},
		{"CLOSE for a channel that runs: somebody else's at any moment", []step{
			opened,
			{do: says(StatusClose, 2), deeds: []deed{deedCancel}, phase: phaseCancelled},
			{do: says(StatusOpen, 1), phase: phaseCancelled},
			{do: says(StatusOpen, 3), phase: phaseCancelled},
			{do: ends(EndLost), deeds: []deed{deedStart}, phase: phaseRunning, report: reports(StatusOpen, 3)},
		}},
		{"an OPEN channel no longer listed, asked back while its run stops, is given back", []step{
			opened, missed,
			{do: says(StatusClosing, 2), phase: phaseCancelled},
			{do: ends(EndLost), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusClose, 3)},
		}},
		{"an OPEN channel no longer listed, but it was finished and is listed again", []step{
			opened, missed,
			{do: says(StatusOpen, 2), phase: phaseCancelled},
			{do: ends(EndFinished), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusTerminated, 3)},
		}},
		{"early heartbeats ignored or throttled: an end is said again with every heartbeat", []step{
			opened, asked,
			{do: ends(EndDrained), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusClose, 3)},
			{do: says(StatusClosing, 2), phase: phaseEnded, report: reports(StatusClose, 3)},
			{do: says(StatusClosing, 2), phase: phaseEnded, report: reports(StatusClose, 3)},
			{do: says(StatusClose, 3), phase: phaseEnded, report: reports(StatusClose, 3)},
			{do: nothing, phase: phaseAbsent},
		}},
		{"refused or taken over: left out, and opened afresh by a later heartbeat's answer only", []step{
			opened, gone,
			{do: late(StatusOpen, 1), phase: phaseLost},
			{do: says(StatusOpen, 1), deeds: []deed{deedStart}, phase: phaseRunning, report: reports(StatusOpen, 1)},
		}},
		{"refused or taken over, and given to somebody else", []step{
			opened, gone,
			{do: late(0), phase: phaseLost},
			{do: nothing, phase: phaseAbsent},
		}},
		{"lost, and asked back: somebody has to say CLOSE", []step{
			opened, asked,
			{do: ends(EndLost), deeds: []deed{deedBeat}, phase: phaseLost},
			{do: says(StatusClosing, 2), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusClose, 3)},
		}},

		{"a channel that keeps being lost waits longer every time, up to the interval", []step{
			opened, gone,
			{do: says(StatusOpen, 1), deeds: []deed{deedStart}, phase: phaseRunning, report: reports(StatusOpen, 1)},
			{do: ends(EndLost), phase: phaseLost},
			{do: says(StatusOpen, 1), after: 9 * time.Second, phase: phaseLost},
			{do: says(StatusOpen, 1), after: time.Second, deeds: []deed{deedStart}, phase: phaseRunning, report: reports(StatusOpen, 1)},
			{do: ends(EndLost), phase: phaseLost},
			{do: says(StatusOpen, 1), after: 19 * time.Second, phase: phaseLost},
			{do: says(StatusOpen, 1), after: time.Second, deeds: []deed{deedStart}, phase: phaseRunning, report: reports(StatusOpen, 1)},
			{do: ends(EndLost), phase: phaseLost},
			{do: says(StatusOpen, 1), after: 30 * time.Second, deeds: []deed{deedStart}, phase: phaseRunning, report: reports(StatusOpen, 1)},
			{do: ends(EndLost), after: 31 * time.Second, deeds: []deed{deedBeat}, phase: phaseLost},
			{do: says(StatusOpen, 1), deeds: []deed{deedStart}, phase: phaseRunning, report: reports(StatusOpen, 1)},
		}},
		{"a channel handed out as CLOSING is given back at once", []step{
			{do: says(StatusClosing, 4), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusClose, 5)},
		}},
		{"a channel handed out as CLOSE or TERMINATED is nothing to hold", []step{
			{do: says(StatusClose, 4), phase: phaseAbsent},
			{do: says(StatusTerminated, 5), phase: phaseAbsent},
		}},
		{"a consumer that drains unasked gives its channel back", []step{
			opened,
			{do: ends(EndDrained), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusClose, 2)},
		}},
		{"an end that nobody knows is a loss", []step{
			opened,
			{do: ends(77), deeds: []deed{deedBeat}, phase: phaseLost},
		}},

		{"the drain limit ends the run, and the channel is given back", []step{
			opened, asked,
			{do: (*machine).tick, after: 19 * time.Second, phase: phaseDraining, report: reports(StatusClosing, 2)},
			{do: (*machine).tick, after: time.Second, deeds: []deed{deedCancel}, phase: phaseDraining, report: reports(StatusClosing, 2)},
			{do: (*machine).tick, after: time.Second, phase: phaseDraining, report: reports(StatusClosing, 2)},
			{do: ends(EndLost), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusClose, 3)},
		}},
		{"the drain limit ends a run that is wanted again: the next starts", []step{
			opened, asked,
			{do: says(StatusOpen, 3), phase: phaseDraining, report: reports(StatusOpen, 3)},
			{do: (*machine).tick, after: 20 * time.Second, deeds: []deed{deedCancel}, phase: phaseDraining, report: reports(StatusOpen, 3)},
			{do: ends(EndLost), deeds: []deed{deedStart}, phase: phaseRunning, report: reports(StatusOpen, 3)},
		}},
		{"a soft stop drains; what drained is reported until the end, by no early heartbeat", []step{
			opened, stop,
			{do: says(StatusOpen, 1), phase: phaseDraining, report: reports(StatusOpen, 1)},
			{do: ends(EndDrained), phase: phaseEnded, report: reports(StatusClose, 2)},
			{do: says(StatusOpen, 1), phase: phaseEnded, report: reports(StatusClose, 2)},
			{do: says(StatusOpen, 2), phase: phaseAbsent},
		}},
		{"a soft stop while a channel drains changes nothing but the future", []step{
			opened, asked,
			{do: (*machine).softStop, phase: phaseDraining, report: reports(StatusClosing, 2)},
			{do: says(StatusOpen, 3), phase: phaseDraining, report: reports(StatusOpen, 3)},
			{do: ends(EndDrained), phase: phaseEnded, report: reports(StatusClose, 4)},
		}},
		{"after a soft stop nothing is started", []step{
			{do: (*machine).softStop, phase: phaseAbsent},
			{do: says(StatusOpen, 1), phase: phaseAbsent},
			{do: says(StatusClosing, 2), phase: phaseEnded, report: reports(StatusClose, 3)},
		}},
		{"a soft stop forgets what was lost", []step{
			opened, gone,
			{do: (*machine).softStop, phase: phaseAbsent},
		}},
		{"a channel lost in a soft stop is left out", []step{
			opened, stop,
			{do: ends(EndLost), phase: phaseAbsent},
		}},
		{"a channel whose run stops during a soft stop is not started again", []step{
			opened, missed,
			{do: (*machine).softStop, phase: phaseCancelled},
			{do: says(StatusOpen, 2), phase: phaseCancelled},
			{do: ends(EndLost), phase: phaseAbsent},
		}},
		{"when the client is gone its runs stop and nothing is reported", []step{
			opened,
			{do: (*machine).disconnected, deeds: []deed{deedCancel}, phase: phaseCancelled},
			{do: ends(EndDrained), phase: phaseAbsent},
		}},
		{"when the client is gone what had ended is forgotten", []step{
			opened,
			{do: ends(EndFinished), deeds: []deed{deedBeat}, phase: phaseEnded, report: reports(StatusTerminated, 2)},
			{do: (*machine).disconnected, phase: phaseAbsent},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(testRules)
			at := testStart
			for i, s := range tt.steps {
				at = at.Add(s.after)
				var deeds []deed
				for _, a := range s.do(m, at) {
					deeds = append(deeds, a.deed)
				}
				if diff := cmp.Diff(s.deeds, deeds); diff != "" {
					t.Fatalf("step %d: deeds (-want +got):\n%s", i, diff)
				}
				if got := m.channels["c"].phase; got != s.phase {
					t.Fatalf("step %d: phase %v, want %v", i, got, s.phase)
				}
				sent := m.sent
				if diff := cmp.Diff(s.report, m.report()); diff != "" {
					t.Fatalf("step %d: report (-want +got):\n%s", i, diff)
				}
				m.sent = sent
			}
		})
	}
}
