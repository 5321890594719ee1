package tunnel

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// This file decides what happens to channels, and does nothing: no call, no
// clock, no goroutine. [rules.next] is the state machine of one channel; a
// [machine] holds one session's channels and spreads each event over them.
// docs/channel-states.md has the diagram and the table.

// phase is where a channel stands in this client.
type phase uint8

const (
	phaseAbsent    phase = iota // nothing is held
	phaseRunning                // a run consumes it
	phaseDraining               // its run was asked to finish
	phaseCancelled              // its run's context has ended; it is no longer ours, but the run has not returned
	phaseLost                   // its run was lost; a later heartbeat decides
	phaseEnded                  // its run gave it back or read it to its end; the service has yet to take note
)

func (p phase) String() string {
	switch p {
	case phaseAbsent:
		return "absent"
	case phaseRunning:
		return "running"
	case phaseDraining:
		return "draining"
	case phaseCancelled:
		return "cancelled"
	case phaseLost:
		return "lost"
	case phaseEnded:
		return "ended"
	}
	return fmt.Sprintf("phase(%d)", uint8(p))
}

// held is the state of one channel in one session. The zero value is a
// channel of which nothing is held.
type held struct {
	phase phase

	// The newest word on the channel: the service's while there is a run,
	// ours once it has ended. Heartbeats report it, as long as the channel is
	// held. A status of 0 is no word: the service does not list it.
	version int64
	status  ChannelStatus

	startedAt time.Time // of the run
	drainBy   time.Time // draining: when the run's context ends
	overdue   bool      // draining: it has ended
	losses    int       // runs in a row that were lost soon
	lostAfter int       // lost: the last heartbeat that was sent before
	retryAt   time.Time // lost: no new run before
}

// hasRun says whether a run of the channel has not returned yet.
func (h held) hasRun() bool {
	return h.phase == phaseRunning || h.phase == phaseDraining || h.phase == phaseCancelled
}

// reported says whether heartbeats name the channel.
func (h held) reported() bool {
	return h.phase == phaseRunning || h.phase == phaseDraining || h.phase == phaseEnded
}

// eventKind is what can happen to a channel.
type eventKind uint8

const (
	eventListed       eventKind = iota // a heartbeat's answer names it
	eventUnlisted                      // a heartbeat's answer does not name it, and it is held
	eventRunEnded                      // Consume returned
	eventSoftStop                      // the worker was asked to stop
	eventDisconnected                  // the client is gone
	eventTick                          // time has passed
)

// event is something that happened to a channel.
type event struct {
	kind     eventKind
	at       time.Time
	beat     int  // the number of the newest heartbeat sent: the one that is answered
	leaving  bool // the worker stops or the client is gone: nothing is started
	version  int64
	status   ChannelStatus
	endOfRun End
}

// deed is what an event asks the worker to do.
type deed uint8

const (
	deedStart  deed = iota // run the consumer, at the channel's version
	deedDrain              // close the run's Draining
	deedCancel             // end the run's context
	deedBeat               // the service waits for news: send a heartbeat early
)

func (d deed) String() string { return [...]string{"start", "drain", "cancel", "beat"}[d] }

// rules are the machine's times.
type rules struct {
	interval time.Duration // between heartbeats
	gap      time.Duration // least time between heartbeats
	drain    time.Duration // how long a run may drain
}

// next is the state machine of one channel. Whatever the service answers,
// there is at most one run at a time: only a channel without a run is started.
func (r rules) next(h held, ev event) (held, []deed) {
	switch ev.kind {
	case eventListed:
		return r.listed(h, ev)
	case eventUnlisted:
		return r.unlisted(h, ev)
	case eventRunEnded:
		return r.ended(h, ev)
	case eventSoftStop:
		switch h.phase {
		case phaseRunning:
			return r.drainRun(h, ev)
		case phaseLost:
			return held{}, nil
		}
	case eventDisconnected:
		if !h.hasRun() {
			return held{}, nil
		}
		return r.cancelRun(h, 0, 0)
	case eventTick:
		if h.phase == phaseDraining && !h.overdue && !ev.at.Before(h.drainBy) {
			h.overdue = true
			return h, []deed{deedCancel}
		}
	}
	return h, nil
}

