package tunnel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// TunnelType says what a tunnel delivers. The numbers are the service's.
type TunnelType int

const (
	BaseData      TunnelType = 1 // the rows that are there when it is made
	Stream        TunnelType = 2 // the changes from then on
	BaseAndStream TunnelType = 3 // the first, then the second
)

// String is the type as the service writes it.
func (t TunnelType) String() string {
	switch t {
	case BaseData:
		return "BaseData"
	case Stream:
		return "Stream"
	case BaseAndStream:
		return "BaseAndStream"
	}
	return fmt.Sprintf("TunnelType(%d)", int(t))
}

// ParseTunnelType reads what [TunnelType.String] writes.
func ParseTunnelType(s string) (TunnelType, error) {
	for t := BaseData; t <= BaseAndStream; t++ {
		if t.String() == s {
			return t, nil
		}
	}
	return 0, fmt.Errorf("tunnel type %q is none of BaseData, Stream and BaseAndStream", s)
}

// StreamOptions say which part of a table's changes a tunnel delivers. The
// zero value is all that come after the tunnel was made.
type StreamOptions struct {
	// Start is the time from which changes are delivered, as far back as the
	// table's stream goes. Zero: see Earliest.
	Start time.Time
	// Earliest, without a Start, begins with the oldest change that the
	// table's stream still has, instead of with the next one.
	Earliest bool
	// End is the time at which the tunnel is read to its end. Zero: never.
	End time.Time
}

func (o StreamOptions) proto() *tunnelpb.StreamTunnelConfig {
	if o == (StreamOptions{}) {
		return nil
	}
	pb := new(tunnelpb.StreamTunnelConfig)
	switch {
	case !o.Start.IsZero():
		pb.StartOffset = new(uint64(o.Start.UnixNano()))
	case o.Earliest:
		pb.Flag = tunnelpb.StartOffsetFlag_EARLIEST.Enum()
	default:
		pb.Flag = tunnelpb.StartOffsetFlag_LATEST.Enum()
	}
	if !o.End.IsZero() {
		pb.EndOffset = new(uint64(o.End.UnixNano()))
	}
	return pb
}

func streamOptions(pb *tunnelpb.StreamTunnelConfig) StreamOptions {
	return StreamOptions{
		Start:    fromNanoseconds(int64(pb.GetStartOffset())),
		Earliest: pb.GetFlag() == tunnelpb.StartOffsetFlag_EARLIEST,
		End:      fromNanoseconds(int64(pb.GetEndOffset())),
	}
}

