package state_test

import (
	"context"
	"net"
	"testing"
	"time"

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
	m.SetTime(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	hash = func(key string) map[string]string {
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
	ledgertest.Run(t, s)
}

func TestEveryScriptMayRunTwiceOnARealRedis(t *testing.T) {
	s, _ := ledgertest.Real(t, openTwice(nil))
	ledgertest.Run(t, s)
}
