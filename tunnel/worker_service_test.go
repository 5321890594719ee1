package tunnel_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// service speaks the part of the tunnel API that workers use, over
// connections in memory. It says what a test tells it to.
type service struct {
	began time.Time

	mu          sync.Mutex
	listing     []tunnel.HeartbeatChannel // what heartbeats are answered
	faults      map[string][]fault        // by path, used up one by one
	hung        map[string]chan struct{}  // channels whose GetCheckpoint hangs
	checkpoints map[string]checkpoint
	clients     int
	connects    []*tunnelpb.ConnectRequest
	seen        []seen
}

// seen is a call that arrived.
type seen struct {
	Path     string
	At       time.Duration // since the test began
	Client   string
	Channels []tunnel.HeartbeatChannel
}

type checkpoint struct {
	token    string
	sequence int64
}

// fault is what happens to a call instead of an answer.
type fault struct {
	code     tunnel.Code // answered, and nothing is done
	cut      bool        // done, but the connection breaks before the answer
	takeOver *checkpoint // somebody else commits this first
	slow     time.Duration
}

// newService starts a service and a client for it. The test runs in a bubble.
func newService(t *testing.T) (*service, *tunnel.Client) {
	t.Helper()
	s := &service{
		began:       time.Now(),
		faults:      make(map[string][]fault),
		hung:        make(map[string]chan struct{}),
		checkpoints: make(map[string]checkpoint),
	}
	listener := &pipes{dialed: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: s, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() { _ = server.Serve(listener) }()
	transport := &http.Transport{DialContext: listener.dial, MaxIdleConnsPerHost: 100}
	client, err := tunnel.NewClient(tunnel.ClientConfig{
		Endpoint:    "http://service",
		Instance:    "local",
		Credentials: tunnel.StaticCredentials("id", "secret", ""),
		HTTPClient:  &http.Client{Transport: transport},
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
	})
	return s, client
}

// pipes is a listener whose connections are pipes.
type pipes struct {
	dialed chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.dialed:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.dialed <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// lists sets what heartbeats are answered from now on.
func (s *service) lists(channels ...tunnel.HeartbeatChannel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listing = channels
}

// fails lets the next calls of path fail, one by one.
func (s *service) fails(path string, faults ...fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[path] = append(s.faults[path], faults...)
}

// heals forgets the faults that have not happened yet.
func (s *service) heals(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.faults, path)
}

// hang lets the channel's GetCheckpoint wait until the end of the request.
func (s *service) hang(channel string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hung[channel] = make(chan struct{})
}

// calls returns what arrived at path, or at all paths.
func (s *service) calls(path string) []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	var calls []seen
	for _, c := range s.seen {
		if path == "" || c.Path == path {
			calls = append(calls, c)
		}
	}
	return calls
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	var f fault
	if faults := s.faults[r.URL.Path]; len(faults) > 0 {
		f, s.faults[r.URL.Path] = faults[0], faults[1:]
	}
	s.mu.Unlock()
	if f.slow > 0 {
		select {
		case <-time.After(f.slow):
		case <-r.Context().Done():
			return
		}
	}

	answer, err := s.answer(r, body, f)
	switch {
	case f.cut:
		panic(http.ErrAbortHandler)
	case f.code != "":
		answer = &tunnelpb.Error{Code: proto.String(string(f.code)), Message: proto.String("told to")}
		status := http.StatusBadRequest
		if f.code == tunnel.CodeServerUnavailable {
			status = http.StatusServiceUnavailable
		}
		w.WriteHeader(status)
	case err != nil:
		answer = &tunnelpb.Error{Code: proto.String(err.Error()), Message: proto.String("refused")}
		w.WriteHeader(http.StatusBadRequest)
	}
	if out, err := proto.Marshal(answer); err == nil {
		_, _ = w.Write(out)
	}
}

func decode(body []byte, req proto.Message) {
	if err := proto.Unmarshal(body, req); err != nil {
		panic(err)
	}
}

func (s *service) answer(r *http.Request, body []byte, f fault) (proto.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	call := seen{Path: r.URL.Path, At: time.Since(s.began)}
	defer func() { s.seen = append(s.seen, call) }()
	refused := f.code != ""

	switch r.URL.Path {
	case "/tunnel/connect":
		req := new(tunnelpb.ConnectRequest)
		decode(body, req)
		if !refused {
			s.clients++
		}
		s.connects = append(s.connects, req)
		return &tunnelpb.ConnectResponse{ClientId: proto.String(fmt.Sprintf("client-%d", s.clients))}, nil

	case "/tunnel/heartbeat":
		req := new(tunnelpb.HeartbeatRequest)
		decode(body, req)
		call.Client = req.GetClientId()
		for _, c := range req.GetChannels() {
			call.Channels = append(call.Channels, tunnel.HeartbeatChannel{
				ID: c.GetChannelId(), Version: c.GetVersion(), Status: tunnel.ChannelStatus(c.GetStatus()),
			})
		}
		resp := new(tunnelpb.HeartbeatResponse)
		for _, c := range s.listing {
			resp.Channels = append(resp.Channels, &tunnelpb.Channel{
				ChannelId: proto.String(c.ID),
				Version:   proto.Int64(c.Version),
				Status:    tunnelpb.ChannelStatus(c.Status).Enum(),
			})
		}
		return resp, nil

	case "/tunnel/shutdown":
		req := new(tunnelpb.ShutdownRequest)
		decode(body, req)
		call.Client = req.GetClientId()
		return new(tunnelpb.ShutdownResponse), nil

	case "/tunnel/getcheckpoint":
		req := new(tunnelpb.GetCheckpointRequest)
		decode(body, req)
		if hung := s.hung[req.GetChannelId()]; hung != nil {
			s.mu.Unlock()
			select {
			case <-hung:
			case <-r.Context().Done():
			}
			s.mu.Lock()
		}
		kept := s.checkpoints[req.GetChannelId()]
		return &tunnelpb.GetCheckpointResponse{
			Checkpoint:     proto.String(kept.token),
			SequenceNumber: proto.Int64(kept.sequence),
		}, nil

	case "/tunnel/checkpoint":
		req := new(tunnelpb.CheckpointRequest)
		decode(body, req)
		id := req.GetChannelId()
		if f.takeOver != nil {
			s.checkpoints[id] = *f.takeOver
		}
		if refused {
			return nil, nil
		}
		if req.GetSequenceNumber() != s.checkpoints[id].sequence+1 {
			return nil, tunnel.CodeSequenceNumberNotMatch
		}
		s.checkpoints[id] = checkpoint{token: req.GetCheckpoint(), sequence: req.GetSequenceNumber()}
		return new(tunnelpb.CheckpointResponse), nil

	case "/tunnel/readrecords":
		return &tunnelpb.ReadRecordsResponse{NextToken: proto.String("next")}, nil
	}
	return nil, tunnel.CodeParameterInvalid
}
