package conformance

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tunnel"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tunnel/protocol"
	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/tunnel/emulator"
)

// channels are a tunnel's, by their states.
func channels(t *testing.T, c tunnel.TunnelClient) map[string][]string {
	t.Helper()
	a, err := c.DescribeTunnel(&tunnel.DescribeTunnelRequest{TableName: "feed", TunnelName: "feed"})
	if err != nil {
		t.Fatal(err)
	}
	states := make(map[string][]string)
	for _, ch := range a.Channels {
		states[ch.ChannelStatus] = append(states[ch.ChannelStatus], ch.ChannelId)
	}
	return states
}

// counts writes changes of many keys that count up.
type counts struct {
	t       *testing.T
	c       *tablestore.TableStoreClient
	written int
}

const countedKeys = 20

func (w *counts) write(changes int) {
	w.t.Helper()
	for range changes {
		w.written++
		for k := range countedKeys {
			put(w.t, w.c, "feed", key("k", fmt.Sprint(k)), map[string]any{"n": int64(w.written)})
		}
	}
}

// want is what each key must be seen to go through from a change on.
func (w *counts) want(from int) map[string][]string {
	want := make(map[string][]string)
	for k := range countedKeys {
		for n := from; n <= w.written; n++ {
			want[fmt.Sprint(k)] = append(want[fmt.Sprint(k)], fmt.Sprintf("PutRowmap[n:%d]", n))
		}
	}
	return want
}

// Partitions are split before the tunnel is made, while the base data is read,
// and while the stream is, by hand and by size, over several generations: the
// official daemon sees each change once and each key's in order.
func TestTheTunnelDaemonFollowsSplits(t *testing.T) {
	for _, kind := range []tunnel.TunnelType{tunnel.TunnelTypeBaseData, tunnel.TunnelTypeStream, tunnel.TunnelTypeBaseStream} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			endpoint, e := serveEmulator(t, emulator.Config{Partitions: 2, PageRecords: 4, SplitBytes: 5000})
			tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
			createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
			w := &counts{t: t, c: tables}
			split := func(partition int) {
				t.Helper()
				if err := e.Split("feed", partition); err != nil {
					t.Fatal(err)
				}
			}
			w.write(2)
			split(0)
			w.write(1)
			id := createTunnel(t, tunnels, "feed", kind)
			w.write(2)
			split(1)
			w.write(2)
			s := newSink()
			run(t, tunnels, id, s)
			w.write(3)
			split(2)
			w.write(20)

			want := map[tunnel.TunnelType]map[string][]string{
				tunnel.TunnelTypeStream:     w.want(4),
				tunnel.TunnelTypeBaseStream: w.want(3),
				tunnel.TunnelTypeBaseData:   make(map[string][]string),
			}[kind]
			if kind == tunnel.TunnelTypeBaseData {
				for k := range countedKeys {
					want[fmt.Sprint(k)] = []string{"PutRowmap[n:3]"}
				}
			}
			s.wait(t, total(want))
			if d := cmp.Diff(want, s.seen()); d != "" {
				t.Error(d)
			}
			// What has ended is TERMINATED, and nothing else.
			state := e.State().Tables[0]
			eventually(t, "the channels of what has been split are TERMINATED", func() bool {
				ended := 0
				for _, ch := range channels(t, tunnels)["TERMINATED"] {
					if ch[0] == 'S' {
						ended++
					}
				}
				split := 0
				for _, p := range state.Partitions {
					if p.Split {
						split++
					}
				}
				if kind == tunnel.TunnelTypeBaseData {
					return ended == 0
				}
				return ended == split-1 // partition 0 ended before
			})
			if n := len(state.Partitions); n < 10 && kind != tunnel.TunnelTypeBaseData {
				t.Errorf("%d partitions: none has split by itself", n)
			}
		})
	}
}

