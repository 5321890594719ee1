package tunnel

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
)

// memoryNet carries connections between a client and a server of one process,
// inside a synctest bubble: no socket, no real time.
type memoryNet struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once

	mu    sync.Mutex
	dials int
	fail  func(dial int) error // if not nil: what becomes of the dial numbered from 1
}

func newMemoryNet() *memoryNet {
	return &memoryNet{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (m *memoryNet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	m.mu.Lock()
	m.dials++
	n, fail := m.dials, m.fail
	m.mu.Unlock()
	if fail != nil {
		if err := fail(n); err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Addr: m.Addr(), Err: err}
		}
	}
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-m.done:
		return nil, &net.OpError{Op: "dial", Net: network, Addr: m.Addr(), Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memoryNet) dialed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dials
}

func (m *memoryNet) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memoryNet) Close() error   { m.close.Do(func() { close(m.done) }); return nil }
func (m *memoryNet) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// clientOf makes a client of a server that answers with handler. It is to be
// called in a synctest bubble.
func clientOf(t *testing.T, handler http.HandlerFunc, changes ...func(*ClientConfig)) (*Client, *memoryNet) {
	t.Helper()
	mem := newMemoryNet()
	transport := newTransport()
	transport.DialContext = mem.dial
	transport.Proxy = nil
	cfg := ClientConfig{
		Endpoint:    "http://tunnel.test",
		Instance:    "local",
		Credentials: StaticCredentials("LTAI5t", "s3cr3t", ""),
		HTTPClient:  &http.Client{Transport: transport},
		Logger:      slog.New(slog.DiscardHandler),
	}
	for _, change := range changes {
		change(&cfg)
	}
	client, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(mem) })
	t.Cleanup(func() {
		_ = server.Close()
		transport.CloseIdleConnections()
		serving.Wait()
	})
	return client, mem
}

// cut ends the connection in the middle of an answer.
func cut(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush()
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// consume reads the request, as a server must before it may answer over a
// connection without buffers.
func consume(r *http.Request) []byte {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil
	}
	return body
}
