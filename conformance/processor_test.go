package conformance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tunnel"
	"github.com/google/go-cmp/cmp"

	ours "github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// The scenarios of the official daemon, with our processor beside it: each
// has a tunnel of its own on one table, and what they are given is compared
// record for record.

// told is a record as text, however it was decoded.
type told struct {
	Type, Key, Columns, Old, Sequence string
}

// story is what the consumers of one tunnel were told, by key.
type story struct {
	mu    sync.Mutex
	byKey map[string][]told
	count int
}

func newStory() *story { return &story{byKey: make(map[string][]told)} }

func (s *story) add(records []told) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		s.byKey[r.Key] = append(s.byKey[r.Key], r)
	}
	s.count += len(records)
}

// distinct is the story without what was told again.
func (s *story) distinct() map[string][]told {
	s.mu.Lock()
	defer s.mu.Unlock()
	once := make(map[string][]told)
	for k, records := range s.byKey {
		for _, r := range records {
			if !slices.Contains(once[k], r) {
				once[k] = append(once[k], r)
			}
		}
	}
	return once
}

func (s *story) told() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// whole is everything that was told, repeats included.
func (s *story) whole() map[string][]told {
	s.mu.Lock()
	defer s.mu.Unlock()
	whole := make(map[string][]told)
	for k, records := range s.byKey {
		whole[k] = slices.Clone(records)
	}
	return whole
}

func oneChange(name string, timestamp int64, what string, v any) string {
	return fmt.Sprintf("%s@%d %s %T %#v; ", name, timestamp, what, v, v)
}

// asTheyTell is a record of the official SDK.
func asTheyTell(r *tunnel.Record) told {
	columns := func(list []*tunnel.RecordColumn) (text string) {
		for _, c := range list {
			what := map[tunnel.RecordColumnType]string{
				tunnel.RCT_Put: "put", tunnel.RCT_DeleteOneVersion: "delete one", tunnel.RCT_DeleteAllVersions: "delete all",
			}[c.Type]
			text += oneChange(*c.Name, *c.Timestamp, what, c.Value)
		}
		return text
	}
	t := told{
		Type:    map[tunnel.ActionType]string{tunnel.AT_Put: "PutRow", tunnel.AT_Update: "UpdateRow", tunnel.AT_Delete: "DeleteRow"}[r.Type],
		Columns: columns(r.Columns),
		Old:     columns(r.OriginColumns),
	}
	for _, c := range r.PrimaryKey.PrimaryKeys {
		t.Key += oneChange(c.ColumnName, 0, "put", c.Value)
	}
	if r.SequenceInfo != nil {
		t.Sequence = fmt.Sprint(r.SequenceInfo.Timestamp, r.SequenceInfo.RowIndex) // it drops the epoch
	}
	return t
}

// asWeTell is a record of ours.
func asWeTell(r *ours.DecodedRecord) told {
	columns := func(list []plainbuffer.Cell) (text string) {
		for _, c := range list {
			what := map[plainbuffer.Op]string{
				plainbuffer.Put: "put", plainbuffer.DeleteOneVersion: "delete one", plainbuffer.DeleteAllVersions: "delete all",
			}[c.Op]
			text += oneChange(string(c.Name), c.Timestamp, what, native(c.Value))
		}
		return text
	}
	t := told{Type: r.Action.String(), Key: columns(r.Key), Columns: columns(r.Columns), Old: columns(r.OldColumns)}
	if r.HasSequence {
		t.Sequence = fmt.Sprint(r.Sequence.Timestamp, r.Sequence.RowIndex)
	}
	return t
}

// native is a value as the official SDK has it.
func native(v plainbuffer.Value) any {
	switch v.Type() {
	case plainbuffer.Integer:
		return v.Integer()
	case plainbuffer.Double:
		return v.Double()
	case plainbuffer.Boolean:
		return v.Boolean()
	case plainbuffer.String:
		return string(v.Bytes())
	case plainbuffer.Blob:
		return v.Bytes()
	}
	return nil
}

