package emulator

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

func mustSplit(t testing.TB, e *Emulator, partition int) {
	t.Helper()
	if err := e.Split("t", partition); err != nil {
		t.Fatal(err)
	}
}

func TestChildrenOpenAfterTheirParentAndTakeItsKeysOver(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	for i := range 40 {
		mustWrite(t, e, putOf(fmt.Sprint(i), 1))
	}
	mustSplit(t, e, 0)
	for i := range 40 {
		mustWrite(t, e, putOf(fmt.Sprint(i), 2))
	}
	client := connect(t, e, id, 10)
	held := beat(t, e, id, client)
	if got, want := listing(held), "Stream_0000 OPEN 1"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	records, at := drain(t, e, id, client, "Stream_0000")
	if len(records) != 40 || at != finished {
		t.Fatalf("%d records of the parent, then token %s", len(records), at)
	}
	held = beat(t, e, id, client, report(held[0], tunnelpb.ChannelStatus_TERMINATED))
	if got, want := listing(held), "Stream_0001 OPEN 1, Stream_0002 OPEN 1"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	total := 0
	for _, ch := range held {
		records, at := drain(t, e, id, client, ch.GetChannelId())
		if len(records) < 5 || at == finished {
			t.Errorf("%d records of child %s, then token %s", len(records), ch.GetChannelId(), at)
		}
		total += len(records)
	}
	if total != 40 {
		t.Errorf("%d records of the children, want 40", total)
	}
}

func TestAPartitionIsSplitWhenSoMuchWasWrittenToIt(t *testing.T) {
	e := newEmulator(t, Config{SplitBytes: 4000})
	newTableOf(t, e, 1)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	for i := range 400 {
		mustWrite(t, e, putOf(fmt.Sprint(i), 1))
	}
	a := must[tunnelpb.DescribeTunnelResponse](t, e, "/tunnel/describe", &tunnelpb.DescribeTunnelRequest{TableName: new("t"), TunnelName: new("feed")})
	generations := 0
	table, _ := e.table("t")
	for _, p := range table.live {
		n := 0
		for q := p; q.parent != nil; q = q.parent {
			n++
		}
		generations = max(generations, n)
	}
	if len(a.GetChannels()) < 7 || generations < 2 {
		t.Errorf("%d channels in %d generations after 400 writes of about 50 bytes", len(a.GetChannels()), generations)
	}
	if got := consume(t, e, id); len(got) != 400 {
		t.Errorf("%d records, want 400", len(got))
	}
}

func TestASplitThatCannotBeIsToldWhy(t *testing.T) {
	e := newEmulator(t, Config{Partitions: maxPartitions})
	newTableOf(t, e, 1)
	mustSplit(t, e, 0)
	wantCode(t, e.Split("t", 0), "OTSParameterInvalid")
	wantCode(t, e.Split("t", 3), "OTSParameterInvalid")
	wantCode(t, e.Split("t", -1), "OTSParameterInvalid")
	wantCode(t, e.Split("other", 0), "OTSObjectNotExist")
	if err := e.CreateTable(TableSpec{Name: "full", Key: []KeyColumn{{Name: "k", Type: plainbuffer.String}}}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, e.Split("full", 0), "OTSParameterInvalid")
	// By itself, a table that is full goes on as it is.
	e = newEmulator(t, Config{Partitions: maxPartitions, SplitBytes: 1})
	newTableOf(t, e, maxPartitions)
	mustWrite(t, e, putOf("a", 1))
}

