package invoke

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertio/culvert/functions/runtime"
)

var invocation = Invocation{
	Payload: []byte(`{"Records":[]}`), ContentType: "application/json",
	BatchID: "f02f077ba952a9e159c0ff00343a4413", Attempt: 2, Trigger: "index",
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func checkClass(t *testing.T, r Result, want Class) {
	t.Helper()
	if r.Class != want {
		t.Fatalf("class %v (%v), want %v", r.Class, r.Err, want)
	}
	if (r.Err == nil) != (want == Done) {
		t.Fatalf("class %v with error %v", r.Class, r.Err)
	}
	if r.Err != nil && strings.Contains(r.Err.Error(), "geheim") {
		t.Fatalf("the error shows a secret: %v", r.Err)
	}
}

func TestAPayloadArrivesWithItsHeadersAndTheAnswerComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target, _ := served(t, 1, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			user, password, _ := r.BasicAuth()
			_, _ = fmt.Fprintln(w, r.Method, r.URL, r.ContentLength, string(body), user, password)
			for _, name := range []string{"Content-Type", HeaderBatchID, HeaderAttempt, HeaderTrigger, "Accept-Encoding"} {
				_, _ = fmt.Fprintln(w, name, r.Header[name])
			}
		})
		r := target.Invoke(within(t, time.Minute), invocation)
		checkClass(t, r, Done)
		want := `POST /path?key=geheim 14 {"Records":[]} user geheim
Content-Type [application/json]
Culvert-Batch-Id [f02f077ba952a9e159c0ff00343a4413]
Culvert-Attempt [2]
Culvert-Trigger [index]
Accept-Encoding []
`
		if string(r.Answer) != want {
			t.Errorf("the server saw\n%s\nwant\n%s", r.Answer, want)
		}
	})
}

func TestEveryStatusHasItsClass(t *testing.T) {
	classes := map[int]Class{
		200: Done, 201: Done, 202: Done, 204: Done,
		300: Broken, 301: Broken, 302: Broken, 303: Broken, 304: Broken, 307: Broken, 308: Broken,
		400: Refused, 401: Broken, 402: Broken, 403: Broken, 404: Broken, 405: Broken, 406: Broken, 407: Broken,
		408: Unreachable, 409: FunctionFailed, 410: Broken, 413: Refused, 415: Broken, 418: FunctionFailed, 421: Unreachable, 422: Refused,
		425: Unreachable, 426: Broken, 429: Throttled, 499: MayHaveRun,
		500: FunctionFailed, 501: Broken, 502: MayHaveRun, 503: Unreachable, 504: MayHaveRun, 505: Broken, 507: FunctionFailed, 599: FunctionFailed,
	}
	synctest.Test(t, func(t *testing.T) {
		var status int
		target, _ := served(t, 1, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://elsewhere/")
			w.Header().Set("Retry-After", "7")
			w.Header().Set("X-Request-Id", "r-1")
			w.WriteHeader(status)
			if status != 204 && status != 304 {
				_, _ = io.WriteString(w, "what it said")
			}
		})
		var want Class
		for status, want = range classes {
			r := target.Invoke(within(t, time.Minute), invocation)
			if r.Class != want {
				t.Errorf("%d is %v, want %v", status, r.Class, want)
			}
			if r.RequestID != "r-1" {
				t.Errorf("%d: request id %q", status, r.RequestID)
			}
			if want == Done {
				continue
			}
			if r.RetryAfter != 7*time.Second {
				t.Errorf("%d: retry after %v", status, r.RetryAfter)
			}
			e, ok := errors.AsType[*HTTPError](r.Err)
			if !ok || e.Status != status || status != 304 && e.Body != "what it said" {
				t.Errorf("%d: error %+v", status, r.Err)
			}
		}
	})
}

