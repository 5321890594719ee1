// Package state is the ledger: which batches of which channel are in flight,
// or settled ahead of the channel's checkpoint, and who owns the channel.
//
// The ledger is never the source of a position: the tunnel's checkpoint is.
// A ledger that is empty, lost or behind means that records are delivered
// again, never that one is lost.
//
// Every operation is one atomic script and one round trip; each checks the
// owner's nonce and epoch, and may run twice and change nothing the second
// time.
package state

import (
	"context"
	"errors"
	"time"
)

// ErrAbsent says that the ledger does not know the channel (any more): it
// was flushed, or failed over to a server that had not heard of it. The
// owner writes its state back with Attach (Attachment.Restore).
var ErrAbsent = errors.New("the ledger does not know this channel")

// ErrForeign says that the channel has another owner. Whoever is told so
// stops working on it.
var ErrForeign = errors.New("the channel has another owner in the ledger")

// ErrUnavailable wraps every failure to reach the ledger's server; what was
// asked may or may not have been done, and may be asked again.
var ErrUnavailable = errors.New("the ledger cannot be reached")

// ErrSchema says that the ledger was written by a newer Culvert.
var ErrSchema = errors.New("the ledger has a newer schema than this program")

// Channel names a channel. Both parts are ids, not names: a tunnel made anew
// does not inherit.
type Channel struct {
	Tunnel  string // the tunnel's id
	Channel string // the channel's id
}

// Owner is one attachment of one process to one channel.
type Owner struct {
	Channel
	Nonce string // random, per process
	Epoch int64  // rises by one with each attachment of the channel
}

// Lane names an ordered queue within a channel.
type Lane struct {
	Trigger string
	Index   int // 0 to the trigger's parallel, exclusive
}

// Mark names a record by position and fingerprint. Position is text and is
// only compared for equality: scripts never count with it.
type Mark struct {
	Position    string // epoch:timestamp:row index in hexadecimal; for base data, the encoded key
	Fingerprint uint64
}

// Batch is a lane's batch in flight.
type Batch struct {
	ID      string
	First   Mark
	Last    Mark
	Count   int    // records in its span, from First to Last
	Digest  uint64 // over the fingerprints of the span, in order
	Settled []byte // a bit per record of the span (bit i%8 of byte i/8); nil: none is settled
	Attempt int    // 1 and up
	// Timeout is how long after its beginning the attempt may still have an
	// effect: the deadline that the entry keeps is the server's now plus it.
	// It is rounded up to a millisecond.
	Timeout time.Duration
	// Unanswered, in a Begin, says that the caller's attempt before this one
	// got no answer: its deadline goes on to hold up the lane's next batch. An
	// attempt of a former owner counts as unanswered in any case.
	Unanswered bool
}

// LaneState is what the ledger holds of one lane.
type LaneState struct {
	Lane      Lane
	Watermark *Mark  // the last record settled; nil: none
	InFlight  *Batch // begun and not settled; nil: none
	// Former says that a former owner began InFlight, and this one did not
	// begin it again. After an Attach that is so wherever InFlight is.
	Former bool
	// Wait is how long, from the answer on, an unanswered attempt of InFlight,
	// or of an earlier batch of the lane, may still have an effect. In a
	// Restore, that of an own batch in flight (not Former) is what is left of
	// its attempt's Timeout.
	Wait time.Duration
}

// AttachRequest claims a channel.
type AttachRequest struct {
	Channel Channel
	Version int64  // the channel's, from the heartbeat; a lower one than the ledger knows is foreign
	Nonce   string // the process's
	// Layouts are the caller's, per trigger. A trigger's replaces the former
	// one only if none of the trigger's lanes holds a watermark or a batch in
	// flight: those were made under the former layout, and a later owner must
	// still be able to read them. Who has emptied them attaches again.
	Layouts map[string]string
	// Restore, when not nil, is the state of an owner that was told
	// ErrAbsent: it is written only where nothing is there, under Epoch, and
	// fails with ErrForeign if somebody else attached meanwhile.
	Restore []LaneState
	Epoch   int64 // with Restore: the owner's own
}

// Attachment is the answer: the claim, and what the former owner left.
type Attachment struct {
	Owner   Owner
	Layouts map[string]string // as the former owner wrote them; nil: there was none
	Lanes   []LaneState
}

// Began answers a Begin.
type Began struct {
	// Wait is how long the caller must let pass before it invokes: until then
	// an unanswered attempt of another batch of the lane may still have an
	// effect. Zero for most.
	Wait time.Duration
}

// Settlement settles a lane's batch in flight.
type Settlement struct {
	Lane    Lane
	BatchID string
	Last    Mark // becomes the lane's watermark; ignored with Remainder
	// Unanswered says that the batch's last attempt got no answer: its
	// deadline goes on to hold up the lane's next batch.
	Unanswered bool
	// Remainder, when not nil, is begun in the same script, in place of the
	// batch and with the same span: what a partial success leaves. The
	// watermark stays.
	Remainder *Batch
}

// Ledger keeps the batches in flight. All methods may be called from many
// goroutines and block until the server has answered or ctx ends; calls that
// wait at the same time share a round trip. Errors wrap ErrAbsent,
// ErrForeign, ErrInFlight, ErrSchema or ErrUnavailable, or the context's
// error; those about arguments that make no sense wrap none of them.
type Ledger interface {
	// Attach claims a channel for the caller and fences every earlier owner,
	// also an earlier attachment of the caller's. It keeps what the ledger
	// holds of the channel and returns it.
	Attach(ctx context.Context, r AttachRequest) (Attachment, error)

	// Begin notes that an attempt of b is about to start in lane. The same id
	// again replaces attempt and deadline; the same attempt again, of a caller
	// that could not start in time, renews the deadline. Another id while one
	// that this owner began is in flight is refused with ErrInFlight. One that
	// a former owner left is replaced, and the answer says how long it may
	// still have an effect.
	Begin(ctx context.Context, o Owner, lane Lane, b Batch) (Began, error)

	// Settle notes that the lane's batch in flight is settled. Settling a
	// batch that is settled already changes nothing, and so does settling one
	// that the ledger lost: it is delivered again. A remainder needs no wait:
	// it is what is left of the same batch.
	Settle(ctx context.Context, o Owner, s Settlement) error

	// Trim forgets the watermarks of lanes whose settled records the
	// channel's committed checkpoint covers. A lane whose watermark is no
	// longer the one given has moved on and is left alone.
	Trim(ctx context.Context, o Owner, lanes map[Lane]Mark) error

	// Release gives the channel up; watermarks, batches in flight and the
	// deadlines of what was not answered stay for the next owner. With end set
	// the channel is at its end and they are deleted; who owned it last stays
	// known, so that an earlier owner is still foreign. Releasing what is
	// released already changes nothing.
	Release(ctx context.Context, o Owner, end bool) error

	// Ping reports whether the server can be reached and is fit to be a
	// ledger, and says in a warning (empty: none) what weakens its promises.
	Ping(ctx context.Context) (warning string, err error)

	// Close ends the connections. Calls under way fail with ErrUnavailable.
	Close() error
}

// ErrInFlight says that a lane has another batch in flight. It marks a bug or
// a lost settlement, never ordinary work.
var ErrInFlight = errors.New("the lane has another batch in flight")