func TestSuspendedChannelsRestUntilTheyAreResumed(t *testing.T) {
	t.Parallel()
	endpoint := serve(t, emulator.Config{Partitions: 3})
	tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	id := createTunnel(t, tunnels, "feed", tunnel.TunnelTypeStream)
	w := &counts{t: t, c: tables}
	s := newSink()
	run(t, tunnels, id, s)
	schedule := func(to func(string) *tunnel.ScheduleChannel, ids ...string) {
		t.Helper()
		q := &tunnel.ScheduleRequest{TunnelId: id}
		for _, ch := range ids {
			q.Channels = append(q.Channels, to(ch))
		}
		if _, err := tunnels.Schedule(q); err != nil {
			t.Fatal(err)
		}
	}
	in := func(status string, ids ...string) func() bool {
		return func() bool { return slices.Equal(channels(t, tunnels)[status], ids) }
	}
	all := []string{"Stream_0000", "Stream_0001", "Stream_0002"}
	w.write(2)
	s.wait(t, 2*countedKeys)
	schedule(tunnel.SuspendChannel, all...)
	eventually(t, "all channels are suspended", in("CLOSE", all...))
	w.write(2)
	schedule(tunnel.OpenChannel, all[1:]...)
	eventually(t, "two channels are open", in("OPEN", all[1:]...))
	// The rows of those two arrive, and the third's do not.
	eventually(t, "the open channels are read", func() bool {
		a, err := tunnels.GetRpo(&tunnel.GetRpoRequest{TunnelId: id})
		return err == nil && a.TunnelRpoInfos["Stream"] != nil && s.count() > 2*countedKeys
	})
	if d := cmp.Diff([]string{"Stream_0000"}, channels(t, tunnels)["CLOSE"]); d != "" {
		t.Error(d)
	}
	if s.count() == 4*countedKeys {
		t.Error("a suspended channel was read")
	}
	schedule(tunnel.ResumeChannel, all[0])
	s.wait(t, 4*countedKeys)
	// Suspending and resuming at once leaves the channel, or gives it back, as
	// the daemon's next heartbeat comes between or not.
	schedule(tunnel.SuspendChannel, all...)
	schedule(tunnel.ResumeChannel, all...)
	w.write(2)
	// What was read and not committed when a channel closed comes again.
	reached := func() bool {
		for _, changes := range s.seen() {
			if changes[len(changes)-1] != fmt.Sprintf("PutRowmap[n:%d]", w.written) {
				return false
			}
		}
		return true
	}
	eventually(t, "the last changes arrive", reached)
	want := w.want(1)
	for k, changes := range s.seen() {
		if got := slices.Compact(changes); !slices.Equal(got, want[k]) {
			t.Errorf("key %s went through %v", k, changes)
		}
	}
	eventually(t, "all channels are open", in("OPEN", all...))
}

func TestAChannelThatIsTerminatedBySchedulingEndsThere(t *testing.T) {
	t.Parallel()
	endpoint, e := serveEmulator(t, emulator.Config{})
	tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	id := createTunnel(t, tunnels, "feed", tunnel.TunnelTypeStream)
	w := &counts{t: t, c: tables}
	w.write(3)
	if err := e.Split("feed", 0); err != nil {
		t.Fatal(err)
	}
	w.write(2)
	if _, err := tunnels.Schedule(&tunnel.ScheduleRequest{TunnelId: id, Channels: []*tunnel.ScheduleChannel{tunnel.TerminateChannel("Stream_0000")}}); err != nil {
		t.Fatal(err)
	}
	s := newSink()
	run(t, tunnels, id, s)
	s.wait(t, 2*countedKeys)
	if d := cmp.Diff(w.want(4), s.seen()); d != "" {
		t.Error(d)
	}
}

