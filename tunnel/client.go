package tunnel

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
)

// ClientConfig is what a [Client] needs to know. Zero values mean the
// defaults.
type ClientConfig struct {
	// Endpoint is the instance's address, http:// or https:// with host and,
	// if need be, port, and no path. Required.
	Endpoint string
	// Instance is the instance's name. Required.
	Instance string
	// Credentials sign the requests. Default [EnvironmentCredentials].
	Credentials CredentialsProvider
	// HTTPClient sends the requests. Default: one of the Client's own, which
	// honours the proxy variables of the environment and keeps a connection
	// open for each of a thousand channels. Of one that is given, the
	// transport and the time-out are used; redirects are never followed, as
	// they would carry the security token elsewhere.
	HTTPClient *http.Client
	// RequestTimeout bounds one attempt, from dialing to the answer's last
	// byte. Default 60 s, 10 ms to 10 min.
	RequestTimeout time.Duration
	// Retry says how long failed calls are tried again.
	Retry RetryConfig
	// Logger gets a line for every attempt that is repeated: Debug while the
	// waits are short, Warn from one second on. Default slog.Default().
	Logger *slog.Logger
}

// withDefaults fills in what was left out.
func (cfg ClientConfig) withDefaults() ClientConfig {
	if cfg.Credentials == nil {
		cfg.Credentials = EnvironmentCredentials()
	}
	cfg.RequestTimeout = cmp.Or(cfg.RequestTimeout, 60*time.Second)
	cfg.Retry.Data = cfg.Retry.Data.withDefaults(16*time.Millisecond, 3*time.Second, 75*time.Second)
	cfg.Retry.Other = cfg.Retry.Other.withDefaults(100*time.Millisecond, 2*time.Second, 35*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	return cfg
}

func (s RetrySchedule) withDefaults(first, longest, total time.Duration) RetrySchedule {
	return RetrySchedule{
		First: cmp.Or(s.First, first),
		Max:   cmp.Or(s.Max, max(longest, s.First)),
		Total: cmp.Or(s.Total, total),
	}
}

// validate names all that is wrong with a configuration whose defaults are
// filled in.
func (cfg ClientConfig) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	const example = "https://INSTANCE.REGION.ots.aliyuncs.com"
	u, err := url.Parse(cfg.Endpoint)
	switch {
	case cfg.Endpoint == "":
		wrong("Endpoint: missing; it looks like %s", example)
	case err != nil:
		// The error of url.Parse would quote a password.
		wrong("Endpoint: not a URL; it looks like %s", example)
	case u.User != nil:
		wrong("Endpoint: holds a user name; credentials are given apart")
	case u.Scheme != "http" && u.Scheme != "https":
		wrong("Endpoint: %q begins with neither http:// nor https://", cfg.Endpoint)
	case u.Hostname() == "":
		wrong("Endpoint: %q names no host", cfg.Endpoint)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		wrong("Endpoint: %q goes on after host and port", cfg.Endpoint)
	}

	// What cannot be a header's value is refused here; which names exist, the
	// service knows.
	switch {
	case cfg.Instance == "":
		wrong("Instance: missing")
	case strings.ContainsFunc(cfg.Instance, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		wrong("Instance: %q has a space or another character that no name has", cfg.Instance)
	}

	if t := cfg.RequestTimeout; t < 10*time.Millisecond || t > 10*time.Minute {
		wrong("RequestTimeout: %v is not between 10ms and 10m", t)
	}
	for _, s := range []struct {
		name string
		RetrySchedule
	}{
		{"Retry.Data", cfg.Retry.Data},
		{"Retry.Other", cfg.Retry.Other},
	} {
		if s.First < time.Millisecond || s.First > s.Max {
			wrong("%s.First: %v is not between 1ms and Max, %v", s.name, s.First, s.Max)
		}
		if s.Max > 10*time.Minute {
			wrong("%s.Max: %v is more than 10m", s.name, s.Max)
		}
	}
	return errors.Join(errs...)
}

// Client calls the Tunnel Service. Every call blocks until it has an answer,
// its context ends or the failure is not worth another attempt ([Retryable],
// [RetryConfig]); every error is an [*Error]. A Client may be used by many
// goroutines at once.
type Client struct {
	endpoint    string // no trailing slash
	instance    string
	credentials CredentialsProvider
	http        http.Client
	ownHTTP     bool
	timeout     time.Duration
	retry       RetryConfig
	log         *slog.Logger
	userAgent   string
}

// NewClient makes a Client, or names everything that is wrong with cfg at
// once. It does not call the service, and does not ask for credentials yet.
func NewClient(cfg ClientConfig) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("tunnel client: %w", err)
	}
	c := &Client{
		endpoint:    strings.TrimRight(cfg.Endpoint, "/"),
		instance:    cfg.Instance,
		credentials: cfg.Credentials,
		timeout:     cfg.RequestTimeout,
		retry:       cfg.Retry,
		log:         cfg.Logger,
		userAgent:   "culvert/" + version(),
	}
	if cfg.HTTPClient != nil {
		c.http = *cfg.HTTPClient
	} else {
		c.ownHTTP = true
		c.http.Transport = newTransport()
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// Close closes idle connections, unless they belong to an HTTPClient that
// was given. Calls under way go on; later ones open new connections.
func (c *Client) Close() {
	if c.ownHTTP {
		c.http.CloseIdleConnections()
	}
}

// newTransport is sized for many channels that read from one host: the
// standard one keeps two idle connections to a host and would dial anew for
// nearly every read.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConnsPerHost:    1024,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}
}

// version is this module's, as the binary was built with it.
func version() string {
	const module = "github.com/culvertio/culvert"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module && m.Version != "" {
			return strings.Trim(m.Version, "()")
		}
	}
	return "devel"
}
