package tunnel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

func TestEveryErrorIsJudgedOnce(t *testing.T) {
	network := func(err error) error {
		return &net.OpError{Op: "read", Net: "tcp", Err: err}
	}
	type judged struct{ retryable, fatal, applied bool }
	refused, fatal, again := judged{}, judged{fatal: true}, judged{retryable: true}
	unknown := judged{retryable: true, applied: true}
	for name, tt := range map[string]struct {
		err  error
		want judged
	}{
		"nil":                       {nil, refused},
		"of another kind":           {errors.New("x"), refused},
		"canceled":                  {context.Canceled, refused},
		"deadline":                  {fmt.Errorf("x: %w", context.DeadlineExceeded), refused},
		"EOF":                       {io.EOF, again},
		"unexpected EOF":            {fmt.Errorf("x: %w", io.ErrUnexpectedEOF), again},
		"reset":                     {network(syscall.ECONNRESET), again},
		"refused":                   {network(syscall.ECONNREFUSED), again},
		"broken pipe":               {network(syscall.EPIPE), again},
		"time-out":                  {timedOut("x"), again},
		"DNS, for now":              {&net.DNSError{IsTemporary: true}, again},
		"DNS, not found":            {&net.DNSError{IsNotFound: true}, refused},
		"no credentials":            {fmt.Errorf("x: %w", ErrNoCredentials), fatal},
		"ParameterInvalid":          {&Error{Code: CodeParameterInvalid, HTTPStatus: 400}, fatal},
		"TunnelExpired":             {&Error{Code: CodeTunnelExpired, HTTPStatus: 400}, fatal},
		"PermissionDenied":          {&Error{Code: CodePermissionDenied, HTTPStatus: 403}, fatal},
		"AuthFailed":                {&Error{Code: CodeAuthFailed, HTTPStatus: 403}, fatal},
		"NoPermissionAccess":        {&Error{Code: CodeNoPermissionAccess, HTTPStatus: 403}, fatal},
		"ObjectNotExist":            {&Error{Code: CodeObjectNotExist, HTTPStatus: 404}, fatal},
		"ResourceGone":              {&Error{Code: CodeResourceGone, HTTPStatus: 404}, refused},
		"SequenceNumberNotMatch":    {&Error{Code: CodeSequenceNumberNotMatch, HTTPStatus: 400}, refused},
		"TunnelExist":               {&Error{Code: CodeTunnelExist, HTTPStatus: 409}, refused},
		"wrapped":                   {fmt.Errorf("x: %w", &Error{Code: CodeTunnelExpired}), fatal},
		"unavailable":               {&Error{Code: CodeServerUnavailable, HTTPStatus: 503}, unknown},
		"unavailable, without 5xx":  {&Error{Code: CodeServerUnavailable, HTTPStatus: 400}, unknown},
		"unknown code, 4xx":         {&Error{Code: "OTSNew", HTTPStatus: 400}, refused},
		"unknown code, 5xx":         {&Error{Code: "OTSInternalServerError", HTTPStatus: 500}, unknown},
		"unknown code, 408":         {&Error{Code: "OTSRequestTimeout", HTTPStatus: 408}, unknown},
		"unknown code, 429":         {&Error{Code: "OTSNew", HTTPStatus: 429}, unknown},
		"gateway, 404":              {&Error{Code: CodeClientError, HTTPStatus: 404, where: byGateway}, refused},
		"gateway, 502":              {&Error{Code: CodeServerUnavailable, HTTPStatus: 502, where: byGateway}, unknown},
		"no connection":             {&Error{Err: network(syscall.ECONNREFUSED), where: dialing}, again},
		"no such host":              {&Error{Err: &net.DNSError{IsNotFound: true}, where: dialing}, refused},
		"a certificate":             {&Error{Err: &tls.CertificateVerificationError{Err: x509.HostnameError{}}, where: exchange}, judged{applied: true}},
		"no TLS":                    {&Error{Err: tls.RecordHeaderError{}, where: exchange}, judged{applied: true}},
		"an idle connection closed": {&Error{Err: errors.New("http: server closed idle connection"), where: exchange}, unknown},
		"canceled while waiting":    {&Error{Err: context.Canceled, where: exchange}, judged{applied: true}},
		"canceled before":           {&Error{Err: context.Canceled, where: unsent}, refused},
		"malformed":                 {&Error{Code: CodeClientError, Err: ErrMalformed, where: malformed}, unknown},
		"too large":                 {&Error{Code: CodeClientError, Err: errTooLarge, where: malformed}, judged{applied: true}},
		"credentials by network":    {&Error{Err: network(syscall.ECONNRESET), where: unsent}, again},
		"credentials missing":       {&Error{Err: fmt.Errorf("x: %w", ErrNoCredentials), where: unsent}, fatal},
	} {
		t.Run(name, func(t *testing.T) {
			got := judged{retryable: Retryable(tt.err), fatal: Fatal(tt.err)}
			if e, ok := errors.AsType[*Error](tt.err); ok {
				got.applied = mayHaveBeenApplied(e)
			}
			if got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
			if got.retryable && got.fatal {
				t.Error("both retryable and fatal")
			}
		})
	}
}

