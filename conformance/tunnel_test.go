package conformance

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tunnel"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"

	"github.com/culvertio/culvert/tunnel/emulator"
)

func tunnelClient(endpoint string) tunnel.TunnelClient {
	return tunnel.NewTunnelClientWithConfig(endpoint, instance, keyID, secret, &tunnel.TunnelConfig{
		MaxRetryElapsedTime: 5 * time.Second,
		RequestTimeout:      5 * time.Second,
		Transport:           http.DefaultTransport,
	})
}

func createTunnel(t *testing.T, c tunnel.TunnelClient, table string, typ tunnel.TunnelType) string {
	t.Helper()
	a, err := c.CreateTunnel(&tunnel.CreateTunnelRequest{TableName: table, TunnelName: "feed", Type: typ})
	if err != nil {
		t.Fatalf("CreateTunnel: %v", err)
	}
	return a.TunnelId
}

// sink records what a daemon delivers.
type sink struct {
	mu      sync.Mutex
	records []*tunnel.Record
	keys    map[string][]string // per key, what happened, in order
	more    chan struct{}
}

func newSink() *sink {
	return &sink{keys: make(map[string][]string), more: make(chan struct{}, 1)}
}

func (s *sink) process(_ *tunnel.ChannelContext, records []*tunnel.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		k := fmt.Sprint(r.PrimaryKey.PrimaryKeys[0].Value)
		s.keys[k] = append(s.keys[k], summary(r))
		s.records = append(s.records, r)
	}
	select {
	case s.more <- struct{}{}:
	default:
	}
	return nil
}

// summary is a record as text: its type, and its columns by name.
func summary(r *tunnel.Record) string {
	columns := make(map[string]string)
	for _, c := range r.Columns {
		switch c.Type {
		case tunnel.RCT_Put:
			columns[*c.Name] = fmt.Sprint(c.Value)
		case tunnel.RCT_DeleteAllVersions:
			columns[*c.Name] = "deleted"
		case tunnel.RCT_DeleteOneVersion:
			columns[*c.Name] = "version deleted"
		}
	}
	return fmt.Sprintf("%v%v", r.Type, columns)
}

// seen is a copy of what was delivered, per key.
func (s *sink) seen() map[string][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make(map[string][]string)
	for k, changes := range s.keys {
		keys[k] = slices.Clone(changes)
	}
	return keys
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records)
}

// wait blocks until the sink has n records.
func (s *sink) wait(t *testing.T, n int) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for s.count() < n {
		select {
		case <-s.more:
		case <-limit:
			t.Fatalf("%d records after 30 s, want %d", s.count(), n)
		}
	}
}

// workerConfig has the official worker beat and commit as fast as it can, and
// log into a file of the test's own.
func workerConfig(t *testing.T, s *sink) *tunnel.TunnelWorkerConfig {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "tunnel.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the daemon's log:\n%s", text)
		}
		log.Close()
	})
	syncer := zapcore.Lock(zapcore.AddSync(log))
	level := tunnel.DefaultLogConfig
	logger, err := level.Build(tunnel.ReplaceLogCore(syncer, level))
	if err != nil {
		t.Fatal(err)
	}
	return &tunnel.TunnelWorkerConfig{
		HeartbeatInterval: 100 * time.Millisecond,
		HeartbeatTimeout:  10 * time.Second,
		LogConfig:         &level,
		LogWriteSyncer:    syncer,
		BackoffConfig:     &tunnel.ChannelBackoffConfig{MaxDelay: 50 * time.Millisecond},
		ProcessorFactory: &tunnel.SimpleProcessFactory{
			Logger:            logger,
			CpInterval:        100 * time.Millisecond,
			ProcessFunc:       s.process,
			SyncCloseResource: true,
		},
	}
}

