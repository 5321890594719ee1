package store

import (
	"errors"
	"fmt"
	"runtime/debug"

	bolterrors "go.etcd.io/bbolt/errors"
)

// What an [Error] may wrap.
var (
	ErrHeld    = errors.New("another process, or another store of this one, holds it")
	ErrNewer   = errors.New("a newer program wrote it")
	ErrForeign = errors.New("this program cannot read it")
	ErrCorrupt = errors.New("it is damaged")
	ErrClosed  = errors.New("it has been closed")
)

// Error says what failed on which file, and why.
type Error struct {
	Operation string // open, load, write, copy or close
	Path      string
	Err       error
}

func (e *Error) Error() string {
	return fmt.Sprintf("store: %s %s: %v%s", e.Operation, e.Path, e.Err, e.hint())
}

func (e *Error) Unwrap() error { return e.Err }

// hint says what to do about it.
func (e *Error) hint() string {
	switch {
	case errors.Is(e.Err, ErrHeld):
		return ": stop it, or take another directory"
	case errors.Is(e.Err, ErrNewer), errors.Is(e.Err, ErrForeign):
		return ": take a program of the version that wrote it, or another directory"
	case errors.Is(e.Err, ErrCorrupt):
		return ": nothing was written to it; bring back a copy, or take another directory"
	case e.Operation == "write":
		return ": what was not acknowledged may be lost; restart when the disk takes writes again"
	}
	return ""
}

// fault makes an *Error of whatever an operation failed with.
func (s *Store) fault(operation string, err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		err = ErrHeld
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return &Error{Operation: operation, Path: s.path, Err: err}
}

// corrupt is an ErrCorrupt that says what is wrong.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}

// Corrupt is the error of a file whose values are as they were written, and
// make no sense. what says which one.
func (s *Store) Corrupt(what string) error { return s.fault("load", corrupt("%s", what)) }

// guarded runs f, which reads the file through the library. A file that was
// cut off or overwritten makes it panic, or fault on the memory that the file
// is mapped to.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = corrupt("%v", r)
		}
	}()
	return f()
}
