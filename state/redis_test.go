package state_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"github.com/culvertio/culvert/state"
	"github.com/culvertio/culvert/state/ledgertest"
)

var channel = state.Channel{Tunnel: "tunnel-id", Channel: "channel-id"}

func TestAConfigurationThatIsWrongIsRefusedByName(t *testing.T) {
	for url, want := range map[string]string{
		"":                                      "redis://",
		"127.0.0.1:6379":                        "redis://",
		"redis://":                              "redis://",
		"redis:opaque":                          "redis://",
		"http://h":                              "redis://",
		"unix:///tmp/redis.sock":                "redis://",
		"redis://h/one":                         "redis://",
		"redis://h/-1":                          "redis://",
		"redis://h/0/1":                         "redis://",
		"redis://h?db=1":                        "redis://",
		"rediss://user:s3cret@h:6379":           "TLS",
		"redis+cluster://:s3cret@h1:1,h2:2":     "redis+cluster://",
		"redis-sentinel://:s3cret@h":            "redis-sentinel://",
		"redis://:s3cret@h1:6379,h2:6379":       "cluster",
		"redis://user:s3cret/s3cret@h:6379/0":   "%xx",
		"redis://user:6379/s3cret@h:6379/0":     "%xx",
		"redis://:s3cret@h:s3cret":              "%xx",
		"redis://:%s3cret@h":                    "%xx",
		"redis://user:s3cret@h?x=s3cret#s3cret": "%xx",
	} {
		r, err := state.OpenRedis(state.RedisConfig{URL: url})
		if err == nil {
			t.Errorf("%s: opened", url)
			r.Close()
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, c := range []state.RedisConfig{{TTL: time.Second}, {TTL: -1}, {Timeout: -1}, {Timeout: time.Millisecond}} {
		c.URL = "redis://127.0.0.1"
		if _, err := state.OpenRedis(c); err == nil {
			t.Errorf("opened: %+v", c)
		}
	}
}

func TestUserPasswordAndDatabaseOfTheURLAreUsed(t *testing.T) {
	m := miniredis.RunT(t)
	m.RequireUserAuth("us/er", "p@ss:w/rd")
	l := ledgertest.Open(t, "redis://us%2Fer:p%40ss%3Aw%2Frd@"+m.Addr()+"/3")
	if _, err := l.Attach(t.Context(), state.AttachRequest{Channel: channel, Nonce: "n"}); err != nil {
		t.Fatal(err)
	}
	if keys := m.DB(3).Keys(); len(keys) != 1 || keys[0] != "culvert:{tunnel-id/channel-id}" {
		t.Errorf("keys in database 3: %q", keys)
	}

	l = ledgertest.Open(t, "redis://us%2Fer:wr0ng@"+m.Addr())
	_, err := l.Ping(t.Context())
	if !errors.Is(err, state.ErrUnavailable) || !strings.Contains(err.Error(), "the password in ledger.redis") || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("a wrong password: %v", err)
	}
}

func TestTheEmbeddedLedgerSaysThatItDiesWithTheProcess(t *testing.T) {
	r, err := state.OpenEmbedded(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	warning, err := r.Ping(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"dies with this process", "does not wait for it", "ledger.redis", "With either, delivery goes on from the checkpoint"} {
		if !strings.Contains(warning, want) {
			t.Errorf("the warning does not say %q: %s", want, warning)
		}
	}
}

// A server that takes connections and says nothing ends a call after the
// configured time, not never.
func TestAServerThatNeverAnswersIsUnavailable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, err := state.OpenRedis(state.RedisConfig{URL: "redis://" + l.Addr().String(), Timeout: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = r.Attach(t.Context(), state.AttachRequest{Channel: channel, Nonce: "n"})
	if !errors.Is(err, state.ErrUnavailable) || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v", err)
	}
	failure, typed := errors.AsType[*state.Failure](err)
	if !typed || failure.Operation != "attach" || failure.Address != l.Addr().String() || failure.Hint == "" {
		t.Errorf("got %#v", failure)
	}
}

func TestAConnectionCutBeforeOrAfterTheScriptRanIsReplaced(t *testing.T) {
	m := miniredis.RunT(t)
	l := ledgertest.Open(t, "redis://"+m.Addr())
	a, err := l.Attach(t.Context(), state.AttachRequest{Channel: channel, Nonce: "n"})
	if err != nil {
		t.Fatal(err)
	}
	lane := state.Lane{Trigger: "x"}
	cut := true
	m.Server().SetPreHook(func(p *server.Peer, cmd string, args ...string) bool {
		if cmd != "EVALSHA" || !cut {
			return false
		}
		cut = false
		p.Close()
		return true
	})
	if _, err := l.Begin(t.Context(), a.Owner, lane, state.Batch{ID: "1"}); err != nil {
		t.Error(err)
	}
	cut = true
	m.Server().SetPreHook(func(p *server.Peer, cmd string, args ...string) bool {
		if cmd == "EVALSHA" && cut {
			// The script runs and its answer is lost.
			p.Close()
			cut = false
		}
		return false
	})
	if err := l.Settle(t.Context(), a.Owner, state.Settlement{Lane: lane, BatchID: "1"}); err != nil {
		t.Error(err)
	}
	m.Server().SetPreHook(nil)
	if _, err := l.Begin(t.Context(), a.Owner, lane, state.Batch{ID: "2"}); err != nil {
		t.Error(err)
	}
}

func TestALedgerOfANewerProgramIsRefused(t *testing.T) {
	m := miniredis.RunT(t)
	l := ledgertest.Open(t, "redis://"+m.Addr())
	q := state.AttachRequest{Channel: channel, Nonce: "n"}
	if _, err := l.Attach(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	m.HSet("culvert:{tunnel-id/channel-id}", "schema", "2")
	if _, err := l.Attach(t.Context(), q); !errors.Is(err, state.ErrSchema) {
		t.Errorf("got %v", err)
	}
}

func TestAKeyOfAnotherTypeIsAnErrorAndIsLeftAlone(t *testing.T) {
	m := miniredis.RunT(t)
	l := ledgertest.Open(t, "redis://"+m.Addr())
	if err := m.Set("culvert:{tunnel-id/channel-id}", "mine"); err != nil {
		t.Fatal(err)
	}
	_, err := l.Attach(t.Context(), state.AttachRequest{Channel: channel, Nonce: "n"})
	if !errors.Is(err, state.ErrUnavailable) || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("got %v", err)
	}
	if v, err := m.Get("culvert:{tunnel-id/channel-id}"); err != nil || v != "mine" {
		t.Errorf("the key holds %q, %v", v, err)
	}
}
