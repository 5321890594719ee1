package emulator

import "github.com/culvertio/culvert/tunnel/tunnelpb"

// schedule moves channels as an operator asks: all of them, or none if one
// cannot be. What clients do not know yet they are told at their next
// heartbeat.
//
//   - CLOSING suspends a channel: it is asked back from its holder and handed
//     out to nobody.
//   - OPEN resumes it. If its holder has not given it back yet, it is the
//     holder's again. A channel that waits for its parents waits on.
//   - TERMINATED ends it where it stands: its holder has it no more, and its
//     children open.
//
// The versions in the request do not count, as the official client says.
func (e *Emulator) schedule(q *tunnelpb.ScheduleRequest) (*tunnelpb.ScheduleResponse, error) {
	n, err := e.tunnelByID(q.GetTunnelId())
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.update(); err != nil {
		return nil, err
	}
	for _, asked := range q.GetChannels() {
		ch, ok := n.byID[asked.GetChannelId()]
		if !ok {
			return nil, failf(codeParameterInvalid, "The tunnel %s has no channel %s.", n.id, asked.GetChannelId())
		}
		switch asked.GetStatus() {
		case tunnelpb.ChannelStatus_OPEN, tunnelpb.ChannelStatus_CLOSING, tunnelpb.ChannelStatus_TERMINATED:
		default:
			return nil, failf(codeParameterInvalid, "A channel is scheduled OPEN, CLOSING or TERMINATED, not %v.", asked.GetStatus())
		}
		if ch.state == terminated && asked.GetStatus() != tunnelpb.ChannelStatus_TERMINATED {
			return nil, failf(codeParameterInvalid, "The channel %s is TERMINATED, which is for good.", ch.id)
		}
		if asked.GetStatus() == tunnelpb.ChannelStatus_TERMINATED && e.Switches().ScheduleRefusesTerminated {
			return nil, failf(codeParameterInvalid, "A channel cannot be set TERMINATED: only its reader ends it.")
		}
	}
	for _, asked := range q.GetChannels() {
		ch := n.byID[asked.GetChannelId()]
		to, suspended := ch.lease.scheduled(asked.GetStatus(), ch.suspended)
		ch.suspended = suspended
		if to != ch.lease {
			if to.state == terminated {
				ch.told = ch.lease.client
			}
			n.move(ch, to)
		}
	}
	n.assign()
	return &tunnelpb.ScheduleResponse{}, nil
}

// scheduled gives the lease after Schedule asked for a status, and whether it
// is suspended then. It is not TERMINATED, or nothing changes.
func (l lease) scheduled(status tunnelpb.ChannelStatus, suspended bool) (lease, bool) {
	switch status {
	case tunnelpb.ChannelStatus_CLOSING:
		if l.state == open {
			l.state, l.version = closing, l.version+1
		}
		return l, true
	case tunnelpb.ChannelStatus_OPEN:
		// What is asked back for another client's sake is not ours to give.
		if suspended && l.state == closing {
			l.state, l.version = open, l.version+1
		}
	case tunnelpb.ChannelStatus_TERMINATED:
		if l.state != terminated {
			l = lease{state: terminated, version: l.version + 1}
		}
	}
	return l, false
}
