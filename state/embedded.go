package state

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// OpenEmbedded makes a ledger of a Redis server within this process, with
// which it dies: right for one dispatcher on one machine, and for tests. No
// socket is involved, and its clock is the process's, so that it works inside
// a testing/synctest bubble. Close ends it. A nil logger is slog.Default().
func OpenEmbedded(log *slog.Logger) (*Redis, error) {
	server := miniredis.NewMiniRedis()
	// Without this, keys would live for ever.
	server.ClockTTL(true)
	r := OpenMiniredis(server, log)
	r.stop = server.Close
	return r, nil
}

// OpenMiniredis makes a ledger of a miniredis server that the caller owns,
// through connections in memory: for tests that flush, stop or restart it.
func OpenMiniredis(server *miniredis.Miniredis, log *slog.Logger) *Redis {
	const timeout = 30 * time.Second
	r := open(&redis.Options{
		Addr: "embedded",
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			c, err := server.Dial()
			if err != nil {
				return nil, err
			}
			return newWriteBehind(c), nil
		},
		ReadTimeout: timeout, WriteTimeout: timeout,
	}, 8*24*time.Hour, log)
	r.embedded = true
	return r
}

// writeBehind lets Write return before the other end has read. Both ends of a
// net.Pipe block on each other: a server that answers the first script of a
// group, while the client still sends the others, would wait for ever.
type writeBehind struct {
	net.Conn
	writer sync.WaitGroup

	mu     sync.Mutex
	some   *sync.Cond
	queue  []byte
	closed bool
}

func newWriteBehind(c net.Conn) *writeBehind {
	w := &writeBehind{Conn: c}
	w.some = sync.NewCond(&w.mu)
	w.writer.Go(w.write)
	return w
}

// write sends what was queued until the connection is closed or fails.
func (w *writeBehind) write() {
	for {
		w.mu.Lock()
		for len(w.queue) == 0 && !w.closed {
			w.some.Wait()
		}
		bytes, closed := w.queue, w.closed
		w.queue = nil
		w.mu.Unlock()
		if closed {
			return
		}
		if _, err := w.Conn.Write(bytes); err != nil {
			// The reader of this connection meets the same end.
			return
		}
	}
}

func (w *writeBehind) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, net.ErrClosed
	}
	w.queue = append(w.queue, b...)
	w.some.Signal()
	return len(b), nil
}

// SetWriteDeadline does nothing: Write never blocks.
func (w *writeBehind) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline bounds reading.
func (w *writeBehind) SetDeadline(t time.Time) error { return w.SetReadDeadline(t) }

func (w *writeBehind) Close() error {
	w.mu.Lock()
	w.closed = true
	w.some.Signal()
	w.mu.Unlock()
	err := w.Conn.Close()
	w.writer.Wait()
	return err
}