func TestAnErrorNamesTheFunctionTheBatchAndTheAnswerButNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target, _ := served(t, 1, func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, strings.Repeat("x", 10_000), http.StatusNotFound)
		})
		r := target.Invoke(within(t, time.Minute), invocation)
		checkClass(t, r, Broken)
		want := `POST http://function/path (batch f02f077ba952a9e159c0ff00343a4413, attempt 2): answered 404 Not Found "` +
			strings.Repeat("x", 512) + `"; the URL does not lead to a function that takes POST requests in the trigger's format`
		if r.Err.Error() != want {
			t.Errorf("error:\n%v\nwant:\n%s", r.Err, want)
		}
	})
}

func TestAFunctionThatHangsTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target, _ := served(t, 1, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done() // the connection ends with the attempt
		})
		checkClass(t, target.Invoke(within(t, time.Hour), invocation), TimedOut)
	})
}

func TestAnAnswerThatStopsHalfwayTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target, _ := served(t, 1, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
		checkClass(t, target.Invoke(within(t, time.Hour), invocation), TimedOut)
	})
}

func TestAnAttemptThatIsCalledOffMayHaveRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target, _ := served(t, 1, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})
		ctx, cancel := context.WithCancel(within(t, time.Hour))
		time.AfterFunc(time.Minute, cancel)
		checkClass(t, target.Invoke(ctx, invocation), MayHaveRun)
	})
}

func TestNoServerIsUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		_ = network.Close()
		target, err := NewHTTP(HTTPConfig{URL: "http://function/", DialContext: network.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		defer closing(t, target)
		r := target.Invoke(within(t, time.Minute), invocation)
		checkClass(t, r, Unreachable)
		if !strings.Contains(r.Err.Error(), "is the function's server running") {
			t.Errorf("no way out in: %v", r.Err)
		}
	})
}

func TestAServerThatDoesNotAcceptIsUnreachableNotTimedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes() // nobody accepts
		target, err := NewHTTP(HTTPConfig{URL: "http://function/", DialContext: network.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		defer closing(t, target)
		checkClass(t, target.Invoke(within(t, time.Second), invocation), Unreachable)
	})
}

func TestACertificateThatNobodyKnowsIsUnreachable(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.StartTLS()
	defer server.Close()
	target, err := NewHTTP(HTTPConfig{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, target)
	r := target.Invoke(within(t, time.Minute), invocation)
	checkClass(t, r, Unreachable)
	if !strings.Contains(r.Err.Error(), "certificate") {
		t.Errorf("no word of the certificate: %v", r.Err)
	}
}

func TestAConnectionThatBreaksMayHaveRunAndIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		target := answering(t, func(request int, c net.Conn) {
			requests = request
			if request == 1 {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				return
			}
			_ = c.Close() // on the connection that was good before: what tempts clients to send again
		})
		r := target.Invoke(within(t, time.Minute), invocation)
		checkClass(t, r, Done)
		checkClass(t, target.Invoke(within(t, time.Minute), invocation), MayHaveRun)
		synctest.Wait()
		if requests != 2 {
			t.Errorf("two attempts were %d requests", requests)
		}
	})
}

func TestAnAnswerCutInHalfMayHaveRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := answering(t, func(_ int, c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"batchItem")
			_ = c.Close()
		})
		checkClass(t, target.Invoke(within(t, time.Minute), invocation), MayHaveRun)
	})
}

func TestWhatIsNoHTTPMayHaveRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := answering(t, func(_ int, c net.Conn) {
			_, _ = io.WriteString(c, "220 mail.example.com ESMTP\r\n")
			_ = c.Close()
		})
		checkClass(t, target.Invoke(within(t, time.Minute), invocation), MayHaveRun)
	})
}

func TestAnAnswerIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		size := runtime.AnswerLimit
		target, _ := served(t, 1, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(make([]byte, size)) })
		r := target.Invoke(within(t, time.Minute), invocation)
		checkClass(t, r, Done)
		if len(r.Answer) != runtime.AnswerLimit {
			t.Errorf("an answer of %d bytes came back with %d", runtime.AnswerLimit, len(r.Answer))
		}
		size++
		checkClass(t, target.Invoke(within(t, time.Minute), invocation), FunctionFailed)
	})
}

func TestConnectionsAreKeptAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const connections = 3
		target, network := served(t, connections, func(w http.ResponseWriter, r *http.Request) {
			<-time.After(time.Second)
		})
		var calls sync.WaitGroup
		for range 20 {
			calls.Go(func() { checkOK(t, target.Invoke(within(t, time.Minute), invocation)) })
		}
		calls.Wait()
		if n := network.dialed.Load(); n > connections {
			t.Errorf("%d connections for %d allowed", n, connections)
		}
	})
}

func TestAConnectionOutlivesAnErrorsLongPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target, network := served(t, 1, func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, strings.Repeat("x", drainedBody/2), http.StatusServiceUnavailable)
		})
		for range 3 {
			checkClass(t, target.Invoke(within(t, time.Minute), invocation), Unreachable)
		}
		if n := network.dialed.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

func checkOK(t *testing.T, r Result) {
	if r.Class != Done {
		t.Errorf("class %v: %v", r.Class, r.Err)
	}
}

func TestThePayloadIsTheCallersAgainOnceInvokeHasReturned(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusRequestEntityTooLarge) // without having read it
	}))
	defer server.Close()
	target, err := NewHTTP(HTTPConfig{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, target)
	in := invocation
	in.Payload = bytes.Repeat([]byte("x"), 8<<20)
	for range 5 {
		// Whether the answer or the cut connection is seen first is the
		// kernel's choice.
		if r := target.Invoke(within(t, time.Minute), in); r.Class != Refused && r.Class != MayHaveRun {
			t.Errorf("class %v: %v", r.Class, r.Err)
		}
		clear(in.Payload) // the race detector watches
	}
}

func TestCloseWaitsForAttemptsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target, _ := served(t, 1, func(w http.ResponseWriter, r *http.Request) { <-time.After(time.Minute) })
		var call sync.WaitGroup
		call.Go(func() { checkOK(t, target.Invoke(within(t, time.Hour), invocation)) })
		synctest.Wait()
		if err := target.Close(t.Context()); err != nil {
			t.Error(err)
		}
		call.Wait()
		r := target.Invoke(within(t, time.Hour), invocation)
		checkClass(t, r, Unreachable)
		if !errors.Is(r.Err, ErrClosed) {
			t.Errorf("after Close: %v", r.Err)
		}
	})
}

func TestCloseCutsAttemptsOffWhenItsTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target, _ := served(t, 1, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})
		var call sync.WaitGroup
		call.Go(func() {
			if r := target.Invoke(within(t, time.Hour), invocation); r.Class != MayHaveRun {
				t.Errorf("cut off is %v: %v", r.Class, r.Err)
			}
		})
		synctest.Wait()
		if err := target.Close(within(t, time.Minute)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close says %v", err)
		}
		call.Wait()
	})
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "3": 3 * time.Second, "-3": 0, "soon": 0, "1.5": 0,
		"99999999999999999999": 0, "9999999999": 24 * time.Hour,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute,
		"Fri, 02 Jan 2026 03:03:05 GMT": 0,
		"Fri, 02 Jan 2099 03:03:05 GMT": 24 * time.Hour,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("Retry-After %q is %v, want %v", value, got, want)
		}
	}
}

func TestAWrongURLIsRefusedWithoutShowingIt(t *testing.T) {
	for _, bad := range []string{"", "function", "ftp://geheim@host/", "http://", "http://:80/", "http://user:geheim@host:port/", "http://a b/geheim"} {
		_, err := NewHTTP(HTTPConfig{URL: bad})
		if err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := NewHTTP(HTTPConfig{URL: "http://host/", MaxConnections: -1}); err == nil {
		t.Error("a negative number of connections is taken")
	}
}
