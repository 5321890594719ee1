package batch_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/culvertio/culvert/dispatcher/internal/batch"
	"github.com/culvertio/culvert/state"
	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

func TestPositionsAreWrittenAsTheOfficialSDKDoes(t *testing.T) {
	for _, c := range []struct {
		row  plainbuffer.Row
		want string
	}{
		{plainbuffer.Row{HasSequence: true}, "00000000:0000000000000000:00000000"},
		{plainbuffer.Row{HasSequence: true, Sequence: plainbuffer.Sequence{Epoch: 1, Timestamp: 0x5a1b2c3d4e5f6, RowIndex: 42}}, "00000001:0005a1b2c3d4e5f6:0000002a"},
		{plainbuffer.Row{HasSequence: true, Sequence: plainbuffer.Sequence{Epoch: math.MaxInt32, Timestamp: math.MaxInt64, RowIndex: math.MaxInt32}}, "7fffffff:7fffffffffffffff:7fffffff"},
		{plainbuffer.Row{HasSequence: true, Sequence: plainbuffer.Sequence{Epoch: -1, Timestamp: -1, RowIndex: -1}}, "ffffffff:ffffffffffffffff:ffffffff"},
		{plainbuffer.Row{KeyBytes: []byte{0x03, 0x04, 0xff, 0xfe}}, "AwT__g"},
	} {
		if got := batch.Position(&c.row); got != c.want {
			t.Errorf("Position(%+v) = %q, want %q", c.row, got, c.want)
		}
	}
}

func TestRecordIDsArePositionsOrFingerprints(t *testing.T) {
	row := plainbuffer.Row{HasSequence: true, Sequence: plainbuffer.Sequence{Epoch: 1, Timestamp: 2, RowIndex: 3}}
	if got, want := batch.RecordID(&row, 99), "00000001:0000000000000002:00000003"; got != want {
		t.Errorf("stream record: %q, want %q", got, want)
	}
	if got, want := batch.RecordID(&plainbuffer.Row{}, 0xabc), "base:0000000000000abc"; got != want {
		t.Errorf("base record: %q, want %q", got, want)
	}
}

func TestPositionsAgreeOnlyWhereTheRecordsStandAtTheSamePlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		place := rapid.Custom(func(t *rapid.T) plainbuffer.Sequence {
			return plainbuffer.Sequence{
				Epoch:     rapid.Int32Range(-1, 2).Draw(t, "epoch"),
				Timestamp: rapid.Int64().Draw(t, "timestamp"),
				RowIndex:  rapid.Int32Range(-1, 20).Draw(t, "index"),
			}
		})
		a, b := place.Draw(t, "a"), place.Draw(t, "b")
		same := batch.Position(&plainbuffer.Row{HasSequence: true, Sequence: a}) ==
			batch.Position(&plainbuffer.Row{HasSequence: true, Sequence: b})
		if same != (a == b) {
			t.Fatalf("%v and %v: same position %v", a, b, same)
		}
	})
}

// Golden vectors: whoever changes these changes what ledgers in use mean.
func TestTheLaneHashIsFixed(t *testing.T) {
	for _, c := range []struct {
		key      string
		parallel int
		want     int
	}{
		{"", 8, 7},
		{"a", 8, 6},
		{"b", 8, 3},
		{"order-1", 8, 1},
		{"order-2", 8, 4},
		{"order-1", 64, 14},
		{"order-1", 3, 0},
		{"\x00\x01\x02\xff", 64, 52},
	} {
		if got := batch.LaneOf([]byte(c.key), c.parallel); got != c.want {
			t.Errorf("LaneOf(%q, %d) = %d, want %d", c.key, c.parallel, got, c.want)
		}
	}
	if batch.LaneHashVersion != 1 {
		t.Errorf("the vectors are of version 1, not %d", batch.LaneHashVersion)
	}
}

func TestFingerprintsAndIdsAreFixed(t *testing.T) {
	for _, c := range []struct {
		rec  tunnel.Record
		want uint64
	}{
		{tunnel.Record{}, 0xa86a71f0ad20261a},
		{tunnel.Record{Action: tunnel.PutRow, Row: []byte("row")}, 0xb52f702767f783ea},
		{tunnel.Record{Action: tunnel.DeleteRow, Row: []byte("row")}, 0xd0aec8c8ec2ea5b0},
		{tunnel.Record{Action: tunnel.PutRow, Row: []byte("row"), Origin: []byte{}}, 0x537debcabdeee536},
		{tunnel.Record{Action: tunnel.PutRow, Row: []byte("row"), Origin: []byte("was")}, 0x3d7ff176f8c62b41},
	} {
		if got := batch.Fingerprint(c.rec); got != c.want {
			t.Errorf("Fingerprint(%+v) = %#x, want %#x", c.rec, got, c.want)
		}
	}
	marks := []state.Mark{{Position: "p1", Fingerprint: 1}, {Position: "p2", Fingerprint: 2}}
	if got, want := batch.ID("tunnel", "channel", "index", slices.Values(marks)), "f02f077ba952a9e159c0ff00343a4413"; got != want {
		t.Errorf("ID = %q, want %q", got, want)
	}
	if got, want := batch.Digest(slices.Values(marks)), uint64(0xb69418d39c51424f); got != want {
		t.Errorf("Digest = %#x, want %#x", got, want)
	}
}

