package invoke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvertio/culvert/functions/runtime"
)

// Headers of a request to an HTTP function, beside Content-Type.
const (
	HeaderBatchID = "Culvert-Batch-Id" // the same in every attempt
	HeaderAttempt = "Culvert-Attempt"  // 1 and up
	HeaderTrigger = "Culvert-Trigger"
)

// quotedBody is how much of a failed answer's body its error quotes, and
// drainedBody how much is read so that the connection can be used again.
const (
	quotedBody  = 512
	drainedBody = 64 << 10
)

// HTTPConfig is one function behind a URL.
type HTTPConfig struct {
	URL string // http:// or https://; a user and password in it are sent as basic authentication
	// MaxConnections bounds the connections, and so the invocations at once.
	// Default 32, at least 1.
	MaxConnections int
	// DialContext opens connections. Nil: as net.Dialer does.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// HTTPError is a failed attempt at an HTTP function.
type HTTPError struct {
	URL     string // without user, password and query
	BatchID string
	Attempt int
	Status  int    // 0: there was no answer
	Body    string // the beginning of the answer's
	Hint    string // what the operator can do, if that is known
	Err     error  // nil if Status says it all
}

func (e *HTTPError) Error() string {
	text := fmt.Sprintf("POST %s (batch %s, attempt %d)", e.URL, e.BatchID, e.Attempt)
	if e.Status != 0 {
		text += fmt.Sprintf(": answered %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Body != "" {
		text += fmt.Sprintf(" %q", e.Body)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

func (e *HTTPError) Unwrap() error { return e.Err }

// httpTarget posts batches to a URL.
type httpTarget struct {
	url       *url.URL // without the user
	shown     string   // the URL as errors show it
	header    http.Header
	transport *http.Transport
	attempts  attempts
	// life ends when Close's patience does, and cuts every attempt off.
	life  context.Context
	abort context.CancelFunc
}

// NewHTTP makes a target of a URL: the payload is POSTed to it, and the body
// of a 2xx answer is the function's answer, to [runtime.AnswerLimit]; a larger
// one fails the attempt. Redirects are not followed.
// Connections speak HTTP/1.1 and are kept and used again; a proxy is taken
// from the environment, as is usual.
func NewHTTP(c HTTPConfig) (Target, error) {
	u, err := parseURL(c.URL)
	if err != nil {
		return nil, err
	}
	if c.MaxConnections < 0 {
		return nil, fmt.Errorf("%d connections are too few: at least 1", c.MaxConnections)
	}
	connections := c.MaxConnections
	if connections == 0 {
		connections = 32
	}
	dial := c.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	header := http.Header{"User-Agent": {"culvert"}}
	if u.User != nil {
		password, _ := u.User.Password()
		r := http.Request{Header: header}
		r.SetBasicAuth(u.User.Username(), password)
	}
	u.User, u.Fragment = nil, ""
	shown := *u
	shown.RawQuery, shown.ForceQuery = "", false

	// One attempt is one connection's work: with HTTP/2 a broken connection
	// would break many, and its transport repeats requests by itself.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	life, abort := context.WithCancel(context.Background())
	return &httpTarget{
		url:    u,
		shown:  shown.String(),
		header: header,
		transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         dial,
			TLSHandshakeTimeout: 10 * time.Second,
			DisableCompression:  true,
			MaxConnsPerHost:     connections,
			MaxIdleConns:        connections,
			MaxIdleConnsPerHost: connections,
			// Shorter than the 60 s or 90 s after which servers and gateways
			// commonly hang up, so that a request seldom meets a connection
			// which is being closed.
			IdleConnTimeout: 45 * time.Second,
			Protocols:       &protocols,
		},
		life:  life,
		abort: abort,
	}, nil
}

func (t *httpTarget) Invoke(ctx context.Context, in Invocation) Result {
	if !t.attempts.begin() {
		return t.failed(in, Unreachable, &HTTPError{Err: ErrClosed})
	}
	defer t.attempts.end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.life, cancel)()
	return t.post(ctx, in)
}

func (t *httpTarget) post(ctx context.Context, in Invocation) Result {
	// Whether the request's headers were written: before that, no server can
	// have begun to work on it. The transport calls back from a goroutine of
	// its own.
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})

	body := &payload{rest: in.Payload}
	defer body.release()
	request := (&http.Request{
		Method: http.MethodPost,
		URL:    t.url,
		Header: t.header.Clone(),
		Body:   body,
		// No GetBody: without it the transport never sends a request a second
		// time on its own, so that an attempt is one attempt.
		ContentLength: int64(len(in.Payload)),
	}).WithContext(ctx)
	request.Header.Set("Content-Type", in.ContentType)
	request.Header.Set(HeaderBatchID, in.BatchID)
	request.Header.Set(HeaderAttempt, strconv.Itoa(in.Attempt))
	request.Header.Set(HeaderTrigger, in.Trigger)

	// Not through http.Client, which follows redirects and whose errors quote
	// the URL.
	response, err := t.transport.RoundTrip(request)
	if err != nil {
		return t.unanswered(ctx, in, sent.Load(), &HTTPError{Err: err})
	}
	defer func() { _ = response.Body.Close() }()
	return t.answered(ctx, in, response)
}

