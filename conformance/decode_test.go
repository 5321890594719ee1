package conformance

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tunnel"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// orderRow is a change as an order table's stream carries it: 2 key and 5
// data columns, about 370 bytes.
func orderRow() []byte {
	const ms = 1_700_000_000_000
	put := func(name string, v plainbuffer.Value) plainbuffer.Cell {
		return plainbuffer.Cell{Name: []byte(name), Value: v, HasTimestamp: true, Timestamp: ms}
	}
	return plainbuffer.Append(nil, &plainbuffer.Row{
		Key: []plainbuffer.Cell{
			{Name: []byte("customer"), Value: plainbuffer.StringValue("customer-000000042")},
			{Name: []byte("order"), Value: plainbuffer.IntegerValue(1 << 40)},
		},
		Columns: []plainbuffer.Cell{
			put("status", plainbuffer.StringValue("shipped")),
			put("amount", plainbuffer.DoubleValue(129.95)),
			put("quantity", plainbuffer.IntegerValue(3)),
			put("paid", plainbuffer.BooleanValue(true)),
			put("note", plainbuffer.StringValue("Leave it with the neighbour if nobody opens the door in time; ring twice, and mind the dog")),
		},
		Sequence:    plainbuffer.Sequence{Timestamp: ms * 1000, RowIndex: 1},
		HasSequence: true,
	})
}

func decodeOfficial(tb testing.TB, row []byte) *tunnel.Record {
	record, err := tunnel.DeserializeRecordFromRawBytes(row, nil, tunnel.AT_Put)
	if err != nil {
		tb.Fatal(err)
	}
	return record
}

func TestDecodingARowAllocatesNothing(t *testing.T) {
	row := orderRow()
	if read := decodeOfficial(t, row); len(read.PrimaryKey.PrimaryKeys) != 2 || len(read.Columns) != 5 {
		t.Fatalf("the official decoder reads %v", read)
	}
	var r plainbuffer.Row
	allocs := testing.AllocsPerRun(100, func() {
		if err := r.Decode(row); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 || len(r.Key) != 2 || len(r.Columns) != 5 {
		t.Errorf("%v allocations, %d key columns, %d columns", allocs, len(r.Key), len(r.Columns))
	}
}

// BenchmarkDecode decodes the same row with the official decoder, which does
// not verify checksums, and with ours, which does.
func BenchmarkDecode(b *testing.B) {
	row := orderRow()
	b.Run("official", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(row)))
		for b.Loop() {
			decodeOfficial(b, row)
		}
	})
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(row)))
		var r plainbuffer.Row
		for b.Loop() {
			if err := r.Decode(row); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkDecodeRatio decodes with both in turn, so that whatever else the
// machine does hits both, and reports how many times longer the official
// decoder takes: the median of the pairs, as one disturbed turn must not move
// it. The official decoder's garbage is collected in its own turns.
func BenchmarkDecodeRatio(b *testing.B) {
	const turn = 2_000
	row := orderRow()
	var r plainbuffer.Row
	var ratios []float64
	for b.Loop() {
		start := time.Now()
		for range turn {
			decodeOfficial(b, row)
		}
		official := time.Since(start)
		runtime.GC()
		start = time.Now()
		for range turn {
			if err := r.Decode(row); err != nil {
				b.Fatal(err)
			}
		}
		ratios = append(ratios, float64(official)/float64(time.Since(start)))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "official/ours")
	b.ReportMetric(0, "ns/op")
}
