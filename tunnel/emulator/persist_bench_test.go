package emulator

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// One operation is the put of a row of about 370 bytes in a table with a
// stream, and the wait until it is kept.
func BenchmarkWrite(b *testing.B) {
	for _, writers := range []int{1, 32} { // for each processor
		for name, c := range map[string]func(b *testing.B) Config{
			"memory": func(*testing.B) Config { return Config{} },
			"nosync": func(b *testing.B) Config { return Config{Data: b.TempDir(), NoSync: true} },
			"data":   func(b *testing.B) Config { return Config{Data: b.TempDir()} },
		} {
			b.Run(fmt.Sprintf("%s/writers=%d", name, writers), func(b *testing.B) {
				e := newEmulator(b, c(b))
				newTableOf(b, e, 4)
				newTunnelOf(b, e, tunnelpb.TunnelType_STREAM, nil)
				var next atomic.Int64
				b.SetParallelism(writers)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := e.Write("t", wideOf(next.Add(1)%100_000)); err != nil {
							b.Fatal(err)
						}
					}
				})
			})
		}
	}
}

// One operation is the loading of 100,000 rows and as many changes.
func BenchmarkLoad(b *testing.B) {
	const rows = 100_000
	dir := b.TempDir()
	e := newEmulator(b, Config{Data: dir, NoSync: true})
	newTableOf(b, e, 4)
	newTunnelOf(b, e, tunnelpb.TunnelType_STREAM, nil)
	var next atomic.Int64
	var writers sync.WaitGroup
	for range 64 {
		writers.Go(func() {
			for n := next.Add(1); n <= rows; n = next.Add(1) {
				if err := e.Write("t", wideOf(n)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	e.Close()
	for b.Loop() {
		e := newEmulator(b, Config{Data: dir})
		if n := e.tables["t"].rows.size; n != rows {
			b.Fatalf("%d rows", n)
		}
		b.StopTimer()
		e.Close()
		b.StartTimer()
	}
}

// wideOf is the put of a row of about 370 bytes.
func wideOf(n int64) Change {
	c := putOf(fmt.Sprint("key", n), n)
	c.Row.Columns = append(c.Row.Columns, plainbuffer.Cell{Name: []byte("text"), Value: plainbuffer.BlobValue(make([]byte, 300))})
	return c
}