// listed is the service's word on a channel. The higher version wins; the
// service's own word at an equal version wins too, for the service may change
// its mind without counting, and a word of ours that it did not take note of
// must be said again under a number that it has to.
func (r rules) listed(h held, ev event) (held, []deed) {
	switch h.phase {
	case phaseLost:
		if ev.beat <= h.lostAfter {
			return h, nil // the answer to a heartbeat that still claimed it
		}
		fallthrough
	case phaseAbsent:
		switch ev.status {
		case StatusOpen:
			if ev.leaving {
				return held{}, nil // Shutdown gives it back
			}
			if ev.at.Before(h.retryAt) {
				return h, nil
			}
			return r.startRun(h, ev, ev.version)
		case StatusClosing:
			// It waits for somebody who no longer reads to say so.
			return r.endRun(ev, ev.version, StatusClose)
		}
		return held{}, nil

	case phaseRunning, phaseDraining:
		if ev.version < h.version {
			return h, nil
		}
		switch ev.status {
		case StatusOpen:
			// While it drains: closing was called off. A run cannot be told
			// to go on, so the next one starts when it has returned.
			h.version, h.status = ev.version, ev.status
			return h, nil
		case StatusClosing:
			h.version, h.status = ev.version, ev.status
			if h.phase == phaseDraining {
				return h, nil
			}
			return r.drainRun(h, ev)
		case StatusClose, StatusTerminated:
			// Somebody else's from now on, or nobody's.
			return r.cancelRun(h, ev.version, ev.status)
		}

	case phaseCancelled:
		if h.status == 0 || ev.version >= h.version {
			h.version, h.status = ev.version, ev.status
		}

	case phaseEnded:
		if ev.version < h.version {
			return h, nil // it has not taken note yet
		}
		switch ev.status {
		case StatusOpen:
			if ev.leaving {
				return held{}, nil
			}
			return r.startRun(h, ev, ev.version)
		case StatusClosing:
			// It was asked for while it ended, under the number we took.
			return r.endRun(ev, ev.version, h.status)
		case StatusClose, StatusTerminated:
			if ev.version > h.version {
				return held{}, nil
			}
		}
	}
	return h, nil
}

// unlisted means that the channel is not ours, or no longer.
func (r rules) unlisted(h held, ev event) (held, []deed) {
	switch h.phase {
	case phaseRunning, phaseDraining:
		return r.cancelRun(h, 0, 0)
	case phaseCancelled:
		h.version, h.status = 0, 0
		return h, nil
	case phaseLost:
		if ev.beat <= h.lostAfter {
			return h, nil
		}
	}
	return held{}, nil
}

// ended judges how a run ended.
func (r rules) ended(h held, ev event) (held, []deed) {
	switch h.phase {
	case phaseRunning, phaseDraining:
		switch {
		case ev.endOfRun == EndFinished:
			return r.endRun(ev, h.version, StatusTerminated)
		case ev.endOfRun != EndDrained && !h.overdue:
			return r.loseRun(h, ev)
		case h.phase == phaseDraining && h.status == StatusOpen && !ev.leaving:
			return r.startRun(h, ev, h.version)
		}
		// Drained; or cut short by the drain limit, which is as good: what
		// was not committed is done again by the next owner.
		return r.endRun(ev, h.version, StatusClose)

	case phaseCancelled:
		switch {
		case h.status != StatusOpen && h.status != StatusClosing:
			return held{}, nil
		case ev.endOfRun == EndFinished:
			return r.endRun(ev, h.version, StatusTerminated)
		case h.status == StatusClosing:
			return r.endRun(ev, h.version, StatusClose)
		case ev.leaving:
			return held{}, nil
		}
		return r.startRun(h, ev, h.version)
	}
	return h, nil
}

func (r rules) startRun(h held, ev event, version int64) (held, []deed) {
	return held{
		phase:     phaseRunning,
		version:   version,
		status:    StatusOpen,
		startedAt: ev.at,
		losses:    h.losses,
	}, []deed{deedStart}
}

func (r rules) drainRun(h held, ev event) (held, []deed) {
	h.phase = phaseDraining
	h.drainBy = ev.at.Add(r.drain)
	return h, []deed{deedDrain}
}

func (r rules) cancelRun(h held, version int64, status ChannelStatus) (held, []deed) {
	h.phase = phaseCancelled
	h.version, h.status = version, status
	return h, []deed{deedCancel}
}

// endRun keeps our word on a channel until the service takes note.
func (r rules) endRun(ev event, version int64, status ChannelStatus) (held, []deed) {
	h := held{phase: phaseEnded, version: version + 1, status: status}
	if ev.leaving {
		// The last heartbeat says it for all channels. An early one now
		// would only put that one off, by the gap.
		return h, nil
	}
	return h, []deed{deedBeat}
}

