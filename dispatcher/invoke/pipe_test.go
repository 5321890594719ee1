package invoke

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
)

// pipes is a network within the process: what dials it reaches who listens.
// It lets whole minutes pass at once under synctest.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	dialed atomic.Int64
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		p.dialed.Add(1)
		return near, nil
	case <-p.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// served makes a target whose requests handler answers; both end with the
// test.
func served(t *testing.T, connections int, handler http.HandlerFunc) (Target, *pipes) {
	t.Helper()
	network := newPipes()
	server := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(network) }()
	target, err := NewHTTP(HTTPConfig{URL: "http://user:geheim@function/path?key=geheim", MaxConnections: connections, DialContext: network.DialContext})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := target.Close(context.Background()); err != nil {
			t.Error(err)
		}
		_ = server.Close()
		<-done
	})
	return target, network
}

// answering makes a target at whose other end each connection is handed to
// serve once a whole request has been read from it, as often as one comes.
func answering(t *testing.T, serve func(request int, c net.Conn)) Target {
	t.Helper()
	network := newPipes()
	done := make(chan struct{})
	go func() {
		defer close(done)
		request := 0
		for {
			c, err := network.Accept()
			if err != nil {
				return
			}
			reader := bufio.NewReader(c)
			for {
				r, err := http.ReadRequest(reader)
				if err != nil {
					break
				}
				_, _ = io.Copy(io.Discard, r.Body)
				request++
				serve(request, c)
			}
			_ = c.Close()
		}
	}()
	target, err := NewHTTP(HTTPConfig{URL: "http://function/", DialContext: network.DialContext})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := target.Close(context.Background()); err != nil {
			t.Error(err)
		}
		_ = network.Close()
		<-done
	})
	return target
}