// run starts the official daemon and gives what stops it. Stopping waits for
// its end. The daemon shuts its client down beside its last checkpoints, and
// which comes first is chance: some of them may be refused.
func run(t *testing.T, c tunnel.TunnelClient, tunnelID string, s *sink) (stop func()) {
	t.Helper()
	d := tunnel.NewTunnelDaemon(c, tunnelID, workerConfig(t, s))
	ended := make(chan error, 1)
	go func() { ended <- d.Run() }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			d.Close()
			if err := <-ended; err != nil {
				t.Errorf("the daemon ended with %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// script writes rows and changes of them, and gives what a consumer of the
// stream must see of each key, in order.
func script(t *testing.T, c *tablestore.TableStoreClient, table string, from, to int) map[string][]string {
	t.Helper()
	want := make(map[string][]string)
	for i := from; i < to; i++ {
		k := key("k", fmt.Sprintf("key-%04d", i))
		name := fmt.Sprintf("key-%04d", i)
		put(t, c, table, k, map[string]any{"n": int64(i), "gone": "soon"})
		want[name] = append(want[name], fmt.Sprintf("PutRowmap[gone:soon n:%d]", i))
		if i%2 == 0 {
			u := &tablestore.UpdateRowChange{TableName: table, PrimaryKey: k}
			u.PutColumn("n", int64(i+1))
			u.DeleteColumn("gone")
			u.SetCondition(tablestore.RowExistenceExpectation_EXPECT_EXIST)
			if _, err := c.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: u}); err != nil {
				t.Fatal(err)
			}
			want[name] = append(want[name], fmt.Sprintf("UpdateRowmap[gone:deleted n:%d]", i+1))
		}
		if i%3 == 0 {
			d := &tablestore.DeleteRowChange{TableName: table, PrimaryKey: k}
			d.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
			if _, err := c.DeleteRow(&tablestore.DeleteRowRequest{DeleteRowChange: d}); err != nil {
				t.Fatal(err)
			}
			want[name] = append(want[name], "DeleteRowmap[]")
		}
	}
	return want
}

func total(m map[string][]string) int {
	n := 0
	for _, s := range m {
		n += len(s)
	}
	return n
}

func TestTheTunnelDaemonConsumesAStream(t *testing.T) {
	endpoint := serve(t, emulator.Config{Partitions: 4, PageRecords: 7})
	tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	put(t, tables, "feed", key("k", "before"), nil)
	id := createTunnel(t, tunnels, "feed", tunnel.TunnelTypeStream)
	s := newSink()
	run(t, tunnels, id, s)
	want := script(t, tables, "feed", 0, 100)
	s.wait(t, total(want))
	if d := cmp.Diff(want, s.seen()); d != "" {
		t.Error(d)
	}
	for i, r := range s.records {
		if r.SequenceInfo == nil || time.Since(time.UnixMicro(r.SequenceInfo.Timestamp)).Abs() > time.Minute {
			t.Fatalf("record %d has sequence info %v", i, r.SequenceInfo)
		}
	}
}

func TestTheTunnelDaemonConsumesTheBaseDataAndThenTheStream(t *testing.T) {
	endpoint := serve(t, emulator.Config{Partitions: 3, PageRecords: 5})
	tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	script(t, tables, "feed", 0, 60)
	id := createTunnel(t, tunnels, "feed", tunnel.TunnelTypeBaseStream)

	// What is there when the tunnel is made comes as puts.
	want := make(map[string][]string)
	for i := range 60 {
		if i%3 == 0 {
			continue
		}
		columns := fmt.Sprintf("map[gone:soon n:%d]", i)
		if i%2 == 0 {
			columns = fmt.Sprintf("map[n:%d]", i+1)
		}
		want[fmt.Sprintf("key-%04d", i)] = []string{"PutRow" + columns}
	}
	for k, changes := range script(t, tables, "feed", 30, 90) {
		want[k] = append(want[k], changes...)
	}
	s := newSink()
	run(t, tunnels, id, s)
	s.wait(t, total(want))
	if d := cmp.Diff(want, s.seen()); d != "" {
		t.Error(d)
	}
	a, err := tunnels.DescribeTunnel(&tunnel.DescribeTunnelRequest{TableName: "feed", TunnelName: "feed"})
	if err != nil {
		t.Fatal(err)
	}
	if a.Tunnel.Stage != "ProcessStream" || a.Tunnel.TunnelType != "BaseAndStream" || len(a.Channels) != 6 {
		t.Errorf("stage %s, type %s, %d channels", a.Tunnel.Stage, a.Tunnel.TunnelType, len(a.Channels))
	}
	for _, c := range a.Channels {
		want := map[string]string{"BaseData": "TERMINATED", "Stream": "OPEN"}[c.ChannelType]
		if c.ChannelStatus != want {
			t.Errorf("channel %s of type %s is %s, want %s", c.ChannelId, c.ChannelType, c.ChannelStatus, want)
		}
	}
	rpo, err := tunnels.GetRpo(&tunnel.GetRpoRequest{TunnelId: id})
	if err != nil {
		t.Fatal(err)
	}
	if len(rpo.RpoInfos) != 1 || len(rpo.TunnelRpoInfos) != 2 {
		t.Errorf("rpo of %d clients and %d types", len(rpo.RpoInfos), len(rpo.TunnelRpoInfos))
	}
}

func TestTheTunnelDaemonGetsEveryTypeThatTheTableClientWrites(t *testing.T) {
	endpoint := serve(t, emulator.Config{})
	tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	createTable(t, tables, "feed", 1, column("s", tablestore.PrimaryKeyType_STRING),
		column("i", tablestore.PrimaryKeyType_INTEGER), column("b", tablestore.PrimaryKeyType_BINARY))
	k := key("s", "Grüße 世界", "i", int64(math.MinInt64), "b", everyByte())
	put(t, tables, "feed", k, everyType())
	id := createTunnel(t, tunnels, "feed", tunnel.TunnelTypeBaseStream)
	put(t, tables, "feed", k, everyType())
	u := &tablestore.UpdateRowChange{TableName: "feed", PrimaryKey: k}
	version := time.Now().UnixMilli()
	u.DeleteColumn("text")
	u.DeleteColumnWithTimestamp("blob", version)
	u.PutColumnWithTimestamp("pi", 3.0, version)
	u.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	if _, err := tables.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: u}); err != nil {
		t.Fatal(err)
	}
	s := newSink()
	stop := run(t, tunnels, id, s)
	s.wait(t, 3)
	stop()
	for i, r := range s.records[:2] {
		if (r.SequenceInfo != nil) != (i == 1) {
			t.Errorf("record %d has sequence info %v", i, r.SequenceInfo)
		}
		columns := make(map[string]any)
		for _, c := range r.Columns {
			columns[*c.Name] = c.Value
			if age := time.Since(time.UnixMilli(*c.Timestamp)); age.Abs() > time.Minute {
				t.Errorf("record %d, column %s is of %v ago", i, *c.Name, age)
			}
		}
		if d := cmp.Diff(everyType(), columns); d != "" {
			t.Errorf("record %d: %s", i, d)
		}
	}
	for i, r := range s.records {
		var values []any
		for _, c := range r.PrimaryKey.PrimaryKeys {
			values = append(values, c.ColumnName, c.Value)
		}
		if d := cmp.Diff([]any{"s", "Grüße 世界", "i", int64(math.MinInt64), "b", everyByte()}, values); d != "" {
			t.Errorf("record %d: %s", i, d)
		}
	}
	want := []*tunnel.RecordColumn{
		{Type: tunnel.RCT_DeleteAllVersions, Name: new("text"), Timestamp: new(int64(0))},
		{Type: tunnel.RCT_DeleteOneVersion, Name: new("blob"), Timestamp: &version},
		{Type: tunnel.RCT_Put, Name: new("pi"), Value: 3.0, Timestamp: &version},
	}
	if d := cmp.Diff(want, s.records[2].Columns); d != "" {
		t.Error(d)
	}
}

