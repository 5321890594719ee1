package plainbuffer

import (
	"fmt"
	"testing"
)

// orderRow is a change as an order table's stream carries it: 2 key and 5
// data columns, 371 bytes.
func orderRow() *Row {
	const ms = 1_700_000_000_000
	return &Row{
		Key: []Cell{
			{Name: []byte("customer"), Value: StringValue("customer-000000042")},
			{Name: []byte("order"), Value: IntegerValue(1 << 40)},
		},
		Columns: []Cell{
			{Name: []byte("status"), Value: StringValue("shipped"), Timestamp: ms, HasTimestamp: true},
			{Name: []byte("amount"), Value: DoubleValue(129.95), Timestamp: ms, HasTimestamp: true},
			{Name: []byte("quantity"), Value: IntegerValue(3), Timestamp: ms, HasTimestamp: true},
			{Name: []byte("paid"), Value: BooleanValue(true), Timestamp: ms, HasTimestamp: true},
			{Name: []byte("note"), Value: StringValue("Leave it with the neighbour if nobody opens the door in time; ring twice, and mind the dog"), Timestamp: ms, HasTimestamp: true},
		},
		Sequence:    Sequence{Timestamp: 1_700_000_000_000_000, RowIndex: 1},
		HasSequence: true,
	}
}

func BenchmarkDecode(b *testing.B) {
	in := Append(nil, orderRow())
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	var r Row
	for b.Loop() {
		if err := r.Decode(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	r := orderRow()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = Append(buf[:0], r)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkChecksum(b *testing.B) {
	for _, n := range []int{4, 8, 13, 64, 1024} {
		p := make([]byte, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				residue{}.bytes(p).fold().sum()
			}
		})
	}
}
