package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	firstLook = 5 * time.Millisecond // before the port of a program is tried again
	maxLook   = 100 * time.Millisecond
	// lastWords is how long a program that hung up may take to end, if it is
	// ending: a shell around it ends after it.
	lastWords = 250 * time.Millisecond

	mostPorts = 100 // that are tried for a program

	noAnswerType = "NoAnswer"
)

// A program of a custom runtime listens, where other handlers ask. The runtime
// asks in its place: to everything else its process is like any other.

// custom stands for the dialect of a process that does not ask itself.
var custom = &dialect{name: "custom runtime"}

// reservePort finds a free TCP port for a program, and holds the UDP port of
// that number until it is closed. So the programs of all runtimes on this
// machine have ports of their own: with the same one, whichever listened first
// would be given, and would take, the other's events. Nothing keeps a stranger
// from the port before ours listens; then ours ends, and is started again with
// another one.
func reservePort() (port int, held io.Closer, err error) {
	for range mostPorts {
		var packets net.PacketConn
		if packets, err = new(net.ListenConfig).ListenPacket(context.Background(), "udp", "127.0.0.1:0"); err != nil {
			return 0, nil, err
		}
		port = packets.LocalAddr().(*net.UDPAddr).Port
		var free net.Listener
		if free, err = new(net.ListenConfig).Listen(context.Background(), "tcp", loopback("127.0.0.1", port)); err == nil {
			_ = free.Close()
			return port, packets, nil
		}
		_ = packets.Close()
	}
	return 0, nil, err
}

func loopback(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// drive asks for events in a program's place, from when it listens until it
// has ended, and brings them to it. live waits for it.
func (p *process) drive() {
	client := p.dial()
	if client == nil || p.r.cfg.Initialize && !p.initialize(client) {
		return
	}
	for {
		p.poll(custom)
		var inv *invocation
		select {
		case inv = <-p.events:
			p.unpoll()
		case <-p.ended:
			return
		}
		res, answered := p.send(client, inv.id, "/invoke", inv.event, inv.limit)
		close(inv.written)
		if !answered || !p.finish(inv) {
			return // its end or its deadline settles it
		}
		p.freed()
		inv.result <- res
	}
}

// dial waits until the program accepts connections, and returns a client for
// it, or nil once it has ended.
func (p *process) dial() *http.Client {
	dialer := &net.Dialer{Timeout: time.Second}
	pause := firstLook
	for {
		for _, host := range []string{"127.0.0.1", "::1"} { // some take localhost for the one, some for the other
			address := loopback(host, p.port)
			conn, err := dialer.DialContext(p.hung, "tcp", address)
			if err != nil {
				continue
			}
			_ = conn.Close()
			p.base = "http://" + address
			// A connection for each request: one that is kept could be closed by
			// the program at the moment it is used again.
			return &http.Client{
				Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-p.ended:
			timer.Stop()
			return nil
		}
		pause = min(2*pause, maxLook)
	}
}

// initialize lets the program prepare itself. If it fails, it is killed, to be
// started anew.
func (p *process) initialize(client *http.Client) bool {
	res, answered := p.send(client, p.r.requests+"-initialize", "/initialize", nil, time.Now().Add(p.r.cfg.StartTimeout))
	if e, failed := errors.AsType[*FunctionError](res.err); failed {
		p.r.mu.Lock()
		p.unready = e
		p.r.mu.Unlock()
		p.kill()
		return false
	}
	return answered
}

// send makes one request of the program and reports false if the program is
// ending and has not answered it.
func (p *process) send(client *http.Client, id, path string, body []byte, limit time.Time) (res result, answered bool) {
	event := &eventBody{closed: make(chan struct{})}
	event.Reset(body)
	req, err := http.NewRequestWithContext(p.hung, http.MethodPost, p.base+path, event)
	if err != nil {
		return result{err: &FunctionError{RequestID: id, Type: noAnswerType, Message: err.Error()}}, true
	}
	req.ContentLength = int64(len(body))
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("x-fc-control-path", path)
	req.Header.Set("x-fc-function-deadline", strconv.FormatInt(limit.UnixMilli(), 10))
	p.tellFunctionCompute(id, req.Header)
	res, err = p.exchange(client, req, id)
	<-event.closed // until then it is read from
	if err == nil {
		return res, true
	}
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-p.ended:
		return result{}, false
	case <-timer.C:
		if errors.Is(err, syscall.ECONNREFUSED) {
			p.r.cfg.Logger.Warn("a handler's program has stopped listening and is killed", "handler", p.r.cfg.Name, "pid", p.pid)
			p.kill()
			<-p.ended
			return result{}, false
		}
		return result{err: &FunctionError{
			RequestID: id, Type: noAnswerType, Message: bounded("it did not answer: " + err.Error()), LogTail: p.out.tail(),
		}}, true
	}
}

// exchange reads the answer. Its error means that there is none.
func (p *process) exchange(client *http.Client, req *http.Request, id string) (result, error) {
	resp, err := client.Do(req)
	if err != nil {
		return result{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // all that was wanted of it has been read
	body, err := io.ReadAll(io.LimitReader(resp.Body, AnswerLimit+1))
	switch {
	case err != nil:
		return result{}, err
	case len(body) > AnswerLimit:
		return result{err: p.tooLarge(id)}, nil
	}
	said := resp.Header.Get("x-fc-status")
	if resp.StatusCode >= 200 && resp.StatusCode < 300 && (said == "" || said == "200") {
		return result{answer: body}, nil
	}
	e := p.functionError(id, body)
	if e.Type == unknownType {
		e.Type = fmt.Sprintf("HTTP %d", resp.StatusCode)
		if said != "" {
			e.Type += ", x-fc-status " + bounded(said)
		}
	}
	return result{err: e}, nil
}

// eventBody is a request's body that says when it is no longer read.
type eventBody struct {
	bytes.Reader
	once   sync.Once
	closed chan struct{}
}

func (b *eventBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}
