package tunnel_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/internal/sign"
)

// issuer is a security token service.
type issuer struct {
	lasts time.Duration // 0: for ever
	takes time.Duration
	fails func(n int) error // of the fetch numbered from 1

	mu      sync.Mutex
	began   time.Time
	fetches []time.Duration
	now     int
	most    int
}

func newIssuer(lasts time.Duration) *issuer { return &issuer{lasts: lasts, began: time.Now()} }

func (i *issuer) fetch(ctx context.Context) (tunnel.Credentials, time.Time, error) {
	i.mu.Lock()
	i.fetches = append(i.fetches, time.Since(i.began))
	n := len(i.fetches)
	i.now++
	i.most = max(i.most, i.now)
	i.mu.Unlock()
	defer func() {
		i.mu.Lock()
		i.now--
		i.mu.Unlock()
	}()
	select {
	case <-time.After(i.takes):
	case <-ctx.Done():
		return tunnel.Credentials{}, time.Time{}, ctx.Err()
	}
	if i.fails != nil {
		if err := i.fails(n); err != nil {
			return tunnel.Credentials{}, time.Time{}, err
		}
	}
	var expires time.Time
	if i.lasts != 0 {
		expires = time.Now().Add(i.lasts)
	}
	return tunnel.Credentials{
		AccessKeyID:     fmt.Sprint("STS.", n),
		AccessKeySecret: fmt.Sprint("secret-", n),
		SecurityToken:   fmt.Sprint("token-", n),
	}, expires, nil
}

func (i *issuer) times() []time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]time.Duration(nil), i.fetches...)
}

func refreshing(t *testing.T, i *issuer, cfg tunnel.RefreshConfig) *tunnel.RefreshingCredentials {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Retry.Jitter == 0 {
		cfg.Retry.Jitter = -1
	}
	r, err := tunnel.NewRefreshingCredentials(i.fetch, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// key is the access key that a request would be signed with, or the error.
func key(t *testing.T, r *tunnel.RefreshingCredentials) string {
	t.Helper()
	c, err := r.Credentials(t.Context())
	if err != nil {
		return err.Error()
	}
	return c.AccessKeyID
}

func TestOnlyTheFirstRequestsWaitForCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(time.Hour)
		i.takes = 20 * time.Second
		r := refreshing(t, i, tunnel.RefreshConfig{Ahead: 10 * time.Minute})
		var waiting sync.WaitGroup
		for range 10 {
			waiting.Go(func() { equal(t, "key", "STS.1", key(t, r)) })
		}
		waiting.Wait()
		equal(t, "the first wait", 20*time.Second, time.Since(i.began))

		// From now on nobody waits, while credentials change beneath.
		for range 3 * 60 * 60 {
			before := time.Now()
			if k := key(t, r); !strings.HasPrefix(k, "STS.") {
				t.Fatal(k)
			}
			if w := time.Since(before); w != 0 {
				t.Fatalf("a request waited %v", w)
			}
			time.Sleep(time.Second)
		}
		// Each lasts an hour from when it came, 20 s after it was asked for.
		step := 50*time.Minute + 20*time.Second
		equal(t, "fetches", []time.Duration{0, step, 2 * step, 3 * step}, i.times())
		equal(t, "at a time", 1, i.most)
	})
}

func TestShortLivedCredentialsAreRefreshedAtHalfTheirTimeAndLastingOnesNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(time.Minute)
		r := refreshing(t, i, tunnel.RefreshConfig{})
		time.Sleep(100 * time.Second)
		equal(t, "key", "STS.4", key(t, r))
		equal(t, "fetches", []time.Duration{0, 30 * time.Second, time.Minute, 90 * time.Second}, i.times())
		r.Close()

		lasting := newIssuer(0)
		r = refreshing(t, lasting, tunnel.RefreshConfig{})
		time.Sleep(1000 * time.Hour)
		equal(t, "key", "STS.1", key(t, r))
		equal(t, "fetches", 1, len(lasting.times()))
	})
}

