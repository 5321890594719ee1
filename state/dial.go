package state

import (
	"context"
	"net"
	"time"
)

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// dialLate reports a failed dial at the first use of the connection. Told of
// it at once, go-redis would write it to stderr, and after a few of them not
// dial at all for a second.
func dialLate(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return unreachable{err}, nil
		}
		return c, nil
	}
}

// unreachable is the connection that could not be made.
type unreachable struct{ err error }

func (u unreachable) Read([]byte) (int, error)       { return 0, u.err }
func (u unreachable) Write([]byte) (int, error)      { return 0, u.err }
func (unreachable) Close() error                     { return nil }
func (unreachable) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (unreachable) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (unreachable) SetDeadline(time.Time) error      { return nil }
func (unreachable) SetReadDeadline(time.Time) error  { return nil }
func (unreachable) SetWriteDeadline(time.Time) error { return nil }
