package tunnel

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/internal/sign"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// MaxResponseBytes is the longest answer that a [Client] takes, so that a
// wild server cannot exhaust memory. A page of the real service is a few MiB
// at most.
const MaxResponseBytes = 64 << 20

// ErrMalformed means that an answer said success but was cut short, too long,
// or did not make sense.
var ErrMalformed = errors.New("malformed answer")

var errTooLarge = fmt.Errorf("%w: longer than %d MiB", ErrMalformed, MaxResponseBytes>>20)

// call is one call of the API.
type call struct {
	op, path                string
	api                     sign.API // empty: the tunnel API
	tunnel, channel, client string
	schedule                RetrySchedule
	once                    bool // an attempt that may have been applied is not repeated
}

// firstWarning is how long a call fails before the log warns of it, and then
// each time that it has failed for twice as long.
const firstWarning = time.Second

// do makes the call, again and again while that may help. read takes the
// body of an answer of success, and may keep it.
func (c *Client) do(ctx context.Context, k call, in proto.Message, read func(body []byte) error) error {
	body, err := proto.Marshal(in)
	if err != nil {
		return k.fail(unsent, fmt.Errorf("encode the request: %w", err))
	}
	return c.post(ctx, k, body, read)
}

// post is do for a request that is encoded already.
func (c *Client) post(ctx context.Context, k call, body []byte, read func(body []byte) error) error {
	start := time.Now()
	warnAfter := firstWarning
	applied := false
	for n := 0; ; n++ {
		e := c.attempt(ctx, k, body, read)
		if e == nil {
			return nil
		}
		applied = applied || mayHaveBeenApplied(e)
		e.applied = applied
		if !mayRepeat(e, k.once) {
			return e
		}
		wait, ok := k.schedule.next(n, time.Since(start))
		if !ok {
			return e
		}
		level := slog.LevelDebug
		if elapsed := time.Since(start); elapsed >= warnAfter {
			level = slog.LevelWarn
			warnAfter = 2 * elapsed
		}
		c.log.Log(ctx, level, "tunnel call failed, trying again", "op", k.op, "attempt", n+1, "wait", wait, "gives_up_after", k.schedule.Total, "error", e)
		if err := sleep(ctx, wait); err != nil {
			e := k.fail(unsent, fmt.Errorf("%w; the last attempt: %w", err, e))
			e.applied = applied
			return e
		}
	}
}

// ask is do for the calls whose answer is a message that is decoded as usual.
func (c *Client) ask(ctx context.Context, k call, in, out proto.Message) error {
	return c.do(ctx, k, in, func(body []byte) error {
		if err := proto.Unmarshal(body, out); err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return nil
	})
}

// attempt makes the call once.
func (c *Client) attempt(ctx context.Context, k call, body []byte, read func([]byte) error) *Error {
	if err := ctx.Err(); err != nil {
		return k.fail(unsent, err)
	}
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var e *Error
	creds, err := c.credentials.Credentials(limited)
	if err == nil {
		err = creds.check()
	}
	if err != nil {
		e = k.fail(unsent, fmt.Errorf("credentials from %s: %w", origin(c.credentials), err))
	} else if e = c.send(limited, k, body, creds, read); e == nil {
		return nil
	}

	// The caller's context and the attempt's own time-out must stay apart: the
	// one ends the call, the other is a failure like any other.
	if e.where == unsent || e.where == dialing || e.where == exchange {
		switch {
		case ctx.Err() != nil:
			e.Err = ctx.Err()
		case limited.Err() != nil:
			e.Err = timedOut(fmt.Sprintf("no answer within %v", c.timeout))
		case errors.Is(e.Err, context.DeadlineExceeded), errors.Is(e.Err, context.Canceled):
			e.Err = timedOut(e.Err.Error()) // of the HTTPClient or the provider
		}
	}
	e.Hint = c.hint(e, creds.AccessKeyID)
	return e
}

// send sends the request and judges the answer.
func (c *Client) send(ctx context.Context, k call, body []byte, creds Credentials, read func([]byte) error) *Error {
	req, err := c.request(ctx, cmp.Or(k.api, sign.Tunnel), k.path, body, creds)
	if err != nil {
		return k.fail(unsent, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		at := exchange
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			at = dialing
		}
		return k.fail(at, withoutURL(err))
	}
	defer func() {
		// What is left unread would cost the connection.
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
		_ = resp.Body.Close()
	}()
	e := k.judge(resp, read)
	if e != nil {
		e.HTTPStatus = resp.StatusCode
		e.RequestID = resp.Header.Get(sign.RequestID)
	}
	return e
}