// pair is a table with a tunnel for the official daemons and one for our
// processors.
type pair struct {
	t              *testing.T
	tables         *tablestore.TableStoreClient
	tunnels        tunnel.TunnelClient
	client         *ours.Client
	emulator       *emulator.Emulator
	ids            [2]string // of their tunnel and ours
	official, mine *story
}

func newPair(t *testing.T, c emulator.Config, key ...*tablestore.PrimaryKeySchema) *pair {
	t.Helper()
	t.Parallel()
	endpoint, e := serveEmulator(t, c)
	client, err := ours.NewClient(ours.ClientConfig{
		Endpoint: endpoint, Instance: instance,
		Credentials: ours.StaticCredentials(keyID, secret, ""),
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	p := &pair{
		t: t, tables: tableClient(endpoint), tunnels: tunnelClient(endpoint), client: client,
		emulator: e, official: newStory(), mine: newStory(),
	}
	if len(key) == 0 {
		key = append(key, column("k", tablestore.PrimaryKeyType_STRING))
	}
	createTable(t, p.tables, "feed", 1, key...)
	return p
}

// create makes both tunnels.
func (p *pair) create(typ tunnel.TunnelType) {
	p.t.Helper()
	a, err := p.tunnels.CreateTunnel(&tunnel.CreateTunnelRequest{TableName: "feed", TunnelName: "ours", Type: typ})
	if err != nil {
		p.t.Fatal(err)
	}
	p.ids = [2]string{createTunnel(p.t, p.tunnels, "feed", typ), a.TunnelId}
}

// consume starts a daemon and a processor, and gives what stops both. got
// counts what each of the two was told.
func (p *pair) consume() (stop func(), got func() (official, mine int)) {
	p.t.Helper()
	both := [2]*story{newStory(), newStory()}
	config := workerConfig(p.t, newSink())
	config.ProcessorFactory.(*tunnel.SimpleProcessFactory).ProcessFunc = func(_ *tunnel.ChannelContext, records []*tunnel.Record) error {
		var page []told
		for _, r := range records {
			page = append(page, asTheyTell(r))
		}
		both[0].add(page)
		p.official.add(page)
		return nil
	}
	daemon := tunnel.NewTunnelDaemon(p.tunnels, p.ids[0], config)
	processor, err := ours.NewProcessor(p.client, ours.ProcessorConfig{
		Table: "feed", Tunnel: "ours",
		HeartbeatInterval:  100 * time.Millisecond,
		HeartbeatGap:       100 * time.Millisecond,
		HeartbeatTimeout:   10 * time.Second,
		CheckpointInterval: 100 * time.Millisecond,
		Idle:               ours.Backoff{Max: 50 * time.Millisecond},
		Logger:             slog.New(slog.DiscardHandler),
	}, func(_ context.Context, _ *ours.Channel, records []ours.DecodedRecord) error {
		var page []told
		for i := range records {
			page = append(page, asWeTell(&records[i]))
		}
		both[1].add(page)
		p.mine.add(page)
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := daemon.Run(); err != nil {
			p.t.Errorf("the daemon ended with %v", err)
		}
	})
	running.Go(func() {
		if err := processor.Run(ctx); err != nil {
			p.t.Errorf("the processor ended with %v", err)
		}
	})
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			daemon.Close()
			running.Wait()
		})
	}
	p.t.Cleanup(stop)
	return stop, func() (int, int) { return both[0].told(), both[1].told() }
}

// settle waits until both were told n different records.
func (p *pair) settle(n int) {
	p.t.Helper()
	for _, s := range []*story{p.official, p.mine} {
		eventually(p.t, fmt.Sprintf("%d records were told", n), func() bool {
			count := 0
			for _, records := range s.distinct() {
				count += len(records)
			}
			return count >= n
		})
	}
}

