package tunnel

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrTakenOver says that a channel has another owner by now: the service no
// longer knows this client, or a checkpoint was written that is not ours.
// Nothing mends it but a fresh start, so Consume ends with [EndLost].
var ErrTakenOver = errors.New("the channel has been taken over")

// baseDataPrefix begins the id of a channel that carries the full data.
const baseDataPrefix = "BaseData_"

// channelCalls are the calls that a channel's consumer makes.
type channelCalls interface {
	GetCheckpoint(ctx context.Context, req GetCheckpointRequest) (GetCheckpointResponse, error)
	Checkpoint(ctx context.Context, req CheckpointRequest) error
	ReadRecords(ctx context.Context, req ReadRecordsRequest) (*Page, error)
}

// Channel is one channel while this client holds it. A [Worker] makes it and
// hands it to [Consumer.Consume]; it is of no use once Consume has returned.
//
// GetCheckpoint and Commit share what they know of the checkpoint: one
// goroutine at a time may be in either. Read may be called beside them.
type Channel struct {
	calls    channelCalls
	tunnelID string
	clientID string
	id       string
	version  int64
	draining chan struct{}

	known   bool        // committed is what the service told or took
	last    commitment  // the newest checkpoint known to be ours
	unclear *commitment // sent, and nobody knows whether it arrived
}

// commitment is a checkpoint as the service keeps it.
type commitment struct {
	token    string
	sequence int64
}

func newChannel(calls channelCalls, tunnelID, clientID, id string, version int64) *Channel {
	return &Channel{
		calls:    calls,
		tunnelID: tunnelID,
		clientID: clientID,
		id:       id,
		version:  version,
		draining: make(chan struct{}),
	}
}

// view returns a channel that tells what this one does, but makes no call:
// a [Processor] reads and commits by itself.
func (c *Channel) view() *Channel {
	return &Channel{
		calls:    refusing{},
		tunnelID: c.tunnelID,
		clientID: c.clientID,
		id:       c.id,
		version:  c.version,
		draining: c.draining,
	}
}

var errProcessed = errors.New("the processor alone reads this channel and commits")

// refusing makes no call.
type refusing struct{}

func (refusing) GetCheckpoint(context.Context, GetCheckpointRequest) (GetCheckpointResponse, error) {
	return GetCheckpointResponse{}, errProcessed
}
func (refusing) Checkpoint(context.Context, CheckpointRequest) error { return errProcessed }
func (refusing) ReadRecords(context.Context, ReadRecordsRequest) (*Page, error) {
	return nil, errProcessed
}

// ID is the channel's id.
func (c *Channel) ID() string { return c.id }

// Version is the channel's version when it was handed to this consumer. It
// grows whenever the channel changes hands.
func (c *Channel) Version() int64 { return c.version }

// TunnelID is the id of the channel's tunnel.
func (c *Channel) TunnelID() string { return c.tunnelID }

// ClientID is the id under which the worker is connected.
func (c *Channel) ClientID() string { return c.clientID }

// IsBaseData says whether the channel carries the full data rather than
// changes: its records have no positions.
func (c *Channel) IsBaseData() bool { return strings.HasPrefix(c.id, baseDataPrefix) }

// Draining is closed when the service wants the channel back, or the worker
// stops: finish what has begun, commit, return [EndDrained].
func (c *Channel) Draining() <-chan struct{} { return c.draining }

// GetCheckpoint returns the token at which to start reading, [Finished] for a
// channel that has been read to its end. It remembers the sequence number
// that Commit continues, so call it before the first Commit.
//
// The error is [ErrTakenOver] if the service no longer knows this client.
func (c *Channel) GetCheckpoint(ctx context.Context) (token string, err error) {
	kept, err := c.kept(ctx)
	if err != nil {
		return "", err
	}
	c.known, c.last, c.unclear = true, kept, nil
	return kept.token, nil
}