// fromNanoseconds reads 0, which the service writes for "never", as the zero
// time.
func fromNanoseconds(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// control is a call about a tunnel as a whole.
func (c *Client) control(op, path, tunnelID string) call {
	return call{op: op, path: path, tunnel: tunnelID, schedule: c.retry.Other}
}

// CreateTunnelRequest makes a tunnel on a table. Table, Tunnel and Type are
// required.
type CreateTunnelRequest struct {
	Table, Tunnel string
	Type          TunnelType
	Stream        StreamOptions // not for BaseData
}

// CreateTunnelResponse names the tunnel that was made.
type CreateTunnelResponse struct {
	TunnelID string
}

// CreateTunnel makes a tunnel. The error is [CodeTunnelExist] when there is
// one of that name. With [Error.MayHaveBeenApplied] it may be that an earlier
// attempt of this very call made it: DescribeTunnel shows what is there.
func (c *Client) CreateTunnel(ctx context.Context, r CreateTunnelRequest) (CreateTunnelResponse, error) {
	in := &tunnelpb.CreateTunnelRequest{Tunnel: &tunnelpb.Tunnel{
		TableName:          &r.Table,
		TunnelName:         &r.Tunnel,
		TunnelType:         tunnelpb.TunnelType(r.Type).Enum(),
		StreamTunnelConfig: r.Stream.proto(),
	}}
	var out tunnelpb.CreateTunnelResponse
	if err := c.ask(ctx, c.control("CreateTunnel", "/tunnel/create", ""), in, &out); err != nil {
		return CreateTunnelResponse{}, err
	}
	return CreateTunnelResponse{TunnelID: out.GetTunnelId()}, nil
}

// DeleteTunnelRequest names a tunnel.
type DeleteTunnelRequest struct {
	Table, Tunnel string
}

// DeleteTunnel deletes a tunnel and its checkpoints. If an attempt's answer
// was lost, the next may find the tunnel gone and say so: see
// [Error.MayHaveBeenApplied].
func (c *Client) DeleteTunnel(ctx context.Context, r DeleteTunnelRequest) error {
	in := &tunnelpb.DeleteTunnelRequest{TableName: &r.Table, TunnelName: &r.Tunnel}
	return c.ask(ctx, c.control("DeleteTunnel", "/tunnel/delete", ""), in, new(tunnelpb.DeleteTunnelResponse))
}

// TunnelInfo is what the service tells of a tunnel.
type TunnelInfo struct {
	ID, Name  string
	Type      TunnelType // 0 if the service names one that is not known here
	Table     string
	Instance  string
	StreamID  string
	Stage     string // InitBaseDataAndStreamShard, ProcessBaseData or ProcessStream
	Expired   bool   // incremental data that it has yet to read is gone
	Public    bool
	Stream    StreamOptions
	CreatedAt time.Time // zero if the service does not tell
}

func tunnelInfo(pb *tunnelpb.TunnelInfo) TunnelInfo {
	t, _ := ParseTunnelType(pb.GetTunnelType())
	return TunnelInfo{
		ID:        pb.GetTunnelId(),
		Name:      pb.GetTunnelName(),
		Type:      t,
		Table:     pb.GetTableName(),
		Instance:  pb.GetInstanceName(),
		StreamID:  pb.GetStreamId(),
		Stage:     pb.GetStage(),
		Expired:   pb.GetExpired(),
		Public:    pb.GetPublic(),
		Stream:    streamOptions(pb.GetStreamTunnelConfig()),
		CreatedAt: fromNanoseconds(pb.GetCreateTime()),
	}
}

// ListTunnelRequest names a table.
type ListTunnelRequest struct {
	Table string
}

// ListTunnelResponse is a table's tunnels.
type ListTunnelResponse struct {
	Tunnels []TunnelInfo
}

// ListTunnel lists the tunnels of a table.
func (c *Client) ListTunnel(ctx context.Context, r ListTunnelRequest) (ListTunnelResponse, error) {
	in := &tunnelpb.ListTunnelRequest{TableName: &r.Table}
	var out tunnelpb.ListTunnelResponse
	if err := c.ask(ctx, c.control("ListTunnel", "/tunnel/list", ""), in, &out); err != nil {
		return ListTunnelResponse{}, err
	}
	var resp ListTunnelResponse
	for _, t := range out.GetTunnels() {
		resp.Tunnels = append(resp.Tunnels, tunnelInfo(t))
	}
	return resp, nil
}

// DescribeTunnelRequest names a tunnel.
type DescribeTunnelRequest struct {
	Table, Tunnel string
}

// DescribeTunnelResponse is a tunnel and its channels.
type DescribeTunnelResponse struct {
	Tunnel   TunnelInfo
	Channels []ChannelInfo
	// Consumed is the time up to which changes have been consumed, by the
	// slowest channel; zero while none have. The service documents the time
	// but not its unit, which is taken to be nanoseconds as in all times of
	// this API.
	Consumed time.Time
}

// ChannelInfo is what the service tells of a channel.
type ChannelInfo struct {
	ID       string
	Type     string    // BaseData or Stream
	Status   string    // WAIT, OPEN, CLOSING, CLOSE or TERMINATED
	ClientID string    // the client that consumes it, if one does
	Consumed time.Time // as in DescribeTunnelResponse; not for base data
	Count    int64     // records delivered, as the service counts
}

// DescribeTunnel tells of a tunnel and its channels.
func (c *Client) DescribeTunnel(ctx context.Context, r DescribeTunnelRequest) (DescribeTunnelResponse, error) {
	in := &tunnelpb.DescribeTunnelRequest{TableName: &r.Table, TunnelName: &r.Tunnel}
	var out tunnelpb.DescribeTunnelResponse
	if err := c.ask(ctx, c.control("DescribeTunnel", "/tunnel/describe", ""), in, &out); err != nil {
		return DescribeTunnelResponse{}, err
	}
	resp := DescribeTunnelResponse{
		Tunnel:   tunnelInfo(out.GetTunnel()),
		Consumed: fromNanoseconds(out.GetTunnelRpo()),
	}
	for _, ch := range out.GetChannels() {
		resp.Channels = append(resp.Channels, ChannelInfo{
			ID:       ch.GetChannelId(),
			Type:     ch.GetChannelType(),
			Status:   ch.GetChannelStatus(),
			ClientID: ch.GetClientId(),
			Consumed: fromNanoseconds(ch.GetChannelRpo()),
			Count:    ch.GetChannelCount(),
		})
	}
	return resp, nil
}

// GetRpoRequest names a tunnel by its id. Limit bounds the channels that are
// told of, as the service understands it; 0 leaves it to the service.
type GetRpoRequest struct {
	TunnelID string
	Limit    int
}

// Rpo is how far something has been consumed. The numbers are the service's:
// it documents no units.
type Rpo struct {
	ChannelType string `json:"ChannelTyp"` // BaseData or Stream
	Status      string
	TotalCount  int64
	AccessTime  int64
	RpoTime     int64
}

// GetRpoResponse tells how far a tunnel has been consumed.
type GetRpoResponse struct {
	TunnelID string
	// Clients holds each client's channels, by client id and channel id.
	Clients map[string]map[string]Rpo
	// Types holds the sums by channel type, BaseData and Stream; their
	// ChannelType is empty.
	Types map[string]Rpo
}

// GetRpo tells how far each client has consumed its channels.
func (c *Client) GetRpo(ctx context.Context, r GetRpoRequest) (GetRpoResponse, error) {
	return c.getRpo(ctx, "GetRpo", "/tunnel/getrpo", r)
}

// GetRpoByOffset is [Client.GetRpo] by another of the service's measures.
func (c *Client) GetRpoByOffset(ctx context.Context, r GetRpoRequest) (GetRpoResponse, error) {
	return c.getRpo(ctx, "GetRpoByOffset", "/tunnel/getrpobyoffset", r)
}

func (c *Client) getRpo(ctx context.Context, op, path string, r GetRpoRequest) (GetRpoResponse, error) {
	in := &tunnelpb.GetRpoRequest{TunnelId: &r.TunnelID}
	if r.Limit != 0 {
		in.Limit = new(int32(r.Limit))
	}
	var resp GetRpoResponse
	err := c.do(ctx, c.control(op, path, r.TunnelID), in, func(body []byte) error {
		var out tunnelpb.GetRpoResponse
		if err := proto.Unmarshal(body, &out); err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		resp = GetRpoResponse{TunnelID: out.GetTunnelId()}
		return errors.Join(
			fromJSON(out.GetRpoInfos(), &resp.Clients),
			fromJSON(out.GetTunnelRpoInfos(), &resp.Types),
		)
	})
	if err != nil {
		return GetRpoResponse{}, err
	}
	return resp, nil
}

// fromJSON decodes a field that holds JSON, or nothing.
func fromJSON(text []byte, into any) error {
	if len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// ScheduleRequest asks the service to change the state of channels: CLOSING
// suspends one, OPEN resumes it, TERMINATED ends it.
type ScheduleRequest struct {
	TunnelID string
	Channels []HeartbeatChannel // their versions are not looked at
}

// Schedule changes the state of channels.
func (c *Client) Schedule(ctx context.Context, r ScheduleRequest) error {
	in := &tunnelpb.ScheduleRequest{TunnelId: &r.TunnelID, Channels: channelsProto(r.Channels)}
	return c.ask(ctx, c.control("Schedule", "/tunnel/schedule", r.TunnelID), in, new(tunnelpb.ScheduleResponse))
}