// compare compares the two histories.
func (p *pair) compare() {
	p.t.Helper()
	if d := cmp.Diff(p.official.distinct(), p.mine.distinct()); d != "" {
		p.t.Errorf("the official daemon (-) and our processor (+) were told different histories:\n%s", d)
	}
}

// nothingTwice checks that our processors were told nothing twice.
func (p *pair) nothingTwice() {
	p.t.Helper()
	if d := cmp.Diff(p.mine.distinct(), p.mine.whole()); d != "" {
		p.t.Errorf("our processor was told records twice (+):\n%s", d)
	}
}

func TestOurProcessorIsToldTheSameStreamAsTheDaemon(t *testing.T) {
	p := newPair(t, emulator.Config{Partitions: 4, PageRecords: 7})
	put(t, p.tables, "feed", key("k", "before"), nil)
	p.create(tunnel.TunnelTypeStream)
	p.consume()
	p.settle(total(script(t, p.tables, "feed", 0, 100)))
	p.compare()
	p.nothingTwice()
}

func TestOurProcessorIsToldTheSameBaseDataAndStreamAsTheDaemon(t *testing.T) {
	p := newPair(t, emulator.Config{Partitions: 3, PageRecords: 5})
	script(t, p.tables, "feed", 0, 60)
	p.create(tunnel.TunnelTypeBaseStream)
	n := 40 // a third of the rows was deleted again
	n += total(script(t, p.tables, "feed", 30, 90))
	p.consume()
	p.settle(n)
	p.compare()
	p.nothingTwice()
}

func TestOurProcessorIsToldTheSameBaseDataAsTheDaemon(t *testing.T) {
	p := newPair(t, emulator.Config{Partitions: 3, PageRecords: 5})
	script(t, p.tables, "feed", 0, 60)
	p.create(tunnel.TunnelTypeBaseData)
	p.consume()
	p.settle(40)
	p.compare()
	p.nothingTwice()
}

func TestOurProcessorIsToldTheSameOfEveryTypeAsTheDaemon(t *testing.T) {
	p := newPair(t, emulator.Config{}, column("s", tablestore.PrimaryKeyType_STRING),
		column("i", tablestore.PrimaryKeyType_INTEGER), column("b", tablestore.PrimaryKeyType_BINARY))
	k := key("s", "Grüße 世界", "i", int64(math.MinInt64), "b", everyByte())
	put(t, p.tables, "feed", k, everyType())
	p.create(tunnel.TunnelTypeBaseStream)
	put(t, p.tables, "feed", k, everyType())
	u := &tablestore.UpdateRowChange{TableName: "feed", PrimaryKey: k}
	version := time.Now().UnixMilli()
	u.DeleteColumn("text")
	u.DeleteColumnWithTimestamp("blob", version)
	u.PutColumnWithTimestamp("pi", 3.0, version)
	u.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	if _, err := p.tables.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: u}); err != nil {
		t.Fatal(err)
	}
	d := &tablestore.DeleteRowChange{TableName: "feed", PrimaryKey: k}
	d.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	if _, err := p.tables.DeleteRow(&tablestore.DeleteRowRequest{DeleteRowChange: d}); err != nil {
		t.Fatal(err)
	}
	p.consume()
	p.settle(4)
	p.compare()
	p.nothingTwice()
}

func TestOurProcessorResumesLikeTheDaemonAndRepeatsNothing(t *testing.T) {
	p := newPair(t, emulator.Config{Partitions: 2, PageRecords: 3})
	script(t, p.tables, "feed", 0, 20)
	p.create(tunnel.TunnelTypeBaseStream)
	stop, _ := p.consume()
	n := 13 + total(script(t, p.tables, "feed", 100, 130)) // 20 rows less the deleted ones
	p.settle(n)
	stop()
	n += total(script(t, p.tables, "feed", 200, 230))
	p.consume()
	p.settle(n)
	p.compare()
	p.nothingTwice()
}