// Two daemons share a tunnel whose partitions split, and one of them leaves:
// the other takes its channels over, and what they were given together lacks
// nothing.
func TestTwoTunnelDaemonsTakeOverAcrossASplit(t *testing.T) {
	t.Parallel()
	endpoint, e := serveEmulator(t, emulator.Config{Partitions: 2, PageRecords: 5})
	tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	id := createTunnel(t, tunnels, "feed", tunnel.TunnelTypeBaseStream)
	w := &counts{t: t, c: tables}
	s := newSink()
	first := run(t, tunnels, id, s)
	run(t, tunnels, id, s)
	w.write(5)
	for p := range 2 {
		if err := e.Split("feed", p); err != nil {
			t.Fatal(err)
		}
	}
	w.write(5)
	eventually(t, "two clients share the children", func() bool {
		a, err := tunnels.DescribeTunnel(&tunnel.DescribeTunnelRequest{TableName: "feed", TunnelName: "feed"})
		if err != nil {
			t.Fatal(err)
		}
		open := make(map[string]int)
		for _, ch := range a.Channels {
			if ch.ChannelStatus == "OPEN" {
				open[ch.ClientId]++
			}
		}
		return slices.Equal(slices.Sorted(maps.Values(open)), []int{2, 2})
	})
	first()
	if err := e.Split("feed", 2); err != nil {
		t.Fatal(err)
	}
	w.write(5)
	eventually(t, "every key's last change is delivered", func() bool {
		for k := range countedKeys {
			changes := s.seen()[fmt.Sprint(k)]
			if len(changes) == 0 || changes[len(changes)-1] != fmt.Sprintf("PutRowmap[n:%d]", w.written) {
				return false
			}
		}
		return true
	})
	for k, changes := range s.seen() {
		last := 0
		for i, c := range changes {
			var n int
			if _, err := fmt.Sscanf(c, "PutRowmap[n:%d]", &n); err != nil || n > last+1 {
				t.Fatalf("key %s: record %d of %v comes after change %d", k, i, changes, last)
			}
			last = max(last, n)
		}
	}
}

