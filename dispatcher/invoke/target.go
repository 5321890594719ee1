// Package invoke is where a batch goes: an HTTP endpoint or handler processes
// on this machine. A target makes one attempt and says how it went; it never
// retries, so that attempts are counted in one place.
package invoke

import (
	"context"
	"time"
)

// Invocation is one attempt of a batch.
type Invocation struct {
	Payload     []byte // owned by the caller; not kept after Invoke returns
	ContentType string // application/json or application/cbor
	BatchID     string
	Attempt     int // 1 and up
	Trigger     string
}

// Class says how an attempt went, and so what may happen next.
type Class int

const (
	// Done: the function ran and answered. Answer holds what it said.
	Done Class = iota
	// FunctionFailed: the function ran and failed, or answered what no
	// function may.
	FunctionFailed
	// TimedOut: the deadline passed before an answer. The function may still be
	// running.
	TimedOut
	// Throttled: the target had no room; the function did not run.
	Throttled
	// Unreachable: no connection, or a failure in front of the function; it
	// did not run.
	Unreachable
	// MayHaveRun: the connection broke after the request was sent.
	MayHaveRun
	// Broken: the function is missing, forbidden or does not start.
	Broken
	// Refused: the target will never take this payload (too large, malformed).
	Refused
)

// Result is what an attempt brought.
type Result struct {
	Class      Class
	Answer     []byte        // with Done: the function's answer, possibly empty
	Err        error         // nil only with Done
	RetryAfter time.Duration // the target's own wish; zero: none
	RequestID  string        // the target's, for its logs; may be empty
	LogTail    string        // the end of what the function printed, where the target tells
}

// Target takes batches to one function. Implementations may be called from
// many goroutines.
type Target interface {
	// Invoke makes one attempt and blocks until it is answered or ctx's
	// deadline has passed. ctx must have a deadline.
	Invoke(ctx context.Context, in Invocation) Result
	// Close ends what Invoke uses, after the attempts under way have been
	// answered or ctx has ended.
	Close(ctx context.Context) error
}