// Read returns the page that begins at token. The error is [ErrTakenOver] if
// the service no longer knows this client; any other is worth another try as
// far as [Retryable] says so.
func (c *Channel) Read(ctx context.Context, token string) (*Page, error) {
	page, err := c.calls.ReadRecords(ctx, ReadRecordsRequest{
		TunnelID: c.tunnelID, ClientID: c.clientID, ChannelID: c.id, Token: token,
	})
	return page, c.judge(err)
}

// Commit makes token the channel's checkpoint: everything before it is
// settled. Each commit has the number after the last one's. Commit is not safe
// for concurrent use.
//
// When an answer is lost, or the service refuses the number, Commit asks for
// the checkpoint: exactly our token and number mean that the commit arrived.
// The former token and number mean that it did not, and Commit returns the
// first error. Anything else is [ErrTakenOver]: a foreign number is never
// adopted. If it cannot be found out, Commit returns both errors; the next
// Commit finds out first.
func (c *Channel) Commit(ctx context.Context, token string) error {
	if !c.known {
		return fmt.Errorf("commit %s: the checkpoint has not been read", c.where())
	}
	if c.unclear != nil {
		arrived, err := c.findOut(ctx)
		if err != nil {
			return err
		}
		if arrived && c.last.token == token {
			return nil
		}
	}

	next := commitment{token: token, sequence: c.last.sequence + 1}
	err := c.calls.Checkpoint(ctx, CheckpointRequest{
		TunnelID: c.tunnelID, ClientID: c.clientID, ChannelID: c.id,
		Checkpoint: next.token, SequenceNumber: next.sequence,
	})
	refused := errors.Is(err, CodeSequenceNumberNotMatch)
	switch {
	case err == nil:
		c.last = next
		return nil
	case !refused && !inDoubt(err):
		return c.judge(err)
	}

	c.unclear = &next
	arrived, doubt := c.findOut(ctx)
	switch {
	case doubt != nil:
		return fmt.Errorf("%w; what was asked about: %w", doubt, err)
	case arrived:
		return nil
	case refused:
		// The service keeps our last commit and yet refuses the number after
		// it: whoever is meant, it is not us.
		return c.takenOver(err)
	}
	return err
}

// findOut asks what became of the unclear commit.
func (c *Channel) findOut(ctx context.Context) (arrived bool, err error) {
	kept, err := c.kept(ctx)
	if err != nil {
		return false, err
	}
	switch kept {
	case *c.unclear:
		c.last, c.unclear = kept, nil
		return true, nil
	case c.last:
		c.unclear = nil
		return false, nil
	}
	return false, c.takenOver(fmt.Errorf("the checkpoint is %q, number %d; ours was %q, number %d",
		kept.token, kept.sequence, c.unclear.token, c.unclear.sequence))
}

// kept is the checkpoint as the service has it now.
func (c *Channel) kept(ctx context.Context) (commitment, error) {
	resp, err := c.calls.GetCheckpoint(ctx, GetCheckpointRequest{
		TunnelID: c.tunnelID, ClientID: c.clientID, ChannelID: c.id,
	})
	if err != nil {
		return commitment{}, c.judge(err)
	}
	return commitment{token: resp.Checkpoint, sequence: resp.SequenceNumber}, nil
}

// judge turns an error that means a lost client into ErrTakenOver.
func (c *Channel) judge(err error) error {
	if errors.Is(err, CodeResourceGone) {
		return c.takenOver(err)
	}
	return err
}

func (c *Channel) takenOver(cause error) error {
	return fmt.Errorf("%s: %w: %w", c.where(), ErrTakenOver, cause)
}

func (c *Channel) where() string {
	return fmt.Sprintf("channel %s of tunnel %s, client %s", c.id, c.tunnelID, c.clientID)
}

// inDoubt says whether a call that failed may have had its effect.
func inDoubt(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.MayHaveBeenApplied()
}