func TestTwoProcessorsShareTheChannelsLikeTwoDaemons(t *testing.T) {
	p := newPair(t, emulator.Config{Partitions: 4})
	p.create(tunnel.TunnelTypeStream)
	_, first := p.consume()
	stop, second := p.consume()
	owners := func(name string) (open []int) {
		d, err := p.tunnels.DescribeTunnel(&tunnel.DescribeTunnelRequest{TableName: "feed", TunnelName: name})
		if err != nil {
			t.Fatal(err)
		}
		of := make(map[string]int)
		for _, c := range d.Channels {
			if c.ChannelStatus == "OPEN" {
				of[c.ClientId]++
			}
		}
		for _, client := range sorted(of) {
			open = append(open, of[client])
		}
		return open
	}
	for _, name := range []string{"feed", "ours"} {
		eventually(t, "two clients hold two channels each of "+name, func() bool { return slices.Equal(owners(name), []int{2, 2}) })
	}
	n := total(script(t, p.tables, "feed", 0, 60))
	p.settle(n)
	for _, got := range []func() (int, int){first, second} {
		if official, mine := got(); official == 0 || mine == 0 {
			t.Errorf("a daemon got %d records, the processor beside it %d", official, mine)
		}
	}
	stop()
	for _, name := range []string{"feed", "ours"} {
		eventually(t, "the client that is left holds all channels of "+name, func() bool { return slices.Equal(owners(name), []int{4}) })
	}
	n += total(script(t, p.tables, "feed", 100, 130))
	p.settle(n)
	p.compare()
	p.nothingTwice()
}

func TestProcessorsThatComeAndGoAreToldWhatDaemonsAre(t *testing.T) {
	p := newPair(t, emulator.Config{Partitions: 4, PageRecords: 3})
	const keys = 24
	written := 0 // changes of each key
	write := func(changes int) {
		for range changes {
			written++
			for k := range keys {
				put(t, p.tables, "feed", key("k", fmt.Sprint(k)), map[string]any{"n": int64(written)})
			}
		}
	}
	write(2)
	p.create(tunnel.TunnelTypeBaseStream)
	first, _ := p.consume()
	write(5)
	p.consume()
	write(10)
	third, _ := p.consume()
	write(10)
	first()
	write(5)
	third()
	write(5)
	p.settle(keys * (written - 1)) // of the first two, base data has the last
	p.compare()
	p.nothingTwice()
}

func TestOurProcessorFollowsSplitsLikeTheDaemon(t *testing.T) {
	p := newPair(t, emulator.Config{Partitions: 2, PageRecords: 4, SplitBytes: 5000})
	w := &counts{t: t, c: p.tables}
	split := func(partition int) {
		t.Helper()
		if err := p.emulator.Split("feed", partition); err != nil {
			t.Fatal(err)
		}
	}
	w.write(2)
	split(0)
	p.create(tunnel.TunnelTypeBaseStream)
	w.write(2)
	split(1)
	w.write(2)
	p.consume()
	w.write(3)
	split(2)
	w.write(20)
	p.settle(countedKeys * (w.written - 1))
	p.compare()
	p.nothingTwice()
}

func TestOurProcessorsTakeOverAcrossASplitLikeDaemons(t *testing.T) {
	p := newPair(t, emulator.Config{Partitions: 2, PageRecords: 5})
	p.create(tunnel.TunnelTypeStream)
	w := &counts{t: t, c: p.tables}
	first, _ := p.consume()
	p.consume()
	w.write(5)
	for partition := range 2 {
		if err := p.emulator.Split("feed", partition); err != nil {
			t.Fatal(err)
		}
	}
	w.write(5)
	p.settle(countedKeys * w.written)
	first()
	if err := p.emulator.Split("feed", 2); err != nil {
		t.Fatal(err)
	}
	w.write(5)
	p.settle(countedKeys * w.written)
	p.compare()
	p.nothingTwice()
}