func TestWaitsDoubleUpToTheLongest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "first"))
		longest := first + time.Duration(rapid.Int64Range(0, int64(9*time.Minute)).Draw(t, "more"))
		s := RetrySchedule{First: first, Max: longest, Total: time.Hour}
		n := rapid.IntRange(0, 1000).Draw(t, "n")
		chance := rapid.Float64Range(0, math.Nextafter(1, 0)).Draw(t, "chance")
		middle := min(float64(first)*math.Pow(2, float64(n)), float64(longest))
		if got := float64(s.wait(n, chance)); got < middle*0.67-1 || got > middle*1.33+1 {
			t.Errorf("wait %v is not within a third of %v", time.Duration(got), time.Duration(middle))
		}
	})
}

func TestACallThatKeepsFailingIsTriedForAsLongAsItsScheduleSays(t *testing.T) {
	everyCall(t, func(t *testing.T, x exchanged) {
		first, longest, total := 100*time.Millisecond, 2*time.Second, 35*time.Second
		if x.name == "ReadRecords" {
			first, longest, total = 16*time.Millisecond, 3*time.Second, 75*time.Second
		}
		var at []time.Time
		client, _ := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			consume(r)
			at = append(at, time.Now())
			refuse(t, w, 503, CodeServerUnavailable, "busy")
		})
		begun := time.Now()
		_, err := x.call(t.Context(), client)
		if !errors.Is(err, CodeServerUnavailable) || !Retryable(err) {
			t.Errorf("%v", err)
		}
		want := first
		for i := range len(at) - 1 {
			gap := at[i+1].Sub(at[i])
			if low, high := want*67/100-time.Microsecond, want*133/100+time.Microsecond; gap < low || gap > high {
				t.Errorf("wait %d is %v, not between %v and %v", i, gap, low, high)
			}
			want = min(2*want, longest)
		}
		if took := time.Since(begun); took > total || took < total-2*longest {
			t.Errorf("gave up after %v, want just before %v", took, total)
		}
	})
}

func TestACallSucceedsOnceTheServiceIsBack(t *testing.T) {
	everyCall(t, func(t *testing.T, x exchanged) {
		var n atomic.Int32
		client, _ := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			consume(r)
			if n.Add(1) < 4 {
				refuse(t, w, 503, CodeServerUnavailable, "busy")
				return
			}
			write(t, w, 200, x.answer)
		})
		if _, err := x.call(t.Context(), client); err != nil || n.Load() != 4 {
			t.Errorf("after %d attempts: %v", n.Load(), err)
		}
	})
}

// broken are answers that never arrive whole.
func broken(t *testing.T) map[string]http.HandlerFunc {
	whole := pageBody(100, 100)
	return map[string]http.HandlerFunc{
		"cut in half": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
			reply(w, whole[:len(whole)/2])
			cut(w)
		},
		"cut in half, in chunks": func(w http.ResponseWriter, r *http.Request) {
			reply(w, whole[:len(whole)/2])
			cut(w)
		},
		"cut in its head": func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			reply(conn, "HTTP/1.1 200 OK\r\nContent-")
			_ = conn.Close()
		},
		"no answer at all": func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.Close()
		},
		"ended by the connection's end": func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			reply(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+string(whole))
			_ = conn.Close()
		},
		"not a message": func(w http.ResponseWriter, r *http.Request) {
			reply(w, "<html>It works!</html>")
		},
		"slow": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"slow in the middle": func(w http.ResponseWriter, r *http.Request) {
			reply(w, whole[:len(whole)/2])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"a gateway's 502": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "bad gateway", http.StatusBadGateway)
		},
	}
}

func TestReadRecordsReadsAgainWhatDidNotArriveWhole(t *testing.T) {
	for name, fail := range broken(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int32
				client, _ := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
					var pb tunnelpb.ReadRecordsRequest
					decode(t, r, &pb)
					if pb.GetToken() != "token" {
						t.Errorf("read token %q", pb.GetToken())
					}
					if n.Add(1) < 3 {
						fail(w, r)
						return
					}
					reply(w, pageBody(7, 100))
				}, func(cfg *ClientConfig) { cfg.RequestTimeout = 5 * time.Second })
				page, err := client.ReadRecords(t.Context(), ReadRecordsRequest{TunnelID: "t", ClientID: "c", ChannelID: "ch", Token: "token"})
				if err != nil || n.Load() != 3 || len(page.Records) != 7 {
					t.Errorf("after %d attempts: %+v, %v", n.Load(), page, err)
				}
			})
		})
	}
}