// loseRun leaves a channel out until a later heartbeat's answer names it. The
// first loss costs no more than that; a channel that keeps being lost waits
// longer every time, up to the heartbeat interval.
func (r rules) loseRun(h held, ev event) (held, []deed) {
	if ev.leaving {
		return held{}, nil
	}
	if ev.at.Sub(h.startedAt) > r.interval {
		h.losses = 0
	}
	asked := h.status == StatusClosing
	wait := time.Duration(0)
	if h.losses > 0 {
		wait = min(r.gap<<min(h.losses, 10), r.interval)
	}
	h = held{phase: phaseLost, losses: h.losses + 1, lostAfter: ev.beat, retryAt: ev.at.Add(wait)}
	if h.losses == 1 || asked {
		return h, []deed{deedBeat}
	}
	return h, nil
}

// machine is the channels of one session: of one client, from Connect until
// it is gone.
type machine struct {
	rules    rules
	channels map[string]held
	sent     int  // heartbeats
	leaving  bool // stopped or disconnected
}

// action is a deed for one channel.
type action struct {
	deed    deed
	channel string
	version int64 // start
}

func newMachine(r rules) *machine {
	return &machine{rules: r, channels: make(map[string]held)}
}

// report is what the heartbeat that is sent now says, in order of the ids.
func (m *machine) report() []HeartbeatChannel {
	m.sent++
	var channels []HeartbeatChannel
	for _, id := range m.ids() {
		if h := m.channels[id]; h.reported() {
			channels = append(channels, HeartbeatChannel{ID: id, Version: h.version, Status: h.status})
		}
	}
	return channels
}

// answered takes the answer to the newest heartbeat: all channels that this
// client should hold. Of a channel named twice, the higher version counts.
func (m *machine) answered(at time.Time, answer []HeartbeatChannel) []action {
	answer = slices.Clone(answer)
	slices.SortStableFunc(answer, func(a, b HeartbeatChannel) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(b.Version, a.Version))
	})
	answer = slices.CompactFunc(answer, func(a, b HeartbeatChannel) bool { return a.ID == b.ID })

	var actions []action
	for _, id := range m.ids() {
		named := func(c HeartbeatChannel, id string) int { return cmp.Compare(c.ID, id) }
		if _, ok := slices.BinarySearchFunc(answer, id, named); !ok {
			actions = m.apply(actions, id, event{kind: eventUnlisted, at: at})
		}
	}
	for _, c := range answer {
		actions = m.apply(actions, c.ID, event{kind: eventListed, at: at, version: c.Version, status: c.Status})
	}
	return actions
}

// runEnded takes note that the channel's run has returned.
func (m *machine) runEnded(at time.Time, id string, end End) []action {
	return m.apply(nil, id, event{kind: eventRunEnded, at: at, endOfRun: end})
}

// softStop drains every run and starts no more.
func (m *machine) softStop(at time.Time) []action {
	m.leaving = true
	return m.applyAll(event{kind: eventSoftStop, at: at})
}

// disconnected cancels every run and starts no more.
func (m *machine) disconnected(at time.Time) []action {
	m.leaving = true
	return m.applyAll(event{kind: eventDisconnected, at: at})
}

// tick cancels the runs that have drained too long.
func (m *machine) tick(at time.Time) []action {
	return m.applyAll(event{kind: eventTick, at: at})
}

// wake is when the next tick is due; zero if none is.
func (m *machine) wake() time.Time {
	var due time.Time
	for _, h := range m.channels {
		if h.phase == phaseDraining && !h.overdue && (due.IsZero() || h.drainBy.Before(due)) {
			due = h.drainBy
		}
	}
	return due
}

// runs is the number of runs that have not returned.
func (m *machine) runs() int {
	n := 0
	for _, h := range m.channels {
		if h.hasRun() {
			n++
		}
	}
	return n
}

// owes says whether there are ends of which the service has yet to take note.
func (m *machine) owes() bool {
	for _, h := range m.channels {
		if h.phase == phaseEnded {
			return true
		}
	}
	return false
}

func (m *machine) ids() []string { return slices.Sorted(maps.Keys(m.channels)) }

func (m *machine) applyAll(ev event) []action {
	var actions []action
	for _, id := range m.ids() {
		actions = m.apply(actions, id, ev)
	}
	return actions
}

func (m *machine) apply(actions []action, id string, ev event) []action {
	ev.beat, ev.leaving = m.sent, m.leaving
	h, deeds := m.rules.next(m.channels[id], ev)
	if h == (held{}) {
		delete(m.channels, id)
	} else {
		m.channels[id] = h
	}
	for _, d := range deeds {
		actions = append(actions, action{deed: d, channel: id, version: h.version})
	}
	return actions
}
