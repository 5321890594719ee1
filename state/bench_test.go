package state_test

import (
	"strconv"
	"sync"
	"testing"

	"github.com/culvertio/culvert/state"
	"github.com/culvertio/culvert/state/ledgertest"
)

// BenchmarkBeginAndSettle is for people: how many batches a second the ledger
// takes from so many callers at once.
func BenchmarkBeginAndSettle(b *testing.B) {
	real, _ := ledgertest.Real(b, ledgertest.Open)
	mini, _ := ledgertest.Mini(b, ledgertest.Open)
	servers := map[string]func() state.Ledger{
		"redis":     func() state.Ledger { return real.Open(b) },
		"miniredis": func() state.Ledger { return mini.Open(b) },
		"embedded": func() state.Ledger {
			l, err := state.OpenEmbedded(nil)
			if err != nil {
				b.Fatal(err)
			}
			return l
		},
	}
	for name, open := range servers {
		for _, callers := range []int{1, 32, 1000} {
			b.Run(name+"/"+strconv.Itoa(callers)+" callers", func(b *testing.B) {
				beginAndSettle(b, open(), callers)
			})
		}
	}
}

func beginAndSettle(b *testing.B, l state.Ledger, callers int) {
	defer l.Close()
	a, err := l.Attach(b.Context(), state.AttachRequest{Channel: channel, Nonce: "n"})
	if err != nil {
		b.Fatal(err)
	}
	batches := make(chan int)
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			lane := state.Lane{Trigger: "x", Index: i}
			batch := state.Batch{
				First: state.Mark{Position: "00000001:00063a1b2c3d4e5f:00000001", Fingerprint: 1 << 60},
				Last:  state.Mark{Position: "00000001:00063a1b2c3d4e5f:00000064", Fingerprint: 1 << 60},
				Count: 100, Digest: 1 << 60, Attempt: 1,
			}
			for n := range batches {
				batch.ID = "0123456789abcdef" + strconv.Itoa(n)
				if _, err := l.Begin(b.Context(), a.Owner, lane, batch); err != nil {
					b.Error(err)
					return
				}
				if err := l.Settle(b.Context(), a.Owner, state.Settlement{Lane: lane, BatchID: batch.ID, Last: batch.Last}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	for n := 0; b.Loop(); n++ {
		batches <- n
	}
	close(batches)
	wait.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "batches/s")
}