// judge reads the answer, and has read decode it if it says success.
func (k call) judge(resp *http.Response, read func([]byte) error) *Error {
	var err error
	if resp.StatusCode/100 != 2 {
		var text []byte
		if text, err = io.ReadAll(io.LimitReader(resp.Body, 64<<10)); err == nil {
			return k.refused(resp.StatusCode, text)
		}
	} else {
		var body []byte
		if body, err = readAnswer(resp); err == nil {
			err = read(body)
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrMalformed):
		e := k.fail(malformed, err)
		e.Code = CodeClientError
		return e
	}
	return k.fail(exchange, fmt.Errorf("the answer was cut short: %w", err))
}

// request is the signed request.
func (c *Client) request(ctx context.Context, api sign.API, path string, body []byte, creds Credentials) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	sum := md5.Sum(body)
	h := req.Header
	h.Set("User-Agent", c.userAgent)
	h.Set("Content-Type", "application/x-protobuf")
	h.Set(sign.APIVersion, string(api))
	h.Set(sign.Date, time.Now().UTC().Format(sign.DateLayout))
	h.Set(sign.InstanceName, c.instance)
	h.Set(sign.AccessKeyID, creds.AccessKeyID)
	h.Set(sign.ContentMD5, base64.StdEncoding.EncodeToString(sum[:]))
	if api == sign.Tunnel {
		h.Set(sign.TraceID, newTraceID())
	}
	if creds.SecurityToken != "" {
		h.Set(sign.SecurityToken, creds.SecurityToken)
	}
	h.Set(sign.Signature, sign.Request(api, creds.AccessKeySecret, path, h))
	return req, nil
}

// fail is an error of this call.
func (k call) fail(at where, err error) *Error {
	return &Error{Op: k.op, TunnelID: k.tunnel, ChannelID: k.channel, ClientID: k.client, Err: err, where: at}
}

// refused is what an answer that is not 2xx says: the service's Error, or the
// plain text of a gateway.
func (k call) refused(status int, text []byte) *Error {
	e := k.fail(answered, nil)
	var pb tunnelpb.Error
	if err := proto.Unmarshal(text, &pb); err == nil && isCode(pb.GetCode()) {
		e.Code = Code(pb.GetCode())
		e.Message = oneLine([]byte(pb.GetMessage()))
		if id := pb.GetTunnelId(); id != "" {
			e.TunnelID = id
		}
		return e
	}
	e.where = byGateway
	e.Code = CodeClientError
	if status >= 500 {
		e.Code = CodeServerUnavailable
	}
	e.Message = oneLine(text)
	return e
}

// isCode tells a code from text that happens to decode.
func isCode(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	})
}

// oneLine is the beginning of what a server wrote, fit for a log.
func oneLine(text []byte) string {
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(text[:min(len(text), 512)]), "?")), " ")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// readAnswer reads the whole body of an answer.
func readAnswer(resp *http.Response) ([]byte, error) {
	if resp.ContentLength < 0 && resp.ProtoMajor == 1 && len(resp.TransferEncoding) == 0 && !resp.Uncompressed {
		// Only the connection's end ends this body, and a cut looks the same.
		return nil, fmt.Errorf("%w: neither a length nor chunks, so that it may have been cut short", ErrMalformed)
	}
	return readBody(resp.Body, resp.ContentLength)
}

// readBody reads a body, of size bytes or -1, into one buffer. An error that
// is not ErrMalformed is the network's.
func readBody(body io.Reader, size int64) ([]byte, error) {
	if size > MaxResponseBytes {
		return nil, errTooLarge
	}
	// A length is a promise: memory is spent as bytes come. One byte more
	// than promised lets the last Read find the end without growing.
	buf := make([]byte, 0, min(max(size, 4<<10), 4<<20)+1)
	for {
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) > MaxResponseBytes {
			return nil, errTooLarge
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(buf) == cap(buf) {
			next := make([]byte, len(buf), min(2*cap(buf), MaxResponseBytes+1))
			copy(next, buf)
			buf = next
		}
	}
	if size >= 0 && int64(len(buf)) != size {
		return nil, io.ErrUnexpectedEOF
	}
	// Records keep the buffer alive: do not let it hold much that is empty.
	if cap(buf) > len(buf)+len(buf)/4+4<<10 {
		buf = bytes.Clone(buf)
	}
	return buf, nil
}

// timedOut is an attempt that took too long. It is not
// context.DeadlineExceeded: the caller's context has not ended.
type timedOut string

func (t timedOut) Error() string   { return string(t) }
func (t timedOut) Timeout() bool   { return true }
func (t timedOut) Temporary() bool { return true }

// withoutURL takes off the method and the URL: the operation and the hint
// say as much.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// newTraceID is a random UUID, version 4.
func newTraceID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
