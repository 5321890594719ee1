package emulator

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// TestALogGivesBackWhatWasAppendedWhateverItsChunks compares a log, as it
// grows and expires, with a list of its records.
func TestALogGivesBackWhatWasAppendedWhateverItsChunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l changeLog
		var all [][]byte // encoded, the expired ones too
		var times []int64
		now := time.UnixMicro(1_000_000)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "records") {
					now = now.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "microseconds")) * time.Microsecond)
					size := rapid.SampledFrom([]int{0, 100, 1000, 5000}).Draw(t, "size")
					r := plainbuffer.Row{Key: keyOf("a"), Columns: []plainbuffer.Cell{
						{Name: []byte("b"), Value: plainbuffer.BlobValue(bytes.Repeat([]byte{byte(len(all))}, size))},
					}}
					var origin *plainbuffer.Row
					if rapid.Bool().Draw(t, "with the row as it was") {
						origin = &plainbuffer.Row{Key: r.Key, Columns: r.Columns}
					}
					l.append(tunnelpb.ActionType_PUT_ROW, &r, origin, new(clock).stamp(now, 0))
					want := &tunnelpb.Record{ActionType: tunnelpb.ActionType_PUT_ROW.Enum(), Record: plainbuffer.Append(nil, &r)}
					if origin != nil {
						want.OriginRecord = plainbuffer.Append(nil, origin)
					}
					b, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(&tunnelpb.ReadRecordsResponse{Records: []*tunnelpb.Record{want}})
					if err != nil {
						t.Fatal(err)
					}
					all, times = append(all, b), append(times, r.Sequence.Timestamp)
				}
			},
			"trim": func(t *rapid.T) {
				if len(times) > 0 {
					l.trim(rapid.SampledFrom(times).Draw(t, "time"))
				}
			},
			"read": func(t *rapid.T) {
				at := rapid.IntRange(l.first, l.end()).Draw(t, "at")
				limit := rapid.IntRange(at, l.end()).Draw(t, "limit")
				size := pageSize{records: rapid.IntRange(1, 30).Draw(t, "records a page"), bytes: rapid.IntRange(1, 20_000).Draw(t, "bytes a page")}
				to, n := at, 0
				for ; to < limit && to-at < size.records && n < size.bytes; to++ {
					n += len(all[to])
				}
				if got := l.upTo(at, limit, size); got != to {
					t.Fatalf("the page from %d ends at %d, want %d", at, got, to)
				}
				if got, want := bytes.Join(l.pieces(at, to), nil), bytes.Join(all[at:to], nil); !bytes.Equal(got, want) {
					t.Fatalf("the page from %d to %d has %d bytes, want %d others", at, to, len(got), len(want))
				}
				if at > 0 && l.before(at) != times[at-1] {
					t.Fatalf("before %d it was %d, want %d", at, l.before(at), times[at-1])
				}
			},
			"": func(t *rapid.T) {
				if l.end() != len(all) {
					t.Fatalf("the log ends at %d, want %d", l.end(), len(all))
				}
				if at := l.since(now.UnixMicro()); at < len(all) && times[at] < now.UnixMicro() || at > l.first && times[at-1] >= now.UnixMicro() {
					t.Fatalf("entry %d is the first one since %d; their times are %v", at, now.UnixMicro(), times)
				}
				if slices.ContainsFunc(l.chunks, func(c []byte) bool { return len(c) == 0 }) {
					t.Fatal("a chunk is empty")
				}
			},
		})
	})
}