func TestEveryKeyHasOneLaneAndLanesShareTheKeys(t *testing.T) {
	for _, parallel := range []int{1, 2, 3, 7, 8, 63, 64} {
		counts := make([]int, parallel)
		const keys = 64_000
		for i := range keys {
			counts[batch.LaneOf(fmt.Appendf(nil, "key-%d", i), parallel)]++
		}
		fair := keys / parallel
		for lane, n := range counts {
			if n < fair*8/10 || n > fair*12/10 {
				t.Errorf("parallel %d: lane %d has %d of %d keys, a fair share is %d", parallel, lane, n, keys, fair)
			}
		}
	}
}

// source is everything that a batch's id depends on.
type source struct {
	tunnel, channel, trigger string
	marks                    []state.Mark
}

func (s source) id() string {
	return batch.ID(s.tunnel, s.channel, s.trigger, slices.Values(s.marks))
}

func (s source) equal(o source) bool {
	return s.tunnel == o.tunnel && s.channel == o.channel && s.trigger == o.trigger && slices.Equal(s.marks, o.marks)
}

// Short texts over a small alphabet, so that moving a border between two
// parts is drawn often.
var texts = rapid.StringOfN(rapid.SampledFrom([]rune("ab\x00")), 0, 3, -1)

var sources = rapid.Custom(func(t *rapid.T) source {
	return source{
		tunnel:  texts.Draw(t, "tunnel"),
		channel: texts.Draw(t, "channel"),
		trigger: texts.Draw(t, "trigger"),
		marks: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) state.Mark {
			return state.Mark{
				Position:    texts.Draw(t, "position"),
				Fingerprint: rapid.SampledFrom([]uint64{0, 1, 1 << 63, 0x6100000000000000}).Draw(t, "fingerprint"),
			}
		}), 0, 3).Draw(t, "marks"),
	}
})

func TestTheSameRecordsHaveTheSameIdAndOthersAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := sources.Draw(t, "a"), sources.Draw(t, "b")
		if len(a.id()) != batch.IDLength {
			t.Fatalf("id %q is not %d long", a.id(), batch.IDLength)
		}
		again := a
		again.marks = slices.Clone(a.marks)
		if a.id() != again.id() {
			t.Fatalf("%+v has two ids", a)
		}
		if same := a.id() == b.id(); same != a.equal(b) {
			t.Fatalf("%+v and %+v: same id %v", a, b, same)
		}
	})
}

func TestTheDigestSeesEachFingerprintAndTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prints := rapid.SliceOfN(rapid.Uint64Range(0, 3), 0, 4)
		a, b := prints.Draw(t, "a"), prints.Draw(t, "b")
		marks := func(prints []uint64) []state.Mark {
			var marks []state.Mark
			for _, p := range prints {
				marks = append(marks, state.Mark{Fingerprint: p})
			}
			return marks
		}
		same := batch.Digest(slices.Values(marks(a))) == batch.Digest(slices.Values(marks(b)))
		if same != slices.Equal(a, b) {
			t.Fatalf("%v and %v: same digest %v", a, b, same)
		}
	})
}

func TestAnyDifferenceInARecordIsAnotherFingerprint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bytes := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a'}), 0, 3)
		records := rapid.Custom(func(t *rapid.T) tunnel.Record {
			r := tunnel.Record{
				Action: rapid.SampledFrom([]tunnel.Action{tunnel.PutRow, tunnel.UpdateRow, tunnel.DeleteRow}).Draw(t, "action"),
				Row:    bytes.Draw(t, "row"),
			}
			if rapid.Bool().Draw(t, "has origin") {
				r.Origin = append([]byte{}, bytes.Draw(t, "origin")...)
			}
			return r
		})
		a, b := records.Draw(t, "a"), records.Draw(t, "b")
		equal := a.Action == b.Action && slices.Equal(a.Row, b.Row) &&
			(a.Origin == nil) == (b.Origin == nil) && slices.Equal(a.Origin, b.Origin)
		if same := batch.Fingerprint(a) == batch.Fingerprint(b); same != equal {
			t.Fatalf("%+v and %+v: same fingerprint %v", a, b, same)
		}
	})
}

func TestNamingARecordAllocatesItsPositionAtMost(t *testing.T) {
	rec := tunnel.Record{Action: tunnel.PutRow, Row: make([]byte, 300), Origin: make([]byte, 200)}
	row := plainbuffer.Row{HasSequence: true, Sequence: plainbuffer.Sequence{Timestamp: 1}}
	if n := testing.AllocsPerRun(100, func() { batch.Fingerprint(rec) }); n != 0 {
		t.Errorf("Fingerprint allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { batch.Position(&row) }); n > 1 {
		t.Errorf("Position allocates %v times", n)
	}
}

func BenchmarkNamingARecord(b *testing.B) {
	rec := tunnel.Record{Action: tunnel.PutRow, Row: make([]byte, 300)}
	row := plainbuffer.Row{HasSequence: true, Sequence: plainbuffer.Sequence{Timestamp: 1}, KeyBytes: make([]byte, 30)}
	b.ReportAllocs()
	for b.Loop() {
		batch.Fingerprint(rec)
		batch.Position(&row)
		batch.LaneOf(row.KeyBytes, 8)
	}
}
