package tunnel

import (
	"fmt"
	"strings"
)

// Code is what the service calls an error. It is an error itself, so that
// errors.Is(err, CodeResourceGone) works on whatever a [Client] returns. A
// code that is not listed here is kept as the service wrote it.
type Code string

// The codes that the Tunnel Service documents.
const (
	CodeParameterInvalid       Code = "OTSParameterInvalid"
	CodeResourceGone           Code = "OTSResourceGone" // the client, or its channel, is no longer known
	CodeServerUnavailable      Code = "OTSTunnelServerUnavailable"
	CodeSequenceNumberNotMatch Code = "OTSSequenceNumberNotMatch"
	CodeTunnelExpired          Code = "OTSTunnelExpired" // the incremental data it needs is gone
	CodePermissionDenied       Code = "OTSPermissionDenied"
	CodeTunnelExist            Code = "OTSTunnelExist"
)

// Codes of all of Tablestore, for access and for things that are not there.
const (
	CodeAuthFailed         Code = "OTSAuthFailed" // a bad key, signature, instance or clock
	CodeNoPermissionAccess Code = "OTSNoPermissionAccess"
	CodeObjectNotExist     Code = "OTSObjectNotExist"
)

// CodeClientError is made here: an answer that is not the service's, or that
// makes no sense.
const CodeClientError Code = "OTSClientError"

// Error is the code as the service writes it.
func (c Code) Error() string { return string(c) }

// Error is how every call of a [Client] fails. What it wraps tells more:
// errors.Is finds its [Code], context.Canceled and context.DeadlineExceeded
// when the caller's context ended, [ErrMalformed] and [ErrNoCredentials].
// [Retryable] and [Fatal] judge it.
type Error struct {
	Op         string // the call, as the service names it
	Code       Code   // empty when no answer came; Err says why
	Message    string // the service's, as one line of at most 512 bytes or so
	HTTPStatus int    // 0 when no answer came

	// What the call was about, as far as it has them, and the service's name
	// for the request, which its operators ask for.
	RequestID, TunnelID, ChannelID, ClientID string

	Hint string // what the operator can do; may be empty
	Err  error  // the cause, when it is not an answer of the service

	where   where
	applied bool
}

// where says how far a request came that failed. Its zero value is that of
// an error that says only its code.
type where uint8

const (
	answered  where = iota // the service refused: Code says why
	byGateway              // something else answered, in plain text
	unsent                 // it was never sent: no credentials, or the context had ended
	dialing                // no connection came about
	exchange               // it was sent, in part at least, and no whole answer came
	malformed              // an answer of success that makes no sense
)

// Error is one line: the call, what went wrong, the ids, the hint.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Code != "" {
		b.WriteString(": ")
		b.WriteString(string(e.Code))
	}
	if e.Message != "" {
		b.WriteString(": ")
		b.WriteString(e.Message)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	sep := " ("
	for _, id := range []struct{ name, value string }{
		{"tunnel", e.TunnelID},
		{"channel", e.ChannelID},
		{"client", e.ClientID},
		{"request", e.RequestID},
	} {
		if id.value != "" {
			b.WriteString(sep + id.name + " " + id.value)
			sep = ", "
		}
	}
	if e.HTTPStatus != 0 {
		fmt.Fprintf(&b, "%sHTTP %d", sep, e.HTTPStatus)
		sep = ", "
	}
	if sep == ", " {
		b.WriteByte(')')
	}
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is says whether target is the error's [Code].
func (e *Error) Is(target error) bool {
	c, ok := target.(Code)
	return ok && c == e.Code && c != ""
}

// MayHaveBeenApplied says whether the service may have done what was asked
// although the call failed: an attempt was sent and its answer was lost, made
// no sense, or blamed the server. It looks at every attempt of the call, not
// only at the last: a Checkpoint whose first attempt the server failed and
// whose second it refused with [CodeSequenceNumberNotMatch] may have been
// applied by the first.
func (e *Error) MayHaveBeenApplied() bool { return e.applied }

// hint says what the operator can do about e, given what the client knows of
// itself.
func (c *Client) hint(e *Error, accessKeyID string) string {
	switch e.Code {
	case CodeAuthFailed:
		return fmt.Sprintf("check the secret of access key %s (from %s), that it may use instance %q, that %s is that instance's endpoint, and this machine's clock",
			accessKeyID, origin(c.credentials), c.instance, c.endpoint)
	case CodePermissionDenied, CodeNoPermissionAccess:
		return fmt.Sprintf("access key %s (from %s) lacks the right to %s on instance %q: grant it, or use another key",
			accessKeyID, origin(c.credentials), e.Op, c.instance)
	case CodeParameterInvalid, CodeObjectNotExist:
		return fmt.Sprintf("check that instance %q at %s has this table and this tunnel; a tunnel that was deleted and made anew has another id",
			c.instance, c.endpoint)
	case CodeTunnelExpired:
		return "the table's stream no longer keeps what this tunnel has yet to read, and no retry brings it back: delete the tunnel, create it anew, and think of a longer expiration of the table's stream"
	case CodeTunnelExist:
		return "use the tunnel that is there, or choose another name"
	case CodeSequenceNumberNotMatch:
		return "another client has committed to this channel since its checkpoint was read"
	}
	switch e.where {
	case byGateway, malformed:
		return fmt.Sprintf("the answer is not the Tunnel Service's: check that %s is the endpoint and what stands before it", c.endpoint)
	case dialing:
		return fmt.Sprintf("nothing can be reached at %s: check the endpoint, that the service runs, and the network", c.endpoint)
	}
	return ""
}
