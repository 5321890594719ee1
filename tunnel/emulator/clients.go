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
	c := &client{id: newID(), tag: q.GetClientConfig().GetClientTag(), timeout: timeout, seen: time.Now()}
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
	c.seen = time.Now()
	for _, report := range q.GetChannels() {
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
	n.assign()

	answer := &tunnelpb.HeartbeatResponse{}
	for _, ch := range n.channels {
		if !ch.lease.held(c.id) {
			continue
		}
		status := tunnelpb.ChannelStatus_OPEN
		if ch.state == closing {
			status = tunnelpb.ChannelStatus_CLOSING
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
	return answer, nil
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
