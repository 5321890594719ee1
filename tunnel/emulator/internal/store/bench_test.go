package store

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
)

// One operation is a batch of a row and a log entry, of 370 bytes each, and
// the wait for it.
func BenchmarkAddAndSync(b *testing.B) {
	for _, c := range []struct {
		writers int // for each processor
		Options
	}{{1, Options{}}, {8, Options{}}, {64, Options{}}, {1, Options{NoSync: true}}, {64, Options{NoSync: true}}} {
		b.Run(fmt.Sprintf("writers=%d/nosync=%v", c.writers*runtime.GOMAXPROCS(0), c.NoSync), func(b *testing.B) {
			s, err := Open(b.TempDir(), c.Options)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			var next atomic.Uint64
			value := make([]byte, 370)
			b.SetParallelism(c.writers)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var batch Batch
				for pb.Next() {
					key := binary.BigEndian.AppendUint64(nil, next.Add(1))
					batch.Put(Log, key, value)
					batch.Put(Rows, key, value)
					s.Add(&batch)
					if err := s.Sync(); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
