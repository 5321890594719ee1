package state_test

import (
	"context"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/culvertio/culvert/state"
	"github.com/culvertio/culvert/state/ledgertest"
)

// twice runs every script a second time, as go-redis does after a time-out.
type twice struct {
	t testing.TB
	// hash is what the server holds at a key, on a server whose clock stands
	// still; nil elsewhere, where only the kind of answer is compared.
	hash func(key string) map[string]string
}

func (h twice) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return next(ctx, network, address)
	}
}

func (h twice) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h twice) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, first []redis.Cmder) error {
		err := next(ctx, first)
		if err != nil || first[0].Name() != "evalsha" {
			return err
		}
		var second []redis.Cmder
		before := map[string]map[string]string{}
		for _, c := range first {
			second = append(second, redis.NewCmd(ctx, c.Args()...))
			if h.hash != nil {
				key := c.Args()[3].(string)
				before[key] = h.hash(key)
			}
		}
		if err := next(ctx, second); err != nil {
			h.t.Errorf("the second time: %v", err)
			return nil
		}
		for i, c := range first {
			one, two := c.(*redis.Cmd).Val(), second[i].(*redis.Cmd).Val()
			if h.hash == nil {
				one, two = one.([]any)[0], two.([]any)[0]
			}
			if d := cmp.Diff(one, two); d != "" {
				h.t.Errorf("%v answers otherwise the second time:\n%s", c.Args(), d)
			}
		}
		for key, was := range before {
			if d := cmp.Diff(was, h.hash(key)); d != "" {
				h.t.Errorf("%v changed something the second time:\n%s", first, d)
			}
		}
		return nil
	}
}

func openTwice(hash func(string) map[string]string) ledgertest.OpenFunc {
	return func(t testing.TB, url string) state.Ledger {
		l := ledgertest.Open(t, url)
		l.(*state.Redis).AddHook(twice{t, hash})
		return l
	}
}

func TestEveryScriptMayRunTwiceOnMiniredis(t *testing.T) {
	var hash func(string) map[string]string
	s, m := ledgertest.Mini(t, func(t testing.TB, url string) state.Ledger { return openTwice(hash)(t, url) })
	hash = stopped(t, m)
	ledgertest.Run(t, s)
}

func TestEveryScriptMayRunTwiceOnARealRedis(t *testing.T) {
	s, _ := ledgertest.Real(t, openTwice(nil))
	ledgertest.Run(t, s)
}

// stopped makes the server's clock stand still and returns what it holds at a
// key, with the time to live under "".
func stopped(t *testing.T, m *miniredis.Miniredis) func(key string) map[string]string {
	m.SetTime(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	return func(key string) map[string]string {
		if !m.Exists(key) {
			return nil
		}
		fields, err := m.HKeys(key)
		if err != nil {
			t.Error(err)
		}
		held := map[string]string{"": m.TTL(key).String()}
		for _, f := range fields {
			held[f] = m.HGet(key, f)
		}
		return held
	}
}

// late runs scripts again after later ones: their connection was given up
// with them still on the way, and they arrive after all.
type late struct {
	t    testing.TB
	hash func(key string) map[string]string
	rand *rand.Rand
	sent map[string][]redis.Cmder // by key
}

func (h *late) DialHook(next redis.DialHook) redis.DialHook { return twice{}.DialHook(next) }

func (h *late) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h *late) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if err != nil || cmds[0].Name() != "evalsha" {
			return err
		}
		for _, c := range cmds {
			key := c.Args()[3].(string)
			before := h.hash(key)
			if earlier := h.sent[key]; len(earlier) > 0 {
				again := earlier[h.rand.IntN(len(earlier))]
				if h.mayArrive(again, before) {
					_ = next(ctx, []redis.Cmder{redis.NewCmd(ctx, again.Args()...)})
				}
				if d := cmp.Diff(before, h.hash(key)); d != "" {
					h.t.Errorf("%v changed something when it came late:\n%s", again, d)
				}
			}
		}
		for _, c := range cmds {
			key := c.Args()[3].(string)
			h.sent[key] = append(h.sent[key], c)
		}
		return nil
	}
}

// mayArrive leaves out the claims that nothing can tell from new ones: of
// another process, or where nothing is. They cost the owner its channel until
// it attaches again.
func (h *late) mayArrive(c redis.Cmder, held map[string]string) bool {
	if _, attach := c.Args()[5].(int); !attach {
		return true
	}
	return strings.TrimPrefix(held["nonce"], "released ") == c.Args()[6]
}

func TestAScriptThatComesAfterLaterOnesChangesNothing(t *testing.T) {
	var hash func(string) map[string]string
	s, m := ledgertest.Mini(t, func(t testing.TB, url string) state.Ledger {
		l := ledgertest.Open(t, url)
		l.(*state.Redis).AddHook(&late{t, hash, rand.New(rand.NewPCG(1, 2)), map[string][]redis.Cmder{}})
		return l
	})
	hash = stopped(t, m)
	ledgertest.Run(t, s)
}
