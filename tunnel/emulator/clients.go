package emulator

import (
	"slices"
	"strings"
	"time"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// The calls by which a client comes, stays and goes.

func (e *Emulator) connect(q *tunnelpb.ConnectRequest) (*tunnelpb.ConnectResponse, error) {
	n, err := e.tunnelByID(q.GetTunnelId())
	if err != nil {
		return nil, err
	}
	timeout := e.config.ClientTimeout
	if s := q.GetClientConfig().GetTimeout(); s != 0 {
		if s < int64(minClientTimeout/time.Second) || s > int64(maxClientTimeout/time.Second) {
			return nil, failf(codeParameterInvalid, "The client's timeout is %d seconds, must be 1 to %d.", s, maxClientTimeout/time.Second)
		}
		timeout = time.Duration(s) * time.Second
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.update(); err != nil {
		return nil, err
	}
	c := &client{
		id: newID(), tag: q.GetClientConfig().GetClientTag(), timeout: timeout, seen: time.Now(),
		served: !e.Switches().HandOutAtHeartbeat,
	}
	n.clients = append(n.clients, c)
	n.logger.Info("client connected", "client", c.id, "tag", c.tag, "timeout", timeout)
	n.assign()
	return &tunnelpb.ConnectResponse{ClientId: &c.id}, nil
}

// heartbeat takes what the client holds and answers with what it should hold.
func (e *Emulator) heartbeat(q *tunnelpb.HeartbeatRequest) (*tunnelpb.HeartbeatResponse, error) {
	n, err := e.tunnelByID(q.GetTunnelId())
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.update(); err != nil {
		return nil, err
	}
	c, err := n.client(q.GetClientId())
	if err != nil {
		return nil, err
	}
	now := time.Now()
	switches := e.Switches()
	if c.early(now) {
		switch switches.EarlyHeartbeats {
		case EarlyIgnored:
			c.seen = now
			return c.answer, nil
		case EarlyThrottled:
			return nil, failf(codeTunnelUnavailable, "The heartbeat of client %s is too early: the last one was %v ago.", c.id, now.Sub(c.taken))
		}
	}
	c.seen, c.taken, c.served = now, now, true
	n.take(c, q.GetChannels())
	n.assign()
	if switches.ClosingReopens {
		n.reopen(c, q.GetChannels())
	}
	c.answer = n.answer(c, switches)
	return c.answer, nil
}

// early says whether a heartbeat of now is an early one. A client's first is
// not.
func (c *client) early(now time.Time) bool {
	return !c.taken.IsZero() && now.Sub(c.taken) < min(c.timeout/10, maxEarly)
}

// maxEarly bounds how soon after another a heartbeat is early: the official
// workers' shortest interval.
const maxEarly = 5 * time.Second

// take takes what a client reports of its channels.
func (n *tunnel) take(c *client, reports []*tunnelpb.Channel) {
	for _, ch := range n.channels {
		named := func(r *tunnelpb.Channel) bool { return r.GetChannelId() == ch.id }
		if ch.told == c.id && !slices.ContainsFunc(reports, named) {
			ch.told = ""
		}
	}
	for _, report := range reports {
		ch, ok := n.byID[report.GetChannelId()]
		if !ok {
			continue
		}
		l, changed := ch.reported(c.id, report.GetVersion(), report.GetStatus())
		if !changed {
			continue
		}
		if l.state == terminated && ch.checkpoint != finished {
			n.logger.Warn("channel reported TERMINATED before its end was committed", "channel", ch.id, "client", c.id)
		}
		n.move(ch, l)
	}
}

// reopen calls off the asking back of those channels that a client knows it is
// to give back, and has not: every other time.
func (n *tunnel) reopen(c *client, reports []*tunnelpb.Channel) {
	for _, report := range reports {
		ch, ok := n.byID[report.GetChannelId()]
		if !ok || ch.state != closing || !ch.lease.held(c.id) || report.GetVersion() != ch.version {
			continue
		}
		if !ch.reopened {
			ch.reopened = true
			n.move(ch, ch.lease.calledOff())
		}
	}
}

// omittedAt is which answer leaves out a channel, counted from when the channel
// was handed out, if any does.
const omittedAt = 5

// answer lists the channels that a client should hold.
func (n *tunnel) answer(c *client, switches Switches) *tunnelpb.HeartbeatResponse {
	answer := &tunnelpb.HeartbeatResponse{}
	for _, ch := range n.channels {
		var status tunnelpb.ChannelStatus
		switch {
		case ch.told == c.id && switches.TerminatedIsTold:
			status = tunnelpb.ChannelStatus_TERMINATED
		case !ch.lease.held(c.id):
			continue
		case ch.state == closing:
			status = tunnelpb.ChannelStatus_CLOSING
		default:
			status = tunnelpb.ChannelStatus_OPEN
			if ch.answers++; ch.answers == omittedAt && switches.OpenUnlisted {
				continue
			}
		}
		answer.Channels = append(answer.Channels, &tunnelpb.Channel{
			ChannelId: &ch.id,
			Version:   new(ch.version),
			Status:    status.Enum(),
		})
	}
	slices.SortFunc(answer.Channels, func(a, b *tunnelpb.Channel) int {
		return strings.Compare(a.GetChannelId(), b.GetChannelId())
	})
	return answer
}

func (e *Emulator) shutdown(q *tunnelpb.ShutdownRequest) (*tunnelpb.ShutdownResponse, error) {
	n, err := e.tunnelByID(q.GetTunnelId())
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	// A client of an expired tunnel may go.
	_ = n.update()
	c, err := n.client(q.GetClientId())
	if err != nil {
		return nil, err
	}
	n.logger.Info("client shut down", "client", c.id)
	n.drop(c)
	n.assign()
	return &tunnelpb.ShutdownResponse{}, nil
}