// unanswered judges an attempt that ended without an answer, or with one cut
// short.
func (t *httpTarget) unanswered(ctx context.Context, in Invocation, sent bool, e *HTTPError) Result {
	switch {
	case !sent:
		e.Hint = "is the function's server running, and its URL right?"
		if ctx.Err() != nil {
			e.Hint = "there was no connection to the function's server in time"
		}
		return t.failed(in, Unreachable, e)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.Hint = "the function took longer than the trigger's timeout"
		return t.failed(in, TimedOut, e)
	}
	return t.failed(in, MayHaveRun, e)
}

func (t *httpTarget) answered(ctx context.Context, in Invocation, response *http.Response) Result {
	class, hint := classOfStatus(response.StatusCode)
	if class != Done {
		quoted, _ := io.ReadAll(io.LimitReader(response.Body, quotedBody))
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, drainedBody))
		r := t.failed(in, class, &HTTPError{Status: response.StatusCode, Body: string(quoted), Hint: hint})
		r.RetryAfter = retryAfter(response.Header.Get("Retry-After"), time.Now())
		r.RequestID = response.Header.Get("X-Request-Id")
		return r
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, runtime.AnswerLimit+1))
	var r Result
	switch {
	case err != nil:
		r = t.unanswered(ctx, in, true, &HTTPError{Status: response.StatusCode, Err: fmt.Errorf("the answer was cut short: %w", err)})
	case len(answer) > runtime.AnswerLimit:
		r = t.failed(in, FunctionFailed, &HTTPError{Status: response.StatusCode, Err: fmt.Errorf("the answer has more than %d bytes", runtime.AnswerLimit)})
	default:
		r = Result{Class: Done, Answer: answer}
	}
	r.RequestID = response.Header.Get("X-Request-Id")
	return r
}

func (t *httpTarget) failed(in Invocation, class Class, e *HTTPError) Result {
	e.URL, e.BatchID, e.Attempt = t.shown, in.BatchID, in.Attempt
	return Result{Class: class, Err: e}
}

// retryAfter reads the header of that name: seconds, or a date. What it
// cannot read, or what has passed, is 0.
func retryAfter(value string, now time.Time) time.Duration {
	const longest = 24 * time.Hour
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(longest/time.Second))) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(now), 0), longest)
	}
	return 0
}

func (t *httpTarget) Close(ctx context.Context) error {
	err := t.attempts.close(ctx, t.abort)
	t.abort()
	t.transport.CloseIdleConnections()
	if err != nil {
		return fmt.Errorf("closing %s: attempts were cut off: %w", t.shown, err)
	}
	return nil
}

// payload is a request's body. The transport may go on reading it after the
// attempt has ended, when the bytes are the caller's again: release waits
// for a read under way and fails every later one.
type payload struct {
	mu       sync.Mutex
	rest     []byte
	released bool
}

var errReleased = errors.New("the attempt has ended")

func (p *payload) Read(dst []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.released:
		return 0, errReleased
	case len(p.rest) == 0:
		return 0, io.EOF
	}
	n := copy(dst, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

func (p *payload) Close() error { return nil }

func (p *payload) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest, p.released = nil, true
}
