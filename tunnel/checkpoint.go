package tunnel

import (
	"context"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// GetCheckpointRequest names a channel and the client that consumes it.
type GetCheckpointRequest struct {
	TunnelID, ClientID, ChannelID string
}

// GetCheckpointResponse is how far a channel's work is settled.
type GetCheckpointResponse struct {
	Checkpoint string // the token to read on from; Finished at the channel's end
	// SequenceNumber counts the channel's commits. The next one carries this
	// number plus one.
	SequenceNumber int64
}

// GetCheckpoint reads a channel's checkpoint.
func (c *Client) GetCheckpoint(ctx context.Context, r GetCheckpointRequest) (GetCheckpointResponse, error) {
	in := &tunnelpb.GetCheckpointRequest{TunnelId: &r.TunnelID, ClientId: &r.ClientID, ChannelId: &r.ChannelID}
	var out tunnelpb.GetCheckpointResponse
	k := c.control("GetCheckpoint", "/tunnel/getcheckpoint", r.TunnelID)
	k.client, k.channel = r.ClientID, r.ChannelID
	if err := c.ask(ctx, k, in, &out); err != nil {
		return GetCheckpointResponse{}, err
	}
	return GetCheckpointResponse{Checkpoint: out.GetCheckpoint(), SequenceNumber: out.GetSequenceNumber()}, nil
}

// CheckpointRequest commits a token. SequenceNumber is the one that
// GetCheckpoint gave plus one, and one more each time.
type CheckpointRequest struct {
	TunnelID, ClientID, ChannelID string
	Checkpoint                    string // a token
	SequenceNumber                int64
}

// Checkpoint commits a token: whoever consumes the channel after this begins
// there. The error is [CodeSequenceNumberNotMatch] when the service expects
// another number, which means that the channel has another owner, unless
// [Error.MayHaveBeenApplied]: then an earlier attempt of this very call may
// be what used the number up.
//
// An attempt whose answer was lost is not repeated. With
// [Error.MayHaveBeenApplied], ask GetCheckpoint: exactly this token and
// number means that it was committed.
func (c *Client) Checkpoint(ctx context.Context, r CheckpointRequest) error {
	in := &tunnelpb.CheckpointRequest{
		TunnelId:       &r.TunnelID,
		ClientId:       &r.ClientID,
		ChannelId:      &r.ChannelID,
		Checkpoint:     &r.Checkpoint,
		SequenceNumber: &r.SequenceNumber,
	}
	k := c.control("Checkpoint", "/tunnel/checkpoint", r.TunnelID)
	k.client, k.channel = r.ClientID, r.ChannelID
	k.once = true
	return c.ask(ctx, k, in, new(tunnelpb.CheckpointResponse))
}
