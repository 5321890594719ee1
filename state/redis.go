package state

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// RedisConfig says where the ledger is and how to treat it.
type RedisConfig struct {
	// URL is redis://[user:password@]host[:port][/db], port 6379 and db 0 by
	// default. Required.
	URL string
	// TTL is how long a channel that nobody writes to is remembered. It must
	// be no less than the stream's retention. Default 8 days, at least 1 min.
	TTL time.Duration
	// Timeout bounds each of dialling, sending and receiving. Default 5 s,
	// at least 10 ms.
	Timeout time.Duration
	Logger  *slog.Logger // nil: slog.Default()
}

// Redis is a [Ledger] on a Redis server of version 7 or later, or one that
// speaks like it. An older one works, but cannot settle at its maxmemory.
type Redis struct {
	client   *redis.Client
	address  string
	embedded bool
	ttl      int64 // in milliseconds
	log      *slog.Logger

	calls   chan *call
	scripts scripts         // send's own
	trip    int64           // send's own: the number of the latest round trip
	closing context.Context // done once Close has begun
	close   context.CancelFunc
	stop    func() // ends the embedded server; nil: there is none
	sender  sync.WaitGroup
}

// OpenRedis makes a ledger of a Redis server. It fails only on a
// configuration that is wrong: whether the server can be reached is for
// [Redis.Ping] to say, and a server that is away is found again by itself.
func OpenRedis(c RedisConfig) (*Redis, error) {
	options, err := parseURL(c.URL)
	if err != nil {
		return nil, err
	}
	if c.TTL == 0 {
		c.TTL = 8 * 24 * time.Hour
	}
	if c.TTL < time.Minute {
		return nil, fmt.Errorf("ledger: TTL is %v: it must be at least 1m and no less than the stream's retention", c.TTL)
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Timeout < 10*time.Millisecond {
		return nil, fmt.Errorf("ledger: Timeout is %v: it must be at least 10ms", c.Timeout)
	}
	options.ReadTimeout, options.WriteTimeout = c.Timeout, c.Timeout
	options.Dialer = (&net.Dialer{Timeout: c.Timeout}).DialContext
	return open(options, c.TTL, c.Logger), nil
}

// parseURL reads a URL. No error holds any part of it but scheme and host:
// where it is malformed, a password can turn up anywhere else.
func parseURL(s string) (*redis.Options, error) {
	const form = "ledger: the URL must be redis://[user:password@]host:port/db, with special characters of user and password written as %xx"
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New(form)
	}
	switch u.Scheme {
	case "redis":
	case "rediss":
		return nil, errors.New("ledger: rediss:// (TLS) is not supported: use redis:// within a trusted network")
	case "redis+cluster", "redis-cluster", "rediss+cluster", "redis+sentinel", "redis-sentinel":
		return nil, fmt.Errorf("ledger: %s:// is not supported: name a single server with redis://", u.Scheme)
	default:
		return nil, errors.New(form)
	}
	if strings.Contains(u.Host, ",") {
		return nil, errors.New("ledger: the URL names several servers; a cluster is not supported: name a single one")
	}
	if u.Hostname() == "" || u.Opaque != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New(form)
	}
	o := &redis.Options{Username: u.User.Username()}
	o.Password, _ = u.User.Password()
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	o.Addr = net.JoinHostPort(u.Hostname(), port)
	if db := strings.Trim(u.Path, "/"); db != "" {
		n, err := strconv.ParseUint(db, 10, 16)
		if err != nil {
			return nil, errors.New(form)
		}
		o.DB = int(n)
	}
	return o, nil
}

// open starts the ledger on a client with these options.
func open(o *redis.Options, ttl time.Duration, log *slog.Logger) *Redis {
	// One retry replaces a connection that died while it was idle; scripts may
	// run twice. A server that stays away is the caller's to wait for: more
	// retries here would only hide it.
	o.MaxRetries, o.DialerRetries = 1, 1
	o.MinRetryBackoff, o.MaxRetryBackoff = time.Millisecond, 10*time.Millisecond
	o.Dialer = dialLate(o.Dialer)
	// One goroutine sends.
	o.PoolSize, o.PipelinePoolSize = 1, -1
	o.ReadBufferSize, o.WriteBufferSize = 64<<10, 64<<10
	o.Protocol, o.DisableIdentity = 2, true
	// A managed service's announcements are not for us, and asking for them
	// looks the address up.
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if log == nil {
		log = slog.Default()
	}
	r := &Redis{
		client:  redis.NewClient(o),
		address: o.Addr,
		ttl:     milliseconds(ttl),
		log:     log,
		calls:   make(chan *call),
	}
	r.closing, r.close = context.WithCancel(context.Background())
	r.sender.Go(r.send)
	return r
}

// Ping reports whether the server can be reached and is fit to be a ledger,
// and says in a warning (empty: none) what weakens its promises. A server
// that cannot take a write, a replica or a cluster's member, is an error.
func (r *Redis) Ping(ctx context.Context) (warning string, err error) {
	reply, err := r.run(ctx, ping, "")
	if err != nil {
		return "", r.failed(ctx, ping, "", err)
	}
	if r.embedded {
		return "the ledger is embedded and dies with this process: who takes a channel over cannot learn what is still under way and does not wait for it; set ledger.redis for that. With either, delivery goes on from the checkpoint after a crash: what was settled since is delivered again", nil
	}
	text, _ := reply.(string)
	info := parseInfo(text)
	if info["redis_mode"] == "cluster" {
		return "", r.unfit("it is a cluster, which is not supported", "name a single server or the primary of a replicated one")
	}
	if info["role"] == "slave" {
		return "", r.unfit("it is a replica", "ledger.redis must name the primary")
	}
	var weak []string
	if policy := info["maxmemory_policy"]; policy != "" && policy != "noeviction" {
		weak = append(weak, fmt.Sprintf("its maxmemory-policy is %s and may evict who owns a channel and what is in flight: set it to noeviction", policy))
	}
	if info["aof_enabled"] == "0" {
		weak = append(weak, "its append-only file is off and its restart loses what it was told since the last snapshot: set appendonly to yes")
	}
	if major, _, _ := strings.Cut(info["redis_version"], "."); len(major) == 1 && major < "7" {
		weak = append(weak, "it is older than Redis 7 and cannot settle once it has reached its maxmemory: upgrade it")
	}
	if len(weak) == 0 {
		return "", nil
	}
	return fmt.Sprintf("the ledger's Redis at %s weakens its promises (a channel's next owner waits for what is under way, a stale owner cannot settle): %s", r.address, strings.Join(weak, "; ")), nil
}

func (r *Redis) unfit(reason, hint string) error {
	return &Failure{Operation: ping.String(), Address: r.address, Hint: hint, Err: errors.New(reason)}
}

// parseInfo reads the answer to INFO: name:value, a line each.
func parseInfo(text string) map[string]string {
	info := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if name, value, found := strings.Cut(lines.Text(), ":"); found {
			info[name] = value
		}
	}
	return info
}

// Close ends the connections and, if there is one, the embedded server. Calls
// under way fail with ErrUnavailable.
func (r *Redis) Close() error {
	if r.closing.Err() != nil {
		return nil
	}
	r.close()
	err := r.client.Close()
	r.sender.Wait()
	if r.stop != nil {
		r.stop()
	}
	if err != nil {
		return fmt.Errorf("ledger: close: %w", err)
	}
	return nil
}