func TestATunnelReadsWhatItsPartitionsParentsHoldFromItsStartOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, Config{})
		newDayOf(t, e)
		mustWrite(t, e, putOf("a", 1))
		mustSplit(t, e, 0)
		time.Sleep(time.Minute)
		from := uint64(time.Now().UnixNano())
		mustWrite(t, e, putOf("a", 2))
		home := 1
		if table, _ := e.table("t"); table.partitions[2].log.end() > 0 {
			home = 2
		}
		mustSplit(t, e, home)
		mustWrite(t, e, putOf("a", 3))
		for _, tt := range []struct {
			name     string
			config   *tunnelpb.StreamTunnelConfig
			channels int
			want     string
		}{
			{"from the earliest", &tunnelpb.StreamTunnelConfig{Flag: tunnelpb.StartOffsetFlag_EARLIEST.Enum()}, 5, "1 2 3"},
			// The first partition ended before, and is no channel.
			{"from an offset", &tunnelpb.StreamTunnelConfig{StartOffset: &from}, 4, "2 3"},
			{"from the latest", nil, 3, ""},
		} {
			id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, tt.config)
			a := must[tunnelpb.DescribeTunnelResponse](t, e, "/tunnel/describe", &tunnelpb.DescribeTunnelRequest{TableName: new("t"), TunnelName: new("feed")})
			if n := len(a.GetChannels()); n != tt.channels {
				t.Errorf("%s: %d channels, want %d", tt.name, n, tt.channels)
			}
			if got := numbers(t, consume(t, e, id)); got != tt.want {
				t.Errorf("%s: changes %s, want %s", tt.name, got, tt.want)
			}
			must[tunnelpb.DeleteTunnelResponse](t, e, "/tunnel/delete", &tunnelpb.DeleteTunnelRequest{TableName: new("t"), TunnelName: new("feed")})
		}
	})
}

// TestPartitionsSplitUnderEveryReader plays writes, splits by hand and by
// size, suspensions, and careful clients that come, go, crash and fall silent,
// on the base data and the stream. Each key's value counts its changes: every
// one is read, in order, and no channel is handed out before its parent is
// TERMINATED.
func TestPartitionsSplitUnderEveryReader(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failure any
		synctest.Test(t, func(t *testing.T) {
			// What rapid throws must reach it, out of the bubble.
			defer func() { failure = recover() }()
			playSplits(rt, t)
		})
		if failure != nil {
			panic(failure)
		}
	})
}

func playSplits(rt *rapid.T, t *testing.T) {
	e := newEmulator(t, Config{
		PageRecords: rapid.IntRange(1, 5).Draw(rt, "records a page"),
		SplitBytes:  rapid.SampledFrom([]int64{0, 300, 1000}).Draw(rt, "split at bytes"),
	})
	newTableOf(t, e, rapid.IntRange(1, 3).Draw(rt, "partitions"))
	p := &play{T: rt, t: t, e: e, written: make(map[string]int64), seen: make(map[string]int64)}
	for range rapid.IntRange(0, 20).Draw(rt, "writes before the tunnel") {
		p.write(rt)
	}
	p.base = maps.Clone(p.written)
	kind := tunnelpb.TunnelType_BASE_AND_STREAM
	if len(p.base) == 0 {
		kind = tunnelpb.TunnelType_STREAM
	}
	p.tunnel = newTunnelOf(t, e, kind, nil)
	table, _ := e.table("t")
	rt.Repeat(map[string]func(*rapid.T){
		"": func(rt *rapid.T) { p.checkParents() },
		"write": func(rt *rapid.T) {
			for range rapid.IntRange(1, 6).Draw(rt, "writes") {
				p.write(rt)
			}
		},
		"split": func(rt *rapid.T) {
			if err := e.Split("t", rapid.SampledFrom(table.live).Draw(rt, "partition").number); err != nil {
				rt.Fatal(err)
			}
		},
		"time": func(rt *rapid.T) {
			time.Sleep(time.Duration(rapid.IntRange(1, playTimeout).Draw(rt, "seconds")) * time.Second)
		},
		"join":      func(*rapid.T) { p.join() },
		"crash":     func(rt *rapid.T) { p.forget(p.one(rt)) },
		"heartbeat": func(rt *rapid.T) { p.beat(p.one(rt), rapid.IntRange(0, 4).Draw(rt, "0 loses the answer") == 0) },
		"schedule": func(rt *rapid.T) {
			p.schedule(rapid.SampledFrom([]tunnelpb.ChannelStatus{tunnelpb.ChannelStatus_CLOSING, tunnelpb.ChannelStatus_OPEN}).Draw(rt, "to"),
				func(*channel) bool { return rapid.Bool().Draw(rt, "this one") })
		},
		"read": func(rt *rapid.T) {
			c := p.one(rt)
			for _, id := range slices.Sorted(maps.Keys(c.holds)) {
				p.read(c, id, rapid.Bool().Draw(rt, "commit"))
			}
		},
	})
	p.schedule(tunnelpb.ChannelStatus_OPEN, func(*channel) bool { return true })
	time.Sleep((playTimeout + 1) * time.Second)
	last := p.join()
	for left, rounds := int64(1), 0; left > 0; rounds++ {
		if rounds == 1000 {
			rt.Fatalf("%d records remain, and the client holds %v", left, last.holds)
		}
		p.beat(last, false)
		for _, id := range slices.Sorted(maps.Keys(last.holds)) {
			p.read(last, id, true)
		}
		p.checkParents()
		var err error
		if left, err = e.Remaining("t", "feed"); err != nil {
			rt.Fatal(err)
		}
	}
	if !maps.Equal(p.written, p.seen) {
		rt.Fatalf("written %v, delivered %v", p.written, p.seen)
	}
}