func TestTheOldCredentialsAreUsedWhileValidAndNewOnesAskedForUntilTheyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(time.Hour)
		i.fails = func(n int) error {
			if n >= 2 && n <= 20 {
				return fmt.Errorf("%w: the token service is down", tunnel.ErrNoCredentials)
			}
			return nil
		}
		log := new(logbook)
		r := refreshing(t, i, tunnel.RefreshConfig{
			Ahead: 10 * time.Minute, Retry: tunnel.Backoff{First: time.Minute, Max: time.Minute}, Logger: slog.New(log),
		})
		time.Sleep(59*time.Minute + 59*time.Second)
		equal(t, "key", "STS.1", key(t, r))
		equal(t, "warnings", 10, log.said("WARN the credentials could not be refreshed"))

		time.Sleep(90 * time.Second)
		_, err := r.Credentials(t.Context())
		if !errors.Is(err, tunnel.ErrCredentialsExpired) || !strings.Contains(err.Error(), "the token service is down") || tunnel.Fatal(err) {
			t.Errorf("expired: %v, fatal %v", err, tunnel.Fatal(err))
		}
		if log.said("ERROR the credentials have expired") == 0 {
			t.Error("the log does not tell that they have expired")
		}
		time.Sleep(8 * time.Minute)
		equal(t, "key", "STS.21", key(t, r))
		equal(t, "fetches", 21, len(i.times()))
	})
}

func TestAFirstFetchThatFailsAnswersThoseWhoWaitAndIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		forbidden := errors.New("you may not assume this role")
		i := newIssuer(time.Hour)
		i.takes = time.Second
		i.fails = func(n int) error {
			if n < 4 {
				return forbidden
			}
			return nil
		}
		r := refreshing(t, i, tunnel.RefreshConfig{})
		_, err := r.Credentials(t.Context())
		if !errors.Is(err, forbidden) {
			t.Errorf("%v", err)
		}
		equal(t, "waited", time.Second, time.Since(i.began))
		time.Sleep(time.Minute)
		equal(t, "key", "STS.4", key(t, r))
		equal(t, "fetches", []time.Duration{0, 2 * time.Second, 5 * time.Second, 10 * time.Second}, i.times())
	})
}

func TestEachOutageOfTheSourceBeginsWithTheShortestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(time.Hour)
		i.fails = func(n int) error {
			if n != 5 {
				return errors.New("the token service stumbles")
			}
			return nil
		}
		refreshing(t, i, tunnel.RefreshConfig{})
		time.Sleep(15*time.Second + 50*time.Minute + 2*time.Second)
		due := 15*time.Second + 50*time.Minute
		equal(t, "fetches", []time.Duration{
			0, time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second,
			due, due + time.Second,
		}, i.times())
	})
}

func TestCredentialsThatAreOfNoUseCountAsAFailure(t *testing.T) {
	for name, tt := range map[string]struct {
		fetch tunnel.FetchCredentials
		says  string
	}{
		"empty": {func(context.Context) (tunnel.Credentials, time.Time, error) {
			return tunnel.Credentials{}, time.Time{}, nil
		}, "access key ID is empty"},
		"expired": {func(context.Context) (tunnel.Credentials, time.Time, error) {
			return tunnel.Credentials{AccessKeyID: "id", AccessKeySecret: "s3cr3t"}, time.Now(), nil
		}, "had expired at"},
		"hanging": {func(ctx context.Context) (tunnel.Credentials, time.Time, error) {
			<-ctx.Done()
			return tunnel.Credentials{}, time.Time{}, ctx.Err()
		}, "no credentials within 30s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, err := tunnel.NewRefreshingCredentials(tt.fetch, tunnel.RefreshConfig{Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				_, err = r.Credentials(t.Context())
				if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "s3cr3t") {
					t.Errorf("%v", err)
				}
				if errors.Is(err, context.DeadlineExceeded) {
					t.Error("the time-out is taken for the caller's")
				}
			})
		})
	}
}

func TestARequestStopsWaitingForCredentialsWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(time.Hour)
		i.takes = time.Minute
		r := refreshing(t, i, tunnel.RefreshConfig{Timeout: 2 * time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Credentials(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		r.Close() // ends the fetch under way
		equal(t, "time", time.Second, time.Since(i.began))
		if _, err := r.Credentials(t.Context()); err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestWhatRefreshesCredentialsShowsNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(time.Hour)
		r := refreshing(t, i, tunnel.RefreshConfig{Name: "role reader"})
		key(t, r)
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			if s := fmt.Sprintf(format, r); strings.Contains(s, "secret") || strings.Contains(s, "token-") || !strings.Contains(s, "role reader") {
				t.Errorf("%s shows %s", format, s)
			}
		}
	})
}

func TestARefreshsConfigurationNamesEveryMistake(t *testing.T) {
	_, err := tunnel.NewRefreshingCredentials(nil, tunnel.RefreshConfig{
		Ahead: time.Millisecond, Timeout: time.Hour, Retry: tunnel.Backoff{Max: 2 * time.Hour},
	})
	for _, part := range []string{"Ahead:", "Timeout:", "Retry.Max:", "fetch:"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s is not named in: %v", part, err)
		}
	}
}

// A guard lets a request pass whose token the issuer gave, whose secret
// signed it, and whose time has not passed.
type guard struct {
	issuer  *issuer
	next    http.Handler
	refused atomic.Int64
	tokens  sync.Map
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := 0
	token := r.Header.Get(sign.SecurityToken)
	_, _ = fmt.Sscanf(token, "token-%d", &n)
	g.issuer.mu.Lock()
	valid := n >= 1 && n <= len(g.issuer.fetches) && time.Since(g.issuer.began) < g.issuer.fetches[n-1]+g.issuer.takes+g.issuer.lasts
	g.issuer.mu.Unlock()
	api := sign.API(r.Header.Get(sign.APIVersion))
	if !valid || r.Header.Get(sign.AccessKeyID) != fmt.Sprint("STS.", n) || !sign.Verify(api, fmt.Sprint("secret-", n), r.URL.Path, r.Header) {
		g.refused.Add(1)
		reject(w, r, 403, tunnel.CodeAuthFailed)
		return
	}
	g.tokens.Store(token, true)
	g.next.ServeHTTP(w, r)
}

func TestCredentialsRotateUnderLoadAndNoRequestIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{Partitions: 4, PageRecords: 5}, tunnel.Stream)
		i := newIssuer(5 * time.Minute)
		i.takes = 10 * time.Second
		i.fails = func(n int) error {
			if n%3 == 0 {
				return errors.New("the token service stumbles")
			}
			return nil
		}
		g := &guard{issuer: i, next: s}
		s.client = s.dial(refreshing(t, i, tunnel.RefreshConfig{Ahead: 2 * time.Minute}), g)
		h := newHistory()
		c := s.start(tunnel.ProcessorConfig{Idle: tunnel.Backoff{Max: 10 * time.Second}}, h.process)
		want := make(map[string][]string)
		for n := range 200 {
			id := fmt.Sprint("order-", n%25)
			s.put(id, int64(n))
			want[id] = append(want[id], fmt.Sprint("PutRow ", n))
			time.Sleep(20 * time.Second)
		}
		time.Sleep(time.Minute)
		c.stop()
		equal(t, "records", want, h.seen())
		equal(t, "requests refused", 0, g.refused.Load())
		equal(t, "fetches at a time", 1, i.most)
		used := 0
		g.tokens.Range(func(any, any) bool { used++; return true })
		if used < 10 {
			t.Errorf("only %d tokens were used", used)
		}
	})
}

func TestACallThatFindsItsCredentialsExpiredIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, emulator.Config{}, tunnel.Stream)
		i := newIssuer(time.Minute)
		i.fails = func(n int) error {
			if n > 1 && time.Since(i.began) < 70*time.Second {
				return errors.New("the token service is down")
			}
			return nil
		}
		r := refreshing(t, i, tunnel.RefreshConfig{Retry: tunnel.Backoff{Max: 2 * time.Second}})
		client := s.dial(r, s)
		time.Sleep(65 * time.Second)
		if _, err := client.ListTunnel(t.Context(), tunnel.ListTunnelRequest{Table: "orders"}); err != nil {
			t.Error(err)
		}
		if d := time.Since(i.began); d < 70*time.Second || d > 75*time.Second {
			t.Errorf("answered after %v", d)
		}
	})
}