func TestOurProcessorRestsAndResumesLikeTheDaemon(t *testing.T) {
	p := newPair(t, emulator.Config{Partitions: 3})
	p.create(tunnel.TunnelTypeStream)
	w := &counts{t: t, c: p.tables}
	p.consume()
	w.write(2)
	p.settle(2 * countedKeys)
	schedule := func(to func(string) *tunnel.ScheduleChannel) {
		t.Helper()
		for _, id := range p.ids {
			q := &tunnel.ScheduleRequest{TunnelId: id}
			for i := range 3 {
				q.Channels = append(q.Channels, to(fmt.Sprintf("Stream_%04d", i)))
			}
			if _, err := p.tunnels.Schedule(q); err != nil {
				t.Fatal(err)
			}
		}
	}
	in := func(name, status string) func() bool {
		return func() bool {
			a, err := p.tunnels.DescribeTunnel(&tunnel.DescribeTunnelRequest{TableName: "feed", TunnelName: name})
			if err != nil {
				t.Fatal(err)
			}
			return !slices.ContainsFunc(a.Channels, func(c *tunnel.ChannelInfo) bool { return c.ChannelStatus != status })
		}
	}
	schedule(tunnel.SuspendChannel)
	for _, name := range []string{"feed", "ours"} {
		eventually(t, "the channels of "+name+" are suspended", in(name, "CLOSE"))
	}
	w.write(2)
	if n := p.mine.told(); n != 2*countedKeys {
		t.Errorf("our processor was told %d records while its channels rest", n)
	}
	schedule(tunnel.ResumeChannel)
	p.settle(4 * countedKeys)
	// It may be asked back and given again between two heartbeats, or not.
	schedule(tunnel.SuspendChannel)
	schedule(tunnel.ResumeChannel)
	w.write(2)
	p.settle(6 * countedKeys)
	p.compare()
	p.nothingTwice()
}

func TestOurProcessorIsToldRowsAsTheyWereLikeTheDaemon(t *testing.T) {
	p := newPair(t, emulator.Config{Partitions: 2, PageRecords: 5})
	_, err := p.tables.UpdateTable(&tablestore.UpdateTableRequest{
		TableName:  "feed",
		StreamSpec: &tablestore.StreamSpecification{EnableStream: true, ExpirationTime: 24, OriginColumnsToGet: []string{"n", "gone"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.create(tunnel.TunnelTypeStream)
	p.consume()
	n := total(script(t, p.tables, "feed", 0, 30))
	p.settle(n)
	p.compare()
	p.nothingTwice()
	old := 0
	for _, records := range p.mine.distinct() {
		for _, r := range records {
			if r.Old != "" {
				old++
			}
		}
	}
	if old == 0 {
		t.Error("no record tells how its row was")
	}
}

func TestOurProcessorIsToldThatItsTunnelHasExpiredLikeTheDaemon(t *testing.T) {
	p := newPair(t, emulator.Config{})
	put(t, p.tables, "feed", key("k", "a"), nil)
	p.create(tunnel.TunnelTypeBaseStream)
	p.emulator.StepClock(25 * time.Hour)
	e, err := p.client.Expiry(t.Context(), ours.ExpiryRequest{Table: "feed", Tunnel: "ours"})
	if err != nil || !e.Expired || e.Left != 0 || e.Retention != 24*time.Hour {
		t.Errorf("%+v, %v", e, err)
	}
	processor, err := ours.NewProcessor(p.client, ours.ProcessorConfig{
		TunnelID: p.ids[1], Logger: slog.New(slog.DiscardHandler),
	}, func(context.Context, *ours.Channel, []ours.DecodedRecord) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := processor.Run(t.Context()); !errors.Is(err, ours.CodeTunnelExpired) || !ours.Fatal(err) {
		t.Errorf("the processor ended with %v", err)
	}
}
