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
	for _, writers := range []int{1, 8, 64} { // for each processor
		b.Run(fmt.Sprint("writers=", writers*runtime.GOMAXPROCS(0)), func(b *testing.B) {
			s := mustOpen(b, b.TempDir())
			var next atomic.Uint64
			value := make([]byte, 370)
			b.SetParallelism(writers)
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
