package state

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// AddHook lets tests see and disturb what goes to the server.
func (r *Redis) AddHook(h redis.Hook) { r.client.AddHook(h) }

// OpenMini makes another ledger of an embedded server.
func OpenMini(t testing.TB, m *miniredis.Miniredis) *Redis {
	r := OpenMiniredis(m, nil)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}
