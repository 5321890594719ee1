package state

import (
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Failure says that the ledger's server could not be reached, or refused. It
// wraps [ErrUnavailable] and the cause, and never holds a password.
type Failure struct {
	Operation string // attach, begin, settle, trim, release, ping
	Subject   string // channel and lane, as far as there is one
	Address   string // the server's host:port, or "embedded"
	Hint      string // what the operator can do; empty if nothing is known
	Err       error
}

func (f *Failure) Error() string {
	s := "ledger: " + f.Operation
	if f.Subject != "" {
		s += " " + f.Subject
	}
	s += ": Redis at " + f.Address + ": " + f.Err.Error()
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	return s
}

// Unwrap gives ErrUnavailable and the cause.
func (f *Failure) Unwrap() []error { return []error{ErrUnavailable, f.Err} }

// refusal is an owner's call that the channel's state does not allow.
func refusal(op operation, subject string, kind error, detail string) error {
	if detail != "" {
		detail = " (" + detail + ")"
	}
	return fmt.Errorf("ledger: %v %s: %w%s", op, subject, kind, detail)
}

// isServerError tells an error that the server answered from one on the way.
func isServerError(err error) bool {
	_, answered := errors.AsType[redis.Error](err)
	return answered
}

// hint says what the operator can do about a failure of the server.
func hint(err error) string {
	switch {
	case errors.Is(err, redis.ErrClosed):
		return "the ledger was closed"
	case redis.IsAuthError(err):
		return "check the user and the password in ledger.redis"
	case redis.IsPermissionError(err):
		return "the user in ledger.redis may not run this: allow it @scripting, @hash, @keyspace, @connection, info and time on the keys culvert:*"
	case redis.IsOOMError(err):
		return "it has reached its maxmemory: give it more, or remove other keys; no batch begins until then"
	case redis.IsReadOnlyError(err):
		return "it is a replica: ledger.redis must name the primary"
	case redis.IsLoadingError(err):
		return "it is still reading its data"
	case redis.HasErrorPrefix(err, "MISCONF"):
		return "it cannot write its data to disk: see its log"
	case redis.HasErrorPrefix(err, "MOVED"), redis.HasErrorPrefix(err, "CROSSSLOT"):
		return "it is a cluster, which is not supported: name a single server or the primary of a replicated one"
	case redis.IsMaxClientsError(err):
		return "raise its maxclients"
	case isServerError(err):
		return ""
	}
	return "check that it runs, that ledger.redis names it and that no firewall is in between"
}