func TestANewTunnelDaemonResumesFromTheCheckpoint(t *testing.T) {
	endpoint := serve(t, emulator.Config{Partitions: 2, PageRecords: 3})
	tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	script(t, tables, "feed", 0, 20)
	id := createTunnel(t, tunnels, "feed", tunnel.TunnelTypeBaseStream)

	first := newSink()
	stop := run(t, tunnels, id, first)
	want := script(t, tables, "feed", 100, 130)
	first.wait(t, 13+total(want)) // 20 rows less the deleted ones
	stop()
	before := first.seen()

	more := script(t, tables, "feed", 200, 230)
	second := newSink()
	stop = run(t, tunnels, id, second)
	eventually(t, "all that was written after the restart is delivered", func() bool {
		seen := second.seen()
		maps.DeleteFunc(seen, func(k string, _ []string) bool { return more[k] == nil })
		return total(seen) >= total(more)
	})
	stop()
	after := second.seen()
	for k, changes := range more {
		if d := cmp.Diff(changes, after[k]); d != "" {
			t.Errorf("key %s: %s", k, d)
		}
		delete(after, k)
	}
	// What is left repeats what lay past the checkpoint.
	for k, changes := range after {
		if n := len(before[k]); n < len(changes) || !slices.Equal(before[k][n-len(changes):], changes) {
			t.Errorf("key %s: delivered %v after the restart, and before it %v", k, changes, before[k])
		}
	}
	if total(after) == total(before) {
		t.Error("everything was repeated: no checkpoint was used")
	}
}

func TestTwoTunnelDaemonsShareTheChannels(t *testing.T) {
	endpoint := serve(t, emulator.Config{Partitions: 4})
	tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	id := createTunnel(t, tunnels, "feed", tunnel.TunnelTypeStream)
	a, b := newSink(), newSink()
	run(t, tunnels, id, a)
	stop := run(t, tunnels, id, b)
	owners := func() map[string]int {
		d, err := tunnels.DescribeTunnel(&tunnel.DescribeTunnelRequest{TableName: "feed", TunnelName: "feed"})
		if err != nil {
			t.Fatal(err)
		}
		open := make(map[string]int)
		for _, c := range d.Channels {
			if c.ChannelStatus == "OPEN" {
				open[c.ClientId]++
			}
		}
		return open
	}
	eventually(t, "two clients hold two channels each", func() bool {
		return slices.Equal(slices.Sorted(maps.Values(owners())), []int{2, 2})
	})
	want := script(t, tables, "feed", 0, 60)
	eventually(t, "every record is delivered", func() bool { return a.count()+b.count() >= total(want) })
	stop()
	eventually(t, "the client that is left holds all channels", func() bool {
		return slices.Equal(slices.Sorted(maps.Values(owners())), []int{4})
	})
	if b.count() == 0 || a.count() == 0 {
		t.Errorf("one daemon got %d records, the other %d", a.count(), b.count())
	}
}

// eventually asks until it is so. The official client's own pace decides how
// long that takes.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not after 30 s: %s", what)
		}
	}
}