func TestACheckpointWhoseAnswerIsLostIsNotSentAgain(t *testing.T) {
	for name, fail := range broken(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int32
				client, _ := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
					consume(r)
					n.Add(1)
					fail(w, r)
				}, func(cfg *ClientConfig) { cfg.RequestTimeout = 5 * time.Second })
				err := client.Checkpoint(t.Context(), CheckpointRequest{TunnelID: "t", ClientID: "c", ChannelID: "ch", Checkpoint: "token", SequenceNumber: 1})
				e, ok := errors.AsType[*Error](err)
				if !ok || n.Load() != 1 || !e.MayHaveBeenApplied() || !Retryable(err) {
					t.Errorf("after %d attempts: %v", n.Load(), err)
				}
			})
		})
	}
}

func TestACheckpointThatTheServiceCouldNotTakeIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		client, mem := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			consume(r)
			switch n.Add(1) {
			case 1, 2:
				refuse(t, w, 503, CodeServerUnavailable, "busy")
			case 3:
				write(t, w, 200, &tunnelpb.CheckpointResponse{})
			default:
				refuse(t, w, 400, CodeSequenceNumberNotMatch, "")
			}
		})
		mem.fail = func(dial int) error {
			if dial < 3 {
				return syscall.ECONNREFUSED
			}
			return nil
		}
		commit := func() error {
			return client.Checkpoint(t.Context(), CheckpointRequest{TunnelID: "t", ClientID: "c", ChannelID: "ch", Checkpoint: "token", SequenceNumber: 1})
		}
		if err := commit(); err != nil || n.Load() != 3 || mem.dialed() != 3 {
			t.Errorf("after %d attempts and %d dials: %v", n.Load(), mem.dialed(), err)
		}
		e, ok := errors.AsType[*Error](commit())
		if !ok || !errors.Is(e, CodeSequenceNumberNotMatch) || e.MayHaveBeenApplied() {
			t.Errorf("refused at once: %v, may have been applied: %v", e, e.MayHaveBeenApplied())
		}
	})
}

func TestARefusalAfterAFailedAttemptMayBeOurOwnDoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		client, _ := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			consume(r)
			if n.Add(1) == 1 {
				refuse(t, w, 503, CodeServerUnavailable, "busy")
				return
			}
			refuse(t, w, 400, CodeSequenceNumberNotMatch, "")
		})
		err := client.Checkpoint(t.Context(), CheckpointRequest{TunnelID: "t", ClientID: "c", ChannelID: "ch", Checkpoint: "token", SequenceNumber: 1})
		e, ok := errors.AsType[*Error](err)
		if !ok || !errors.Is(e, CodeSequenceNumberNotMatch) || !e.MayHaveBeenApplied() {
			t.Errorf("%v", err)
		}
	})
}

func TestACanceledCallEndsAtOnceAndSaysSo(t *testing.T) {
	for name, fail := range map[string]http.HandlerFunc{
		"while it waits for an answer": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"between two attempts": func(w http.ResponseWriter, r *http.Request) {
			refuse(t, w, 503, CodeServerUnavailable, "busy")
		},
	} {
		t.Run(name, func(t *testing.T) {
			everyCall(t, func(t *testing.T, x exchanged) {
				client, _ := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
					consume(r)
					fail(w, r)
				})
				ctx, cancel := context.WithCancel(t.Context())
				const after = 10 * time.Second
				defer time.AfterFunc(after, cancel).Stop()
				begun := time.Now()
				_, err := x.call(ctx, client)
				if took := time.Since(begun); took != after {
					t.Errorf("ended after %v, want %v", took, after)
				}
				e, ok := errors.AsType[*Error](err)
				if !ok || !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || Retryable(err) || !e.MayHaveBeenApplied() {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

func TestAnAttemptsTimeOutIsNotTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			consume(r)
			<-r.Context().Done()
		})
		_, err := client.ListTunnel(t.Context(), ListTunnelRequest{Table: "orders"})
		if errors.Is(err, context.DeadlineExceeded) || !Retryable(err) || !strings.Contains(err.Error(), "1m0s") {
			t.Errorf("%v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := client.ListTunnel(ctx, ListTunnelRequest{Table: "orders"}); !errors.Is(err, context.DeadlineExceeded) || Retryable(err) {
			t.Errorf("%v", err)
		}
	})
}

func TestACallWhoseContextHasEndedSendsNothing(t *testing.T) {
	everyCall(t, func(t *testing.T, x exchanged) {
		client, mem := clientOf(t, func(w http.ResponseWriter, r *http.Request) {})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := x.call(ctx, client)
		e, ok := errors.AsType[*Error](err)
		if !ok || !errors.Is(err, context.Canceled) || e.MayHaveBeenApplied() || mem.dialed() != 0 {
			t.Errorf("%v, %d dials", err, mem.dialed())
		}
	})
}
