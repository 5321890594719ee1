package tunnel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
)

func TestAnErrorIsOneLineWithAllThatIsKnown(t *testing.T) {
	for want, e := range map[string]*Error{
		"ReadRecords: OTSParameterInvalid: bad token (tunnel t, channel ch, client c, request r, HTTP 400); check it": {
			Op: "ReadRecords", Code: CodeParameterInvalid, Message: "bad token", HTTPStatus: 400,
			RequestID: "r", TunnelID: "t", ChannelID: "ch", ClientID: "c", Hint: "check it",
		},
		"ListTunnel: unexpected EOF":             {Op: "ListTunnel", Err: io.ErrUnexpectedEOF},
		"Connect: OTSTunnelExpired (tunnel t)":   {Op: "Connect", Code: CodeTunnelExpired, TunnelID: "t"},
		"ListTunnel: OTSClientError: x (HTTP 1)": {Op: "ListTunnel", Code: CodeClientError, Err: errors.New("x"), HTTPStatus: 1},
	} {
		if got := e.Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestAnErrorWithoutACodeMatchesNoCode(t *testing.T) {
	if errors.Is(&Error{Op: "x"}, Code("")) {
		t.Error("an empty code matches")
	}
}

// failing calls ListTunnel once on a server that answers with handler.
func failing(t *testing.T, handler http.HandlerFunc) (e *Error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, _ := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			consume(r)
			handler(w, r)
		}, func(cfg *ClientConfig) { cfg.Retry.Other.Total = -1 })
		_, err := client.ListTunnel(t.Context(), ListTunnelRequest{Table: "orders"})
		var ok bool
		if e, ok = errors.AsType[*Error](err); !ok {
			t.Fatalf("%T: %v", err, err)
		}
	})
	return e
}

func TestACodeThatIsNotKnownHereIsKept(t *testing.T) {
	e := failing(t, func(w http.ResponseWriter, r *http.Request) {
		refuse(t, w, 400, "OTSSomethingNew", "hello,\n\x1b[31mworld")
	})
	if !errors.Is(e, Code("OTSSomethingNew")) || e.Message != "hello, ?[31mworld" || e.RequestID != "req-1" {
		t.Errorf("%#v", e)
	}
}

func TestAGatewaysTextIsTakenForWhatItsStatusSays(t *testing.T) {
	for status, code := range map[int]Code{
		503: CodeServerUnavailable,
		502: CodeServerUnavailable,
		404: CodeClientError,
		403: CodeClientError,
		302: CodeClientError,
	} {
		// The third text decodes as a message whose code is no code.
		for _, text := range []string{"", "<html>\r\n\x1b[31m no\x00\xff" + strings.Repeat("x", 100_000), "\n\x04 a b"} {
			e := failing(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(status)
				reply(w, text)
			})
			if e.Code != code || e.HTTPStatus != status || len(e.Message) > 1024 || strings.ContainsAny(e.Message, "\r\n\x00\x1b") {
				t.Errorf("%d %.20q: %v", status, text, e)
			}
			if !strings.Contains(e.Hint, "http://tunnel.test") {
				t.Errorf("%d: the hint does not name the endpoint: %s", status, e.Hint)
			}
		}
	}
}

func TestHintsNameTheThingAndTheWayOut(t *testing.T) {
	for code, want := range map[Code][]string{
		CodeAuthFailed:             {"LTAI5t", "the configuration", `"local"`, "http://tunnel.test", "clock"},
		CodePermissionDenied:       {"LTAI5t", "the configuration", "ListTunnel", `"local"`},
		CodeNoPermissionAccess:     {"LTAI5t", "ListTunnel"},
		CodeParameterInvalid:       {`"local"`, "table", "tunnel"},
		CodeObjectNotExist:         {`"local"`, "table", "tunnel"},
		CodeTunnelExpired:          {"delete", "create"},
		CodeTunnelExist:            {"another name"},
		CodeSequenceNumberNotMatch: {"another client"},
	} {
		e := failing(t, func(w http.ResponseWriter, r *http.Request) { refuse(t, w, 400, code, "x") })
		for _, part := range want {
			if !strings.Contains(e.Hint, part) {
				t.Errorf("%s: the hint does not say %s: %s", code, part, e.Hint)
			}
		}
		if strings.Contains(e.Error(), "s3cr3t") {
			t.Errorf("%s: the error tells the secret: %v", code, e)
		}
	}
}

func TestWhereNothingListensTheErrorNamesTheEndpoint(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close()
	client, err := NewClient(ClientConfig{
		Endpoint: srv.URL, Instance: "local", Credentials: StaticCredentials("id", "secret", ""),
		Retry: RetryConfig{Other: RetrySchedule{Total: -1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.ListTunnel(t.Context(), ListTunnelRequest{Table: "orders"})
	e, ok := errors.AsType[*Error](err)
	if !ok || !errors.Is(err, syscall.ECONNREFUSED) || e.MayHaveBeenApplied() || !Retryable(err) || !strings.Contains(e.Hint, srv.URL) {
		t.Errorf("%v", err)
	}
}

func TestAnEndpointThatIsNoHostIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, mem := clientOf(t, func(http.ResponseWriter, *http.Request) {})
		mem.fail = func(int) error { return &net.DNSError{Err: "no such host", Name: "tunnel.test", IsNotFound: true} }
		_, err := client.ListTunnel(t.Context(), ListTunnelRequest{Table: "orders"})
		if mem.dialed() != 1 || Retryable(err) || !strings.Contains(err.Error(), "http://tunnel.test") {
			t.Errorf("after %d dials: %v", mem.dialed(), err)
		}
	})
}

func TestWithoutCredentialsNothingIsSent(t *testing.T) {
	clearEnvironment(t)
	client, err := NewClient(ClientConfig{Endpoint: "http://localhost", Instance: "local"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.ListTunnel(t.Context(), ListTunnelRequest{Table: "orders"})
	if !errors.Is(err, ErrNoCredentials) || !Fatal(err) || !strings.Contains(err.Error(), "the environment") {
		t.Errorf("%v", err)
	}
}

// flaky gives credentials at the third time.
type flaky struct{ asked int }

func (f *flaky) Credentials(context.Context) (Credentials, error) {
	if f.asked++; f.asked < 3 {
		return Credentials{}, syscall.ECONNRESET
	}
	return Credentials{AccessKeyID: "id", AccessKeySecret: "secret"}, nil
}

func TestAProviderWhoseNetworkFailsIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider := new(flaky)
		client, _ := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			consume(r)
		}, func(cfg *ClientConfig) { cfg.Credentials = provider })
		if _, err := client.ListTunnel(t.Context(), ListTunnelRequest{Table: "orders"}); err != nil || provider.asked != 3 {
			t.Errorf("asked %d times: %v", provider.asked, err)
		}
	})
}

func TestAnOutageIsLoggedWithoutSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		client, _ := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			consume(r)
			refuse(t, w, 503, CodeServerUnavailable, "busy")
		}, func(cfg *ClientConfig) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		_, _ = client.ListTunnel(t.Context(), ListTunnelRequest{Table: "orders"})
		text := log.String()
		if !strings.Contains(text, "level=WARN") || !strings.Contains(text, "op=ListTunnel") || !strings.Contains(text, "busy") {
			t.Errorf("the log does not tell of the outage:\n%s", text)
		}
		if strings.Contains(text, "s3cr3t") {
			t.Errorf("the log tells the secret:\n%s", text)
		}
	})
}
