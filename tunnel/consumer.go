package tunnel

import (
	"context"
	"fmt"
)

// End says how the consumption of a channel ended, and so what the next
// heartbeat tells the service of it.
type End int

const (
	// EndLost: the channel was taken over, or consuming it failed in a way
	// that only a fresh start mends. It is left out of the heartbeat and
	// opened afresh if the service still lists it OPEN.
	EndLost End = iota
	// EndDrained: asked to drain, everything begun is settled and committed.
	// The channel is reported CLOSE.
	EndDrained
	// EndFinished: the channel was read to its end and Finished is committed.
	// It is reported TERMINATED.
	EndFinished
)

// String is the end's name in logs.
func (e End) String() string {
	switch e {
	case EndLost:
		return "lost"
	case EndDrained:
		return "drained"
	case EndFinished:
		return "finished"
	}
	return fmt.Sprintf("End(%d)", int(e))
}

// Consumer is what a [Worker] hands channels to.
type Consumer interface {
	// Consume works on one channel until it has ended, and says how. The
	// worker calls it in a goroutine of its own for each channel that the
	// service hands to this client, never twice at a time for one channel.
	//
	// When ch.Draining is closed, Consume stops reading, finishes what it has
	// begun, commits and returns EndDrained. When ctx ends it returns at
	// once: the channel belongs to somebody else, or the drain limit passed.
	// A failure that can be retried is retried inside Consume; the error
	// tells why the end is EndLost and is logged by the worker.
	Consume(ctx context.Context, ch *Channel) (End, error)
}