// schedule asks for those channels that are not TERMINATED.
func (p *play) schedule(status tunnelpb.ChannelStatus, asks func(*channel) bool) {
	n, err := p.e.tunnelByID(p.tunnel)
	if err != nil {
		p.Fatal(err)
	}
	var ids []string
	for _, ch := range n.channels {
		if ch.state != terminated && asks(ch) {
			ids = append(ids, ch.id)
		}
	}
	if err := scheduled(p.t, p.e, p.tunnel, status, ids...); err != nil {
		p.Fatal(err)
	}
}

// checkParents checks that whatever has been handed out had its parents read
// to their ends.
func (p *play) checkParents() {
	n, err := p.e.tunnelByID(p.tunnel)
	if err != nil {
		p.Fatal(err)
	}
	running := slices.ContainsFunc(n.channels, func(ch *channel) bool { return ch.base && ch.state != terminated })
	for _, ch := range n.channels {
		parent := ch.partition.parent
		switch {
		case ch.state == wait || ch.base:
		case running:
			p.Fatalf("channel %s is %v while base data is read", ch.id, ch.state)
		case parent != nil && n.byID[streamID(parent)] != nil && n.byID[streamID(parent)].state != terminated:
			p.Fatalf("channel %s is %v before %s is TERMINATED", ch.id, ch.state, streamID(parent))
		}
	}
}

// TestReadersKeepUpWithWritersAndSplits reads all channels at once while many
// write and partitions split and expire: the race detector's test, too.
func TestReadersKeepUpWithWritersAndSplits(t *testing.T) {
	e := newEmulator(t, Config{Partitions: 2, SplitBytes: 20_000, PageBytes: 3000})
	newTableOf(t, e, 0)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	client := connect(t, e, id, 300)
	const keys, changes = 40, 50
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for n := range int64(changes) {
				for k := w; k < keys; k += 4 {
					if err := e.Write("t", putOf(fmt.Sprint(k), n+1)); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	defer writers.Wait()
	var (
		mu     sync.Mutex
		seen   = make(map[string]int64)
		total  int
		failed bool
	)
	take := func(records []*tunnelpb.Record) {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range records {
			row := decodeRow(t, r)
			k, n := string(row.Key[0].Value.Bytes()), row.Columns[0].Value.Integer()
			if n != seen[k]+1 {
				t.Errorf("key %s: change %d came after %d", k, n, seen[k])
				failed = true
			}
			seen[k] = n
			total++
		}
	}
	held := beat(t, e, id, client)
	for total < keys*changes && !failed {
		reports := make([]*tunnelpb.Channel, len(held))
		var readers sync.WaitGroup
		for i, ch := range held {
			readers.Go(func() {
				records, at := drain(t, e, id, client, ch.GetChannelId())
				take(records)
				_, sequence := token(t, e, id, client, ch.GetChannelId())
				if err := commit(t, e, id, client, ch.GetChannelId(), at, sequence+1); err != nil {
					t.Error(err)
				}
				if reports[i] = ch; at == finished {
					reports[i] = report(ch, tunnelpb.ChannelStatus_TERMINATED)
				}
			})
		}
		readers.Wait()
		held = beat(t, e, id, client, reports...)
	}
}