func TestTheTunnelDaemonReadsFromAnOffsetToAnOffset(t *testing.T) {
	t.Parallel()
	endpoint, e := serveEmulator(t, emulator.Config{Partitions: 2, PageRecords: 3})
	tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	w := &counts{t: t, c: tables}
	var after [4]uint64 // the emulator's time after as many changes
	for i := 1; i < len(after); i++ {
		w.write(1)
		e.StepClock(time.Second)
		after[i] = uint64(time.Now().Add(time.Duration(i)*time.Second - 500*time.Millisecond).UnixNano())
		if i == 2 {
			if err := e.Split("feed", 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	create := func(config *tunnel.StreamTunnelConfig) string {
		t.Helper()
		a, err := tunnels.CreateTunnel(&tunnel.CreateTunnelRequest{TableName: "feed", TunnelName: "feed", Type: tunnel.TunnelTypeStream, StreamTunnelConfig: config})
		if err != nil {
			t.Fatal(err)
		}
		return a.TunnelId
	}
	for _, tt := range []struct {
		name     string
		config   *tunnel.StreamTunnelConfig
		from, to int
		ends     bool
	}{
		{"between two", &tunnel.StreamTunnelConfig{StartOffset: after[1], EndOffset: after[2]}, 2, 2, true},
		{"from the earliest", &tunnel.StreamTunnelConfig{Flag: protocol.StartOffsetFlag_EARLIEST}, 1, 3, false},
		{"up to one", &tunnel.StreamTunnelConfig{Flag: protocol.StartOffsetFlag_EARLIEST, EndOffset: after[2]}, 1, 2, true},
		{"from one", &tunnel.StreamTunnelConfig{StartOffset: after[2]}, 3, 3, false},
	} {
		id := create(tt.config)
		s := newSink()
		stop := run(t, tunnels, id, s)
		want := w.want(tt.from)
		for k := range want {
			want[k] = want[k][:tt.to-tt.from+1]
		}
		s.wait(t, total(want))
		if tt.ends {
			eventually(t, "every channel is TERMINATED", func() bool { return len(channels(t, tunnels)) == 1 && channels(t, tunnels)["TERMINATED"] != nil })
		}
		stop()
		if d := cmp.Diff(want, s.seen()); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
		list, err := tunnels.ListTunnel(&tunnel.ListTunnelRequest{TableName: "feed"})
		if err != nil || len(list.Tunnels) != 1 || *list.Tunnels[0].StreamTunnelConfig != *tt.config {
			t.Errorf("%s: listed as %+v, %v", tt.name, list.Tunnels[0].StreamTunnelConfig, err)
		}
		if _, err := tunnels.DeleteTunnel(&tunnel.DeleteTunnelRequest{TableName: "feed", TunnelName: "feed"}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheTunnelDaemonIsToldThatItsTunnelHasExpired(t *testing.T) {
	t.Parallel()
	endpoint, e := serveEmulator(t, emulator.Config{})
	tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	put(t, tables, "feed", key("k", "a"), nil)
	id := createTunnel(t, tunnels, "feed", tunnel.TunnelTypeBaseStream)
	e.StepClock(25 * time.Hour)
	d := tunnel.NewTunnelDaemon(tunnels, id, workerConfig(t, newSink()))
	err := d.Run()
	if te, ok := errors.AsType[*tunnel.TunnelError](err); !ok || te.Code != "OTSTunnelExpired" {
		t.Errorf("the daemon ended with %v", err)
	}
	list, err := tunnels.ListTunnel(&tunnel.ListTunnelRequest{TableName: "feed"})
	if err != nil || !list.Tunnels[0].Expired {
		t.Errorf("listed as %+v, %v", list, err)
	}
}

func TestRpoTellsWhatWasReadAndWhatWasCommitted(t *testing.T) {
	t.Parallel()
	endpoint := serve(t, emulator.Config{})
	tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	id := createTunnel(t, tunnels, "feed", tunnel.TunnelTypeStream)
	w := &counts{t: t, c: tables}
	s := newSink()
	stop := run(t, tunnels, id, s)
	before := time.Now()
	w.write(2)
	eventually(t, "everything is read and committed", func() bool {
		for _, ask := range []func(*tunnel.GetRpoRequest) (*tunnel.GetRpoResponse, error){tunnels.GetRpo, tunnels.GetRpoByOffset} {
			a, err := ask(&tunnel.GetRpoRequest{TunnelId: id})
			if err != nil {
				t.Fatal(err)
			}
			sum := a.TunnelRpoInfos["Stream"]
			if sum.TotalCount != 2*countedKeys || sum.RpoTime < before.UnixNano() || sum.Status != "OPEN" || len(a.RpoInfos) != 1 {
				return false
			}
		}
		return true
	})
	stop()
	w.write(1)
	for range 2 {
		a, err := tunnels.GetRpoByOffset(&tunnel.GetRpoRequest{TunnelId: id})
		if err != nil || a.TunnelId != id || a.TunnelRpoInfos["Stream"].TotalCount != 2*countedKeys || a.TunnelRpoInfos["Stream"].Status != "CLOSE" {
			t.Errorf("rpo %+v, %v", a.TunnelRpoInfos["Stream"], err)
		}
	}
}

func TestTheTunnelDaemonSkipsWhatHasExpired(t *testing.T) {
	t.Parallel()
	endpoint, e := serveEmulator(t, emulator.Config{Partitions: 2, PageRecords: 3})
	tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	id := createTunnel(t, tunnels, "feed", tunnel.TunnelTypeStream)
	w := &counts{t: t, c: tables}
	w.write(3)
	e.StepClock(25 * time.Hour)
	w.write(2)
	s := newSink()
	run(t, tunnels, id, s)
	s.wait(t, 2*countedKeys)
	if d := cmp.Diff(w.want(4), s.seen()); d != "" {
		t.Error(d)
	}
}

func TestTheTunnelDaemonEndsWithItsTunnel(t *testing.T) {
	t.Parallel()
	endpoint := serve(t, emulator.Config{})
	tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	id := createTunnel(t, tunnels, "feed", tunnel.TunnelTypeStream)
	s := newSink()
	d := tunnel.NewTunnelDaemon(tunnels, id, workerConfig(t, s))
	ended := make(chan error, 1)
	go func() { ended <- d.Run() }()
	(&counts{t: t, c: tables}).write(1)
	s.wait(t, countedKeys)
	if _, err := tunnels.DeleteTunnel(&tunnel.DeleteTunnelRequest{TableName: "feed", TunnelName: "feed"}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if te, ok := errors.AsType[*tunnel.TunnelError](err); !ok || te.Code != "OTSParameterInvalid" {
			t.Errorf("the daemon ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the daemon runs on")
	}
	d.Close()
}
