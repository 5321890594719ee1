package tunnel_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// shop is an emulator with a table "orders" and a tunnel "feed" on it, in a
// bubble.
type shop struct {
	t        *testing.T
	emulator *emulator.Emulator
	client   *tunnel.Client
	began    time.Time

	mu     sync.Mutex
	calls  map[string][]time.Duration // when each path was called
	refuse func(r *http.Request, w http.ResponseWriter) bool
	log    *logbook
}

func newShop(t *testing.T, c emulator.Config, typ tunnel.TunnelType) *shop {
	t.Helper()
	e, err := emulator.New(c)
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{t: t, emulator: e, began: time.Now(), calls: make(map[string][]time.Duration), log: new(logbook)}
	err = e.CreateTable(emulator.TableSpec{
		Name: "orders", Key: []emulator.KeyColumn{{Name: "id", Type: plainbuffer.String}}, StreamHours: 24,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.client = s.dial(tunnel.StaticCredentials("id", "secret", ""), s)
	_, err = s.client.CreateTunnel(t.Context(), tunnel.CreateTunnelRequest{Table: "orders", Tunnel: "feed", Type: typ})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// dial makes a client of a handler, over connections in memory.
func (s *shop) dial(credentials tunnel.CredentialsProvider, handler http.Handler) *tunnel.Client {
	listener := &pipes{dialed: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	transport := &http.Transport{DialContext: listener.dial, MaxIdleConnsPerHost: 100}
	s.t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		serving.Wait()
		_ = s.emulator.Close()
	})
	client, err := tunnel.NewClient(tunnel.ClientConfig{
		Endpoint: "http://emulator", Instance: "local", Credentials: credentials,
		HTTPClient: &http.Client{Transport: transport},
		Logger:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return client
}

// ServeHTTP notes the call and hands it to the emulator, unless refuse has
// answered.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls[r.URL.Path] = append(s.calls[r.URL.Path], time.Since(s.began))
	refuse := s.refuse
	s.mu.Unlock()
	if refuse != nil && refuse(r, w) {
		return
	}
	s.emulator.ServeHTTP(w, r)
}

// refuses has some calls answered by f: if it returns true.
func (s *shop) refuses(f func(r *http.Request, w http.ResponseWriter) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = f
}

// called is when a path was called.
func (s *shop) called(path string) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls[path])
}

func (s *shop) write(action tunnelpb.ActionType, id string, n int64) {
	s.t.Helper()
	row := plainbuffer.Row{Key: []plainbuffer.Cell{{Name: []byte("id"), Value: plainbuffer.StringValue(id)}}}
	if action != tunnelpb.ActionType_DELETE_ROW {
		row.Columns = []plainbuffer.Cell{{Name: []byte("n"), Value: plainbuffer.IntegerValue(n)}}
	}
	if err := s.emulator.Write("orders", emulator.Change{Action: action, Row: row}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) put(id string, n int64) {
	s.t.Helper()
	s.write(tunnelpb.ActionType_PUT_ROW, id, n)
}

// puts writes rows 0 to n-1, one of each key.
func (s *shop) puts(n int) {
	s.t.Helper()
	for i := range n {
		s.put(fmt.Sprintf("order-%03d", i), int64(i))
	}
}

// reject answers with an error of the service.
func reject(w http.ResponseWriter, r *http.Request, status int, code tunnel.Code) bool {
	_, _ = io.ReadAll(r.Body)
	w.WriteHeader(status)
	out, _ := proto.Marshal(&tunnelpb.Error{Code: new(string(code)), Message: new("told to")})
	_, _ = w.Write(out)
	return true
}

// history is what a callback was given, by key.
type history struct {
	mu     sync.Mutex
	began  time.Time
	byKey  map[string][]string
	times  []time.Duration // of each record
	calls  int
	now    int // callbacks at work
	most   int
	before func(ctx context.Context, ch *tunnel.Channel, records []tunnel.DecodedRecord) error
}

func newHistory() *history { return &history{began: time.Now(), byKey: make(map[string][]string)} }

func (h *history) process(ctx context.Context, ch *tunnel.Channel, records []tunnel.DecodedRecord) error {
	h.mu.Lock()
	h.calls++
	h.now++
	h.most = max(h.most, h.now)
	h.mu.Unlock()
	var err error
	if h.before != nil {
		err = h.before(ctx, ch, records)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now--
	if err != nil {
		return err
	}
	for i := range records {
		r := &records[i]
		id, _ := r.KeyColumn("id")
		text := r.Action.String()
		if n, ok := r.Column("n"); ok {
			text += fmt.Sprint(" ", n.Integer())
		}
		h.byKey[string(id.Bytes())] = append(h.byKey[string(id.Bytes())], text)
		h.times = append(h.times, time.Since(h.began))
	}
	return nil
}

func (h *history) seen() map[string][]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.byKey)
}

func (h *history) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.times)
}

// each is one put of each of n keys, as seen.
func each(n int) map[string][]string {
	want := make(map[string][]string)
	for i := range n {
		want[fmt.Sprintf("order-%03d", i)] = []string{fmt.Sprint("PutRow ", i)}
	}
	return want
}

// consuming is a processor at work.
type consuming struct {
	t         *testing.T
	processor *tunnel.Processor
	cancel    context.CancelFunc
	result    chan error
}

// start has a processor consume the tunnel.
func (s *shop) start(cfg tunnel.ProcessorConfig, process tunnel.Process) *consuming {
	s.t.Helper()
	cfg.Table, cfg.Tunnel = cmp.Or(cfg.Table, "orders"), cmp.Or(cfg.Tunnel, "feed")
	cfg.Logger = slog.New(s.log)
	p, err := tunnel.NewProcessor(s.client, cfg, process)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	c := &consuming{t: s.t, processor: p, cancel: cancel, result: make(chan error, 1)}
	go func() { c.result <- p.Run(ctx) }()
	return c
}

// stop stops softly and waits.
func (c *consuming) stop() {
	c.t.Helper()
	c.cancel()
	if err := <-c.result; err != nil {
		c.t.Errorf("Run: %v", err)
	}
}

// logbook keeps the lines of a log: level, message, attributes.
type logbook struct {
	mu    sync.Mutex
	lines []string
}

func (l *logbook) Enabled(context.Context, slog.Level) bool { return true }
func (l *logbook) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logbook) WithGroup(string) slog.Handler            { return l }
func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	l.lines = append(l.lines, line)
	return nil
}

// said is how many lines begin so.
func (l *logbook) said(beginning string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if len(line) >= len(beginning) && line[:len(beginning)] == beginning {
			n++
		}
	}
	return n
}
