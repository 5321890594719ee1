package plainbuffer

import (
	"errors"
	"fmt"
)

// The kinds of [Error], to be asked for with [errors.Is].
var (
	// ErrMalformed: the input is not PlainBuffer, or not what the caller
	// asked for. Nothing was decoded.
	ErrMalformed = errors.New("malformed PlainBuffer")

	// ErrTruncated: the input ends in the middle of a row, or a length
	// reaches beyond its end. It is also an ErrMalformed.
	ErrTruncated = fmt.Errorf("truncated: %w", ErrMalformed)

	// ErrChecksum: the row is well-formed and was decoded completely, but a
	// checksum differs from its content.
	ErrChecksum = errors.New("PlainBuffer checksum differs")
)

// Error says what is wrong with an input, and where.
type Error struct {
	Kind   error  // ErrMalformed, ErrTruncated or ErrChecksum
	Offset int    // into the input, in bytes
	Detail string // for people; it holds no names or values of the row
}

func (e *Error) Error() string {
	return fmt.Sprintf("%v at byte %d: %s", e.Kind, e.Offset, e.Detail)
}

// Unwrap gives the kind.
func (e *Error) Unwrap() error { return e.Kind }

// fatal says whether e, which may be nil, ended the decoding.
func (e *Error) fatal() bool { return e != nil && !errors.Is(e.Kind, ErrChecksum) }

func malformed(offset int, format string, args ...any) *Error {
	return &Error{Kind: ErrMalformed, Offset: offset, Detail: fmt.Sprintf(format, args...)}
}

func truncated(offset int, in string) *Error {
	return &Error{Kind: ErrTruncated, Offset: offset, Detail: "the input ends inside " + in}
}

func mismatch(offset int, of string, stored, computed byte) *Error {
	return &Error{Kind: ErrChecksum, Offset: offset,
		Detail: fmt.Sprintf("the %s's checksum is %#x, its content's %#x", of, stored, computed)}
}
