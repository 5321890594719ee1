package state_test

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/goleak"

	"github.com/culvertio/culvert/state"
	"github.com/culvertio/culvert/state/ledgertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMiniredisKeepsTheLedgersPromises(t *testing.T) {
	s, _ := ledgertest.Mini(t, ledgertest.Open)
	ledgertest.Run(t, s)
}

func TestARealRedisKeepsTheLedgersPromises(t *testing.T) {
	s, _ := ledgertest.Real(t, ledgertest.Open)
	ledgertest.Run(t, s)
}

func TestTheEmbeddedServerKeepsTheLedgersPromises(t *testing.T) {
	m := miniredis.NewMiniRedis()
	defer m.Close()
	ledgertest.Run(t, ledgertest.Server{
		Open: func(t testing.TB) state.Ledger {
			l := state.OpenMiniredis(m, nil)
			t.Cleanup(func() { _ = l.Close() })
			return l
		},
		Flush: func(testing.TB) { m.FlushAll() },
	})
}
