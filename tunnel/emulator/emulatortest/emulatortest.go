// Package emulatortest gives a Go test a Tablestore of its own, in one line:
//
//	server := emulatortest.Start(t, emulator.Config{})
//
// is an [emulator.Emulator] behind a listener on the loopback interface, at
// server.Endpoint, until the test has ended. [Pipe] is the same without a
// socket, for tests that run in a bubble of testing/synctest: there a
// heartbeat timeout of five minutes passes at once, and every run is alike.
//
// Tables are made and rows written with the methods of the emulator, or with
// any Tablestore client. Tunnels are read with package tunnel:
//
//	client, err := tunnel.NewClient(tunnel.ClientConfig{
//		Endpoint:    server.Endpoint,
//		Instance:    "local",
//		Credentials: tunnel.StaticCredentials("id", "secret", ""),
//		HTTPClient:  server.Client,
//	})
//
// Give its Processor or Worker a HeartbeatGap of a millisecond: a stop waits
// for the gap, and the default, which suits the service, is 5 s. A whole test,
// to be copied, is in docs/emulator.md.
//
// Or with the official SDK, whose two packages take the transport:
//
//	tunnel.NewTunnelClientWithConfig(server.Endpoint, "local", "id", "secret",
//		&tunnel.TunnelConfig{Transport: server.Client.Transport})
//	tablestore.NewClientWithConfig(server.Endpoint, "local", "id", "secret", "",
//		&tablestore.TableStoreConfig{Transport: server.Client.Transport})
//
// Without credentials in the configuration every access key is accepted.
package emulatortest

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/culvertio/culvert/tunnel/emulator"
)

// Server is an emulator that can be reached over HTTP until its test ends.
type Server struct {
	*emulator.Emulator
	// Endpoint is what clients are configured with. The control API is below
	// it, at /emulator/.
	Endpoint string
	// Client reaches the endpoint. Nothing else does, if [Pipe] made it.
	Client *http.Client
}

// Start serves an emulator on a free port of 127.0.0.1. When the test has
// ended, connections are closed and the server's goroutines have returned.
func Start(t testing.TB, c emulator.Config) *Server {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("emulatortest: %v", err)
	}
	return serve(t, c, listener, "http://"+listener.Addr().String(), new(net.Dialer).DialContext)
}

// Pipe serves an emulator without a socket: every connection of Client is a
// [net.Pipe]. All of it may run in a bubble of testing/synctest, where Pipe
// must then be called too.
func Pipe(t testing.TB, c emulator.Config) *Server {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	return serve(t, c, p, "http://emulator.test", p.dial)
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

func serve(t testing.TB, c emulator.Config, listener net.Listener, endpoint string, dial dialer) *Server {
	t.Helper()
	e, err := emulator.New(c)
	if err != nil {
		_ = listener.Close() // nobody has used it
		t.Fatalf("emulatortest: %v", err)
	}
	transport := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64}
	server := &http.Server{Handler: handler(e), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // ends with Close
	t.Cleanup(func() {
		_ = server.Close() // of the listener, which has nothing to say
		transport.CloseIdleConnections()
		serving.Wait()
		_ = e.Close() // never fails
	})
	return &Server{Emulator: e, Endpoint: endpoint, Client: &http.Client{Transport: transport}}
}

// handler is the emulator with its control API.
func handler(e *emulator.Emulator) http.Handler {
	control := e.Control()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/emulator/") {
			control.ServeHTTP(w, r)
			return
		}
		e.ServeHTTP(w, r)
	})
}

// pipes is a listener whose connections are pipes within the process.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, &net.OpError{Op: "dial", Net: network, Addr: p.Addr(), Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept waits for a connection.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, io.EOF
	}
}

// Close ends Accept and dial.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr is no address that could be dialed otherwise.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "emulator.test", Net: "pipe"} }
