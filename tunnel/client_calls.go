package tunnel

import (
	"context"
	"fmt"
	"time"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// ChannelStatus is a channel's state in a heartbeat. The numbers are the
// service's.
type ChannelStatus int

const (
	StatusOpen       ChannelStatus = 1 // consumed by a client
	StatusClosing    ChannelStatus = 2 // being taken away from its client
	StatusClose      ChannelStatus = 3 // given back
	StatusTerminated ChannelStatus = 4 // read to its end
)

// String is the state as the service writes it.
func (s ChannelStatus) String() string {
	switch s {
	case StatusOpen:
		return "OPEN"
	case StatusClosing:
		return "CLOSING"
	case StatusClose:
		return "CLOSE"
	case StatusTerminated:
		return "TERMINATED"
	}
	return fmt.Sprintf("ChannelStatus(%d)", int(s))
}

// HeartbeatChannel is a channel as client and service tell each other of it.
// Of two that differ, the one of the higher version holds.
type HeartbeatChannel struct {
	ID      string
	Version int64
	Status  ChannelStatus
}

func channelsProto(channels []HeartbeatChannel) []*tunnelpb.Channel {
	var pbs []*tunnelpb.Channel
	for _, ch := range channels {
		pbs = append(pbs, &tunnelpb.Channel{
			ChannelId: &ch.ID,
			Version:   &ch.Version,
			Status:    tunnelpb.ChannelStatus(ch.Status).Enum(),
		})
	}
	return pbs
}

// ConnectRequest makes this process a client of a tunnel.
type ConnectRequest struct {
	TunnelID string
	// Timeout is how long the client may be silent before the service drops
	// it. It is sent in whole seconds, rounded up.
	Timeout   time.Duration
	ClientTag string // a name for people, such as the host's
}

// ConnectResponse names the client.
type ConnectResponse struct {
	ClientID string
}

// Connect makes a client. If an attempt's answer was lost, the service may
// know a client more than there is, until its Timeout has passed.
func (c *Client) Connect(ctx context.Context, r ConnectRequest) (ConnectResponse, error) {
	in := &tunnelpb.ConnectRequest{
		TunnelId: &r.TunnelID,
		ClientConfig: &tunnelpb.ClientConfig{
			Timeout:   new(int64((r.Timeout + time.Second - 1) / time.Second)),
			ClientTag: &r.ClientTag,
		},
	}
	var out tunnelpb.ConnectResponse
	if err := c.ask(ctx, c.control("Connect", "/tunnel/connect", r.TunnelID), in, &out); err != nil {
		return ConnectResponse{}, err
	}
	return ConnectResponse{ClientID: out.GetClientId()}, nil
}

// HeartbeatRequest says that the client lives, and what it holds.
type HeartbeatRequest struct {
	TunnelID, ClientID string
	Channels           []HeartbeatChannel
}

// HeartbeatResponse is what the client should hold.
type HeartbeatResponse struct {
	Channels []HeartbeatChannel
}

// Heartbeat tells the service what the client holds and learns what it should
// hold. The error is [CodeResourceGone] when the service has dropped the
// client.
func (c *Client) Heartbeat(ctx context.Context, r HeartbeatRequest) (HeartbeatResponse, error) {
	in := &tunnelpb.HeartbeatRequest{TunnelId: &r.TunnelID, ClientId: &r.ClientID, Channels: channelsProto(r.Channels)}
	var out tunnelpb.HeartbeatResponse
	k := c.control("Heartbeat", "/tunnel/heartbeat", r.TunnelID)
	k.client = r.ClientID
	if err := c.ask(ctx, k, in, &out); err != nil {
		return HeartbeatResponse{}, err
	}
	var resp HeartbeatResponse
	for _, ch := range out.GetChannels() {
		resp.Channels = append(resp.Channels, HeartbeatChannel{
			ID:      ch.GetChannelId(),
			Version: ch.GetVersion(),
			Status:  ChannelStatus(ch.GetStatus()),
		})
	}
	return resp, nil
}

// ShutdownRequest names a client.
type ShutdownRequest struct {
	TunnelID, ClientID string
}

// Shutdown ends a client, so that the service hands its channels to others
// without waiting for its time-out. If an attempt's answer was lost, the next
// may find the client gone: [CodeResourceGone].
func (c *Client) Shutdown(ctx context.Context, r ShutdownRequest) error {
	in := &tunnelpb.ShutdownRequest{TunnelId: &r.TunnelID, ClientId: &r.ClientID}
	k := c.control("Shutdown", "/tunnel/shutdown", r.TunnelID)
	k.client = r.ClientID
	return c.ask(ctx, k, in, new(tunnelpb.ShutdownResponse))
}
