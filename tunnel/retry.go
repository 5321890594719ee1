package tunnel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"syscall"
	"time"
)

// This file alone decides what may be tried again.

// RetryConfig says how long a [Client] tries a call again that failed in a
// way that [Retryable] accepts.
type RetryConfig struct {
	Data  RetrySchedule // ReadRecords. Default 16 ms, up to 3 s, for 75 s
	Other RetrySchedule // all other calls. Default 100 ms, up to 2 s, for 35 s
}

// RetrySchedule is an exponential backoff: each wait is twice the last, and
// then up to a third longer or shorter, at random. A zero field means the
// default.
type RetrySchedule struct {
	First time.Duration // the first wait. At least 1 ms, at most Max
	Max   time.Duration // the longest wait, before chance. At most 10 min
	Total time.Duration // when to give up, from the call's start. Negative: never try again
}

// Factor and jitter are the official clients'.
const (
	retryFactor = 2
	retryJitter = 0.33
)

// wait is the time before the attempt that follows the one numbered n, which
// counts from 0. chance is in [0, 1).
func (s RetrySchedule) wait(n int, chance float64) time.Duration {
	w := s.First
	for range n {
		if w >= s.Max {
			break
		}
		w *= retryFactor
	}
	w = min(w, s.Max)
	return time.Duration(float64(w) * (1 - retryJitter + 2*retryJitter*chance))
}

// next is the wait before the next attempt; false says to give up. elapsed is
// the time since the call began.
func (s RetrySchedule) next(n int, elapsed time.Duration) (time.Duration, bool) {
	w := s.wait(n, rand.Float64())
	return w, s.Total >= 0 && elapsed+w <= s.Total
}

// mayRepeat says whether the client itself makes the call again after e. A
// call that must not be applied twice is repeated only if the service said
// that it failed, or never saw it.
func mayRepeat(e *Error, once bool) bool {
	if once && e.where != answered && e.where != unsent && e.where != dialing {
		return false
	}
	return Retryable(e)
}

// Retryable says whether the same call may succeed later without anybody
// doing anything: the server is unavailable, the network failed, or an answer
// was cut short or made no sense. A [Client] has then already tried for as
// long as its [RetryConfig] says. The end of a context is not retryable.
func Retryable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return lostConnection(err)
	}
	switch e.where {
	case unsent:
		// A provider of credentials that asks over the network.
		return lostConnection(e.Err) || errors.Is(e.Err, ErrCredentialsExpired)
	case dialing, exchange:
		return !wrongPeer(e.Err)
	case malformed:
		return !errors.Is(e.Err, errTooLarge)
	}
	return refusedForNow(e)
}

// Fatal says whether err ends the consumption of a tunnel for good: nothing
// but a change of configuration, rights or the tunnel itself will help. A
// [Worker] then stops.
func Fatal(err error) bool {
	if errors.Is(err, ErrNoCredentials) && !errors.Is(err, ErrCredentialsExpired) {
		return true
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	switch e.Code {
	case CodeParameterInvalid, CodeTunnelExpired, CodePermissionDenied,
		CodeAuthFailed, CodeNoPermissionAccess, CodeObjectNotExist:
		return true
	}
	return false
}

// refusedForNow judges an answer. The Tunnel Service calls only one of its
// own codes temporary; for codes that are not known here, the HTTP status
// says.
func refusedForNow(e *Error) bool {
	switch e.Code {
	case CodeServerUnavailable:
		return true
	case CodeParameterInvalid, CodeResourceGone, CodeSequenceNumberNotMatch, CodeTunnelExpired,
		CodePermissionDenied, CodeTunnelExist, CodeAuthFailed, CodeNoPermissionAccess, CodeObjectNotExist:
		return false
	}
	return blamesServer(e)
}

// blamesServer says that an answer does not show what became of the request.
func blamesServer(e *Error) bool {
	switch e.HTTPStatus {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	}
	return e.HTTPStatus >= 500 || e.Code == CodeServerUnavailable
}

// mayHaveBeenApplied judges one attempt; see [Error.MayHaveBeenApplied].
func mayHaveBeenApplied(e *Error) bool {
	switch e.where {
	case unsent, dialing:
		return false
	case answered, byGateway:
		return blamesServer(e)
	}
	return true
}

// lostConnection says that err comes of a network in trouble.
func lostConnection(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return true
	}
	for _, errno := range []syscall.Errno{
		syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ECONNABORTED, syscall.EPIPE,
		syscall.ETIMEDOUT, syscall.ENETUNREACH, syscall.EHOSTUNREACH,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.IsTemporary || dns.IsTimeout
	}
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

// wrongPeer says that err, which came of dialing or talking, will come again:
// the host does not exist, or is not the one that its certificate names. All
// other such errors are worth another attempt; net/http has some that carry
// no type at all, such as a server that closed an idle connection.
func wrongPeer(err error) bool {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.IsNotFound
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	// A plain-text server behind an https:// endpoint.
	_, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok
}
