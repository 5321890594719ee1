package emulator

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel/emulator/internal/store"
	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// everything is all that calls tell of an instance, by what it is told of. The
// instance lets anybody read any channel.
func everything(t testing.TB, e *Emulator) map[string]any {
	t.Helper()
	all := make(map[string]any)
	tables := must[tablepb.ListTableResponse](t, e, "/ListTable", &tablepb.ListTableRequest{}).GetTableNames()
	all["tables"] = tables
	for _, name := range tables {
		all["table "+name] = must[tablepb.DescribeTableResponse](t, e, "/DescribeTable", &tablepb.DescribeTableRequest{TableName: &name})
		all["rows of "+name] = allRows(t, e, name)
		all["streams of "+name] = must[tablepb.ListStreamResponse](t, e, "/ListStream", &tablepb.ListStreamRequest{TableName: &name})
	}
	tunnels := must[tunnelpb.ListTunnelResponse](t, e, "/tunnel/list", &tunnelpb.ListTunnelRequest{}).GetTunnels()
	// Those that were made at the same time come in any order.
	slices.SortFunc(tunnels, func(a, b *tunnelpb.TunnelInfo) int { return strings.Compare(a.GetTunnelId(), b.GetTunnelId()) })
	all["tunnels"] = tunnels
	all["clock"] = fmt.Sprint(e.clock.offset.Load(), " ", e.clock.steps.Load())
	for _, state := range e.State().Tables {
		all["state of "+state.Name] = state
	}
	for name, t := range e.tables {
		// What no call tells, and later ones depend on.
		all["inside of "+name] = string(encodeRecord(t.snapshot(0)))
		for _, p := range t.partitions {
			all[fmt.Sprint("inside of ", name, " ", p.number)] = string(encodeRecord(partitionRecord{p.snapshot(t.splitBytes > 0), p.log.last, p.log.newest}))
		}
	}
	for _, n := range e.State().Tunnels {
		for i := range n.Channels {
			ch := &n.Channels[i]
			if n.Expired {
				continue
			}
			at, sequence := token(t, e, n.ID, "anybody", ch.ID)
			all[fmt.Sprintf("checkpoint of %s %s %s", n.Table, n.Name, ch.ID)] = fmt.Sprint(at, " ", sequence)
			all[fmt.Sprintf("records of %s %s %s", n.Table, n.Name, ch.ID)] = history(t, e, n.ID, ch.ID, at)
		}
	}
	// What has been read is told last: history has read too.
	for _, n := range e.State().Tunnels {
		all[fmt.Sprintf("state of %s %s", n.Table, n.Name)] = n
	}
	return all
}

// allRows are a table's rows with all versions, as GetRange answers.
func allRows(t testing.TB, e *Emulator, name string) []byte {
	t.Helper()
	table, err := e.table(name)
	if err != nil {
		t.Fatal(err)
	}
	bound := func(typ plainbuffer.Type) []byte {
		return plainbuffer.Append(nil, &plainbuffer.Row{Key: table.bound(typ)})
	}
	var rows []byte
	for from := bound(plainbuffer.InfMin); len(from) > 0; {
		a := must[tablepb.GetRangeResponse](t, e, "/GetRange", &tablepb.GetRangeRequest{
			TableName: &name, Direction: tablepb.Direction_FORWARD.Enum(), MaxVersions: new(int32(math.MaxInt32)),
			InclusiveStartPrimaryKey: from, ExclusiveEndPrimaryKey: bound(plainbuffer.InfMax),
		})
		rows = append(rows, a.GetRows()...)
		from = a.GetNextStartPrimaryKey()
	}
	return rows
}

// history is every record of a channel from a token on, and the tokens between
// pages.
func history(t testing.TB, e *Emulator, tunnel, channel, at string) []string {
	t.Helper()
	var all []string
	for {
		a, err := call[tunnelpb.ReadRecordsResponse](t, e, "/tunnel/readrecords", &tunnelpb.ReadRecordsRequest{
			TunnelId: &tunnel, ClientId: new("anybody"), ChannelId: &channel, Token: &at,
		})
		if err != nil {
			return append(all, err.Error()) // a checkpoint behind what has expired
		}
		for _, r := range a.GetRecords() {
			all = append(all, fmt.Sprintf("%v %x %x", r.GetActionType(), r.GetRecord(), r.GetOriginRecord()))
		}
		all = append(all, a.GetNextToken())
		if at = a.GetNextToken(); !a.GetMayMoreRecord() || at == finished {
			return all
		}
	}
}

// restarted is what an instance tells after a restart that told all of it
// before: clients are gone, and what they held is free. How far a channel has
// been read is forgotten by a crash.
func restarted(all map[string]any, crash bool) map[string]any {
	all = maps.Clone(all)
	for what, v := range all {
		n, ok := v.(TunnelState)
		if !ok {
			continue
		}
		n.Clients, n.Channels = []ClientState{}, slices.Clone(n.Channels)
		for i := range n.Channels {
			ch := &n.Channels[i]
			if ch.Status == "OPEN" || ch.Status == "CLOSING" {
				ch.Status, ch.Version, ch.Client = "CLOSE", ch.Version+1, ""
			}
			if crash {
				ch.Read = 0
			}
		}
		all[what] = n
	}
	return all
}

// crashed copies an instance's data as kill -9 would leave them now, and gives
// the copy's directory. The instance itself is closed afterwards.
func crashed(t testing.TB, e *Emulator, dir string) string {
	t.Helper()
	copied, err := os.MkdirTemp(filepath.Dir(dir), "")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(copied, store.FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := e.keeper.store.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return copied
}

// life is an instance with a data directory to which things happen.
type life struct {
	*rapid.T
	t      *testing.T
	e      *Emulator
	config Config
	made   int // of tables and tunnels
}

func (l *life) table(rt *rapid.T) *table {
	names := slices.Sorted(maps.Keys(l.e.tables))
	if len(names) == 0 {
		rt.Skip()
	}
	return l.e.tables[rapid.SampledFrom(names).Draw(rt, "table")]
}

func (l *life) tunnel(rt *rapid.T) *tunnel {
	var all []*tunnel
	for _, n := range l.e.tunnels {
		all = append(all, n)
	}
	if len(all) == 0 {
		rt.Skip()
	}
	slices.SortFunc(all, func(a, b *tunnel) int { return strings.Compare(a.name, b.name) })
	return rapid.SampledFrom(all).Draw(rt, "tunnel")
}

// refused takes the error of a call that may be refused for what the
// instance's state is, which is not this test's business.
func (l *life) refused(err error) bool {
	if fail, ok := errors.AsType[*Error](err); err != nil && (!ok || fail.Code == codeServerUnavailable || fail.Code == codeInternal) {
		l.Fatal(err)
	}
	return err != nil
}

func (l *life) createTable(rt *rapid.T) {
	if len(l.e.tables) == 3 {
		rt.Skip()
	}
	spec := TableSpec{
		Name:        fmt.Sprint("t", l.made),
		MaxVersions: rapid.IntRange(1, 3).Draw(rt, "versions"),
		Partitions:  rapid.IntRange(1, 3).Draw(rt, "partitions"),
	}
	switch rapid.IntRange(0, 2).Draw(rt, "key") {
	case 0:
		spec.Key = []KeyColumn{{Name: "k", Type: plainbuffer.String}}
	case 1:
		spec.Key = []KeyColumn{{Name: "b", Type: plainbuffer.Blob}, {Name: "i", Type: plainbuffer.Integer}, {Name: "s", Type: plainbuffer.String}}
	case 2:
		spec.Key = []KeyColumn{{Name: "i", Type: plainbuffer.Integer}, {Name: "a", Type: plainbuffer.Integer, AutoIncrement: true}}
	}
	if rapid.Bool().Draw(rt, "expires") {
		spec.TimeToLive = 100_000 * time.Second
	}
	if rapid.Bool().Draw(rt, "splits") {
		spec.SplitBytes = 1000
	}
	if spec.StreamHours = rapid.SampledFrom([]int{0, 30, 168}).Draw(rt, "hours"); spec.StreamHours > 0 {
		spec.OriginColumns = rapid.SampledFrom([][]string{nil, {"a"}, {"b", "c"}}).Draw(rt, "origin")
	}
	l.made++
	if err := l.e.CreateTable(spec); err != nil {
		rt.Fatal(err)
	}
}

func (l *life) updateTable(rt *rapid.T) {
	q := &tablepb.UpdateTableRequest{TableName: new(l.table(rt).name)}
	switch rapid.IntRange(0, 3).Draw(rt, "what") {
	case 0:
		q.TableOptions = &tablepb.TableOptions{MaxVersions: new(rapid.Int32Range(1, 3).Draw(rt, "versions")), AllowUpdate: new(rapid.Bool().Draw(rt, "update"))}
	case 1:
		q.TableOptions = &tablepb.TableOptions{TimeToLive: new(rapid.SampledFrom([]int32{-1, 100_000}).Draw(rt, "ttl"))}
	case 2:
		q.StreamSpec = &tablepb.StreamSpecification{EnableStream: new(rapid.Bool().Draw(rt, "stream"))}
		if q.StreamSpec.GetEnableStream() {
			q.StreamSpec.ExpirationTime, q.StreamSpec.ColumnsToGet = new(int32(30)), []string{"b"}
		}
	case 3:
		q.ReservedThroughput = &tablepb.ReservedThroughput{CapacityUnit: capacityUnit(rapid.Int32Range(0, 9).Draw(rt, "read"), 1)}
	}
	_, err := call[tablepb.UpdateTableResponse](l.t, l.e, "/UpdateTable", q)
	l.refused(err)
}

func (l *life) defineColumn(rt *rapid.T) {
	name := l.table(rt).name
	column := rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "column")
	_, err := call[tablepb.AddDefinedColumnResponse](l.t, l.e, "/AddDefinedColumn", &tablepb.AddDefinedColumnRequest{
		TableName: &name, Columns: []*tablepb.DefinedColumnSchema{{Name: &column, Type: tablepb.DefinedColumnType_DCT_STRING.Enum()}},
	})
	if err != nil {
		_, err = call[tablepb.DeleteDefinedColumnResponse](l.t, l.e, "/DeleteDefinedColumn", &tablepb.DeleteDefinedColumnRequest{
			TableName: &name, Columns: []string{column},
		})
	}
	l.refused(err)
}

func (l *life) deleteTable(rt *rapid.T) {
	name := l.table(rt).name
	must[tablepb.DeleteTableResponse](l.t, l.e, "/DeleteTable", &tablepb.DeleteTableRequest{TableName: &name})
}

// write writes a few rows at once.
func (l *life) write(rt *rapid.T) {
	t := l.table(rt)
	for range rapid.IntRange(1, 4).Draw(rt, "rows") {
		c := Change{Action: rapid.SampledFrom([]tunnelpb.ActionType{
			tunnelpb.ActionType_PUT_ROW, tunnelpb.ActionType_PUT_ROW, tunnelpb.ActionType_UPDATE_ROW, tunnelpb.ActionType_DELETE_ROW,
		}).Draw(rt, "action")}
		text := rapid.SampledFrom([]string{"", "a", "a\x00", "a\x00\xff", "ab", "b"})
		for _, k := range t.key {
			cell := plainbuffer.Cell{Name: []byte(k.Name)}
			switch {
			case k.AutoIncrement && c.Action != tunnelpb.ActionType_DELETE_ROW:
				cell.Value = plainbuffer.BoundValue(plainbuffer.AutoIncrement)
			case k.Type == plainbuffer.Integer:
				cell.Value = plainbuffer.IntegerValue(rapid.Int64Range(-2, 2).Draw(rt, k.Name))
			case k.Type == plainbuffer.String:
				cell.Value = plainbuffer.StringValue(text.Draw(rt, k.Name))
			default:
				cell.Value = plainbuffer.BlobValue([]byte(text.Draw(rt, k.Name)))
			}
			c.Row.Key = append(c.Row.Key, cell)
		}
		if c.Action != tunnelpb.ActionType_DELETE_ROW {
			for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 3, rapid.ID).Draw(rt, "columns") {
				cell := plainbuffer.Cell{Name: []byte(name)}
				switch rapid.IntRange(0, 4).Draw(rt, "value") {
				case 0:
					cell.Value = plainbuffer.DoubleValue(rapid.Float64().Draw(rt, "double"))
				case 1:
					cell.Value = plainbuffer.StringValue(strings.Repeat("long", rapid.IntRange(0, 50).Draw(rt, "length")))
				case 2:
					cell.Value, cell.HasTimestamp = plainbuffer.BooleanValue(true), true
					cell.Timestamp = l.e.clock.now().UnixMilli() - rapid.Int64Range(0, 1000).Draw(rt, "age")
				case 3:
					if cell.Value = plainbuffer.NoValue(); c.Action == tunnelpb.ActionType_UPDATE_ROW {
						cell.Op = plainbuffer.DeleteAllVersions
						break
					}
					fallthrough
				default:
					cell.Value = plainbuffer.IntegerValue(rapid.Int64().Draw(rt, "integer"))
				}
				c.Row.Columns = append(c.Row.Columns, cell)
			}
		}
		l.refused(l.e.Write(t.name, c))
	}
}

func (l *life) createTunnel(rt *rapid.T) {
	if len(l.e.tunnels) == 5 {
		rt.Skip()
	}
	table := l.table(rt).name
	kind := rapid.SampledFrom([]tunnelpb.TunnelType{
		tunnelpb.TunnelType_BASE_DATA, tunnelpb.TunnelType_STREAM, tunnelpb.TunnelType_BASE_AND_STREAM,
	}).Draw(rt, "type")
	config := rapid.SampledFrom([]*tunnelpb.StreamTunnelConfig{
		nil, {}, {Flag: tunnelpb.StartOffsetFlag_EARLIEST.Enum()},
		{EndOffset: new(uint64(l.e.clock.now().Add(time.Duration(rapid.IntRange(1, 50_000).Draw(rt, "end")) * time.Second).UnixNano()))},
	}).Draw(rt, "config")
	l.made++
	_, err := call[tunnelpb.CreateTunnelResponse](l.t, l.e, "/tunnel/create", &tunnelpb.CreateTunnelRequest{Tunnel: &tunnelpb.Tunnel{
		TableName: &table, TunnelName: new(fmt.Sprint("n", l.made)), TunnelType: kind.Enum(), StreamTunnelConfig: config,
	}})
	l.refused(err)
}

func (l *life) deleteTunnel(rt *rapid.T) {
	n := l.tunnel(rt)
	must[tunnelpb.DeleteTunnelResponse](l.t, l.e, "/tunnel/delete", &tunnelpb.DeleteTunnelRequest{TableName: &n.table.name, TunnelName: &n.name})
}

// client comes to a tunnel, or is there, and tells what it has done with what
// it holds.
func (l *life) client(rt *rapid.T) {
	n := l.tunnel(rt)
	if len(n.clients) < 2 && rapid.Bool().Draw(rt, "connects") {
		_, err := call[tunnelpb.ConnectResponse](l.t, l.e, "/tunnel/connect", &tunnelpb.ConnectRequest{TunnelId: &n.id})
		l.refused(err)
		return
	}
	if len(n.clients) == 0 {
		rt.Skip()
	}
	id := n.clients[0].id
	var reports []*tunnelpb.Channel
	for _, ch := range n.channels {
		if ch.lease.held(id) && rapid.Bool().Draw(rt, "reports") {
			status := rapid.SampledFrom([]tunnelpb.ChannelStatus{tunnelpb.ChannelStatus_CLOSE, tunnelpb.ChannelStatus_TERMINATED}).Draw(rt, "status")
			reports = append(reports, &tunnelpb.Channel{ChannelId: &ch.id, Version: new(ch.version + 1), Status: &status})
		}
	}
	_, err := call[tunnelpb.HeartbeatResponse](l.t, l.e, "/tunnel/heartbeat", &tunnelpb.HeartbeatRequest{
		TunnelId: &n.id, ClientId: &id, Channels: reports,
	})
	l.refused(err)
}

// read reads a page of a channel from its checkpoint, and may commit it.
func (l *life) read(rt *rapid.T) {
	n := l.tunnel(rt)
	ch := rapid.SampledFrom(n.channels).Draw(rt, "channel")
	a, err := call[tunnelpb.ReadRecordsResponse](l.t, l.e, "/tunnel/readrecords", &tunnelpb.ReadRecordsRequest{
		TunnelId: &n.id, ClientId: new("anybody"), ChannelId: &ch.id, Token: new(ch.checkpoint),
	})
	if !l.refused(err) && rapid.Bool().Draw(rt, "commits") {
		_, err := call[tunnelpb.CheckpointResponse](l.t, l.e, "/tunnel/checkpoint", &tunnelpb.CheckpointRequest{
			TunnelId: &n.id, ClientId: new("anybody"), ChannelId: &ch.id, Checkpoint: a.NextToken, SequenceNumber: new(ch.sequence + 1),
		})
		l.refused(err)
	}
}

func (l *life) schedule(rt *rapid.T) {
	n := l.tunnel(rt)
	ch := rapid.SampledFrom(n.channels).Draw(rt, "channel")
	status := rapid.SampledFrom([]tunnelpb.ChannelStatus{
		tunnelpb.ChannelStatus_OPEN, tunnelpb.ChannelStatus_CLOSING, tunnelpb.ChannelStatus_TERMINATED,
	}).Draw(rt, "status")
	_, err := call[tunnelpb.ScheduleResponse](l.t, l.e, "/tunnel/schedule", &tunnelpb.ScheduleRequest{
		TunnelId: &n.id, Channels: []*tunnelpb.Channel{{ChannelId: &ch.id, Version: new(int64(0)), Status: &status}},
	})
	l.refused(err)
}

// restart ends the instance, one way or the other, and checks that the next
// one tells the same.
func (l *life) restart(rt *rapid.T) {
	crash := rapid.Bool().Draw(rt, "crash")
	before := restarted(everything(l.t, l.e), crash)
	if crash {
		l.config.Data = crashed(l.t, l.e, l.config.Data)
	} else if err := l.e.Close(); err != nil {
		rt.Fatal(err)
	}
	e, err := New(l.config)
	if err != nil {
		rt.Fatal(err)
	}
	l.e = e
	// What has not been read since the crash has not been read at all.
	after := restarted(everything(l.t, e), crash)
	if diff := cmp.Diff(before, after, protocmp.Transform()); diff != "" {
		rt.Fatalf("after a restart (crash: %v):\n%s", crash, diff)
	}
	if err := whole(e); err != nil {
		rt.Fatalf("after a restart (crash: %v): %v", crash, err)
	}
}

// whole says what of an instance differs from what it has kept.
func whole(e *Emulator) error {
	if err := e.keeper.store.Sync(); err != nil {
		return err
	}
	seen := make(map[string]bool)
	err := e.keeper.store.Load(store.Rows, func(key, value []byte) error {
		r, err := parseRow(value)
		if err != nil {
			return err
		}
		for _, t := range e.tables {
			if bytes.HasPrefix(key, appendTable(nil, t.kept.number)) {
				if have := t.rows.get(r.key); have == nil || have.revision != r.revision {
					return fmt.Errorf("row %v of %s: %v is on disk, %v in memory", r.key, t.name, r, have)
				}
				seen[string(key)] = true
				return nil
			}
		}
		return fmt.Errorf("a row of no table: %x", key)
	})
	if err != nil {
		return err
	}
	rows := 0
	for _, t := range e.tables {
		rows += t.rows.size
		if t.rows.revision+1 < t.kept.former {
			return fmt.Errorf("%s is at revision %d, and what was before %d has been dropped", t.name, t.rows.revision, t.kept.former)
		}
	}
	if rows != len(seen) {
		return fmt.Errorf("%d rows are on disk, %d in memory", len(seen), rows)
	}
	return nil
}

func TestNothingThatWasToldIsLostOverARestart(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		l := &life{T: rt, t: t, config: Config{
			Data: filepath.Join(dir, "data"), NoSync: true, PageRecords: 3,
			Switches: Switches{
				ForeignGetCheckpoint: true, ForeignCheckpoint: true, ForeignReadRecords: true,
				BaseUnordered: rapid.Bool().Draw(rt, "unordered"),
				EpochRises:    rapid.Bool().Draw(rt, "epochs"), WrongChecksums: rapid.Bool().Draw(rt, "checksums"),
				TimestampsStepBack: rapid.Bool().Draw(rt, "back"),
			},
		}}
		if l.e, err = New(l.config); err != nil {
			rt.Fatal(err)
		}
		defer func() { l.e.Close() }()
		l.createTable(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"create table":  l.createTable,
			"update table":  l.updateTable,
			"define column": l.defineColumn,
			"delete table": func(rt *rapid.T) {
				if rapid.IntRange(0, 4).Draw(rt, "really") == 0 {
					l.deleteTable(rt)
				}
			},
			"write":         l.write,
			"write again":   l.write,
			"write more":    l.write,
			"create tunnel": l.createTunnel,
			"delete tunnel": l.deleteTunnel,
			"client":        l.client,
			"client again":  l.client,
			"read":          l.read,
			"read again":    l.read,
			"schedule":      l.schedule,
			"split": func(rt *rapid.T) {
				t := l.table(rt)
				if len(t.partitions) < 8 {
					l.refused(l.e.Split(t.name, rapid.IntRange(0, len(t.partitions)-1).Draw(rt, "partition")))
				}
			},
			"expire tunnel": func(rt *rapid.T) {
				n := l.tunnel(rt)
				if rapid.IntRange(0, 4).Draw(rt, "really") == 0 {
					l.refused(l.e.ExpireTunnel(n.table.name, n.name))
				}
			},
			"step clock": func(rt *rapid.T) {
				l.e.StepClock(time.Duration(rapid.SampledFrom([]int{-1_009, 3_001, 40_009, 90_011}).Draw(rt, "seconds")) * time.Second)
			},
			"restart": l.restart,
		})
		l.restart(rt)
	})
}

// Positions go on behind those that were given before the restart, though the
// clock has been set back and the log is empty.
func TestPositionsAreNotRepeatedAfterARestart(t *testing.T) {
	dir := t.TempDir()
	last := func(e *Emulator, id string) plainbuffer.Sequence {
		t.Helper()
		records := consume(t, e, id)
		return decodeRow(t, records[len(records)-1]).Sequence
	}
	e := newEmulator(t, Config{Data: dir})
	newTableOf(t, e, 1)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	e.StepClock(time.Hour)
	mustWrite(t, e, putOf("a", 1))
	e.StepClock(-2 * time.Hour)
	mustWrite(t, e, putOf("a", 2))
	before := last(e, id)
	e.Close()
	e = newEmulator(t, Config{Data: dir})
	mustWrite(t, e, putOf("a", 3))
	if after := last(e, id); after.Timestamp != before.Timestamp || after.RowIndex <= before.RowIndex {
		t.Errorf("after a restart a change stands at %+v, the one before at %+v", after, before)
	}
	before = lastOf(e)

	// All of them expire.
	e.StepClock(200 * time.Hour)
	if _, err := e.Remaining("t", "feed"); err != nil {
		t.Fatal(err)
	}
	e.StepClock(-200 * time.Hour)
	e.Close()
	e = newEmulator(t, Config{Data: dir})
	if n := len(e.tables["t"].partitions[0].log.entries); n != 0 {
		t.Fatalf("%d changes are left", n)
	}
	mustWrite(t, e, putOf("a", 4))
	if after := lastOf(e); after.Timestamp != before.Timestamp || after.RowIndex <= before.RowIndex {
		t.Errorf("after all have expired and a restart, a change stands at %+v, the one before at %+v", after, before)
	}
}

// lastOf is the position of the last change.
func lastOf(e *Emulator) plainbuffer.Sequence {
	return e.tables["t"].partitions[0].log.last
}

func TestDataThatCannotBeUsedAreNamed(t *testing.T) {
	dir := t.TempDir()
	e := newEmulator(t, Config{Data: dir})
	newTableOf(t, e, 1)
	mustWrite(t, e, putOf("a", 1))
	e.Close()
	b, err := os.ReadFile(filepath.Join(dir, store.FileName))
	if err != nil {
		t.Fatal(err)
	}
	for what, damage := range map[string]func([]byte) []byte{
		"cut": func(b []byte) []byte { return b[:len(b)/2] },
		"changed": func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte(`"Name":"t"`), []byte(`"Name":"s"`))
		},
	} {
		damaged, dir := damage(bytes.Clone(b)), t.TempDir()
		name := filepath.Join(dir, store.FileName)
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := New(Config{Data: dir})
		if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(fmt.Sprint(err), dir) {
			t.Errorf("%s data: %v, want %v and the directory's name", what, err, store.ErrCorrupt)
		}
		if err == nil {
			e.Close()
		}
		if after, err := os.ReadFile(name); err != nil || !bytes.Equal(after, damaged) {
			t.Errorf("%s data have been written to (%v)", what, err)
		}
	}
	if _, err := New(Config{Data: filepath.Join(dir, store.FileName, "below a file")}); err == nil {
		t.Error("a file is taken for a directory")
	}
}

func TestACallWhoseChangeCannotBeKeptFails(t *testing.T) {
	e := newEmulator(t, Config{Data: t.TempDir()})
	newTableOf(t, e, 1)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	client := connect(t, e, id, 10)
	ch := beat(t, e, id, client)[0].GetChannelId()
	at, _ := token(t, e, id, client, ch)
	mustWrite(t, e, putOf("a", 1))

	// The store refuses an empty key, as a full disk refuses everything.
	var b store.Batch
	b.Put(store.Rows, nil)
	e.keeper.store.Add(&b)
	wantCode(t, e.Write("t", putOf("b", 1)), codeServerUnavailable)
	_, err := call[tablepb.PutRowResponse](t, e, "/PutRow", &tablepb.PutRowRequest{
		TableName: new("t"), Row: plainbuffer.Append(nil, new(putOf("c", 1).Row)),
		Condition: &tablepb.Condition{RowExistence: tablepb.RowExistenceExpectation_IGNORE.Enum()},
	})
	wantCode(t, err, codeServerUnavailable)
	// Neither is told what is not kept.
	_, err = call[tunnelpb.ReadRecordsResponse](t, e, "/tunnel/readrecords", &tunnelpb.ReadRecordsRequest{
		TunnelId: &id, ClientId: &client, ChannelId: &ch, Token: &at,
	})
	wantCode(t, err, codeTunnelUnavailable)
	wantCode(t, commit(t, e, id, client, ch, at, 1), codeTunnelUnavailable)
	if err := e.Close(); err == nil {
		t.Error("Close says nothing of it")
	}
	e = newEmulator(t, Config{Data: filepath.Dir(e.keeper.store.Path())})
	if e.tables["t"].get(keyOf("a")) == nil || e.tables["t"].get(keyOf("b")) != nil {
		t.Error("the data are not those from before the failure")
	}
}

func TestADataDirectoryIsLoadedWithProgress(t *testing.T) {
	dir := t.TempDir()
	e := newEmulator(t, Config{Data: dir})
	newTableOf(t, e, 1)
	for n := range 50 {
		c := putOf(fmt.Sprint(n), 1)
		c.Row.Columns[0].Value = plainbuffer.BlobValue(make([]byte, 100_000))
		mustWrite(t, e, c)
	}
	e.Close()
	var told [][2]int64
	e = newEmulator(t, Config{Data: dir, OnLoad: func(done, total int64) { told = append(told, [2]int64{done, total}) }})
	if len(e.tables["t"].rows.blocks[0]) != 50 {
		t.Error("not all rows are there")
	}
	if n := len(told); n < 4 || told[n-1][0] != told[n-1][1] || told[n-1][1] < 5_000_000 {
		t.Errorf("progress was told as %v", told)
	}
	if !slices.IsSortedFunc(told, func(a, b [2]int64) int { return int(a[0] - b[0]) }) {
		t.Errorf("progress went back: %v", told)
	}
}

// A tunnel's base data are not written down when it is made, and what is kept
// of the rows as they were goes when nobody needs it.
func TestBaseDataAreKeptAsTheRowsThatChanged(t *testing.T) {
	dir := t.TempDir()
	e := newEmulator(t, Config{Data: dir})
	newTableOf(t, e, 2)
	former := func() int {
		n := 0
		if err := e.kept(e.keeper.store.Load(store.Former, func(_, _ []byte) error { n++; return nil }), ""); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for k := range 50 {
		mustWrite(t, e, putOf(fmt.Sprint(k), 1))
	}
	mustWrite(t, e, putOf("1", 2))
	if n := former(); n != 0 {
		t.Errorf("%d rows are kept as they were before there is a tunnel", n)
	}
	id := newTunnelOf(t, e, tunnelpb.TunnelType_BASE_DATA, nil)
	if n := former(); n != 0 {
		t.Errorf("making a tunnel wrote down %d rows", n)
	}
	for n := range 3 {
		mustWrite(t, e, putOf("1", int64(3+n)))
		mustWrite(t, e, Change{Action: tunnelpb.ActionType_DELETE_ROW, Row: plainbuffer.Row{Key: keyOf("2")}})
		mustWrite(t, e, putOf("new", int64(n)))
	}
	if n := former(); n != 2 {
		t.Errorf("%d rows are kept as they were, want the two that changed", n)
	}
	e.Close()
	e = newEmulator(t, Config{Data: dir})
	seen := make(map[string]int64)
	for _, r := range consume(t, e, id) {
		row := decodeRow(t, r)
		seen[string(row.Key[0].Value.Bytes())] = row.Columns[0].Value.Integer()
	}
	if len(seen) != 50 || seen["1"] != 2 || seen["2"] != 1 {
		t.Errorf("after a restart the base data has %d rows, of 1 the %d, of 2 the %d", len(seen), seen["1"], seen["2"])
	}
	// All of it has been read.
	mustWrite(t, e, putOf("1", 9))
	if n := former(); n != 0 {
		t.Errorf("%d rows are kept as they were though nobody needs them", n)
	}
}

// They show neither what had expired by then nor what an update of the table
// has brought since.
func TestBaseDataShowWhatWasVisibleThen(t *testing.T) {
	dir := t.TempDir()
	e := newEmulator(t, Config{Data: dir})
	err := e.CreateTable(TableSpec{
		Name: "t", Key: []KeyColumn{{Name: "k", Type: plainbuffer.String}}, MaxVersions: 3, TimeToLive: 100_000 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, e, putOf("old", 1))
	e.StepClock(60_000 * time.Second)
	version := e.clock.now().UnixMilli()
	for n := range 3 {
		c := putOf("new", int64(n))
		c.Action = tunnelpb.ActionType_UPDATE_ROW
		c.Row.Columns[0].HasTimestamp, c.Row.Columns[0].Timestamp = true, version-int64(n)
		mustWrite(t, e, c)
	}
	e.StepClock(60_000 * time.Second)
	update := func(o *tablepb.TableOptions) {
		must[tablepb.UpdateTableResponse](t, e, "/UpdateTable", &tablepb.UpdateTableRequest{TableName: new("t"), TableOptions: o})
	}
	update(&tablepb.TableOptions{MaxVersions: new(int32(2))})
	id := newTunnelOf(t, e, tunnelpb.TunnelType_BASE_DATA, nil)
	update(&tablepb.TableOptions{MaxVersions: new(int32(3)), TimeToLive: new(int32(-1))})
	e.Close()
	e = newEmulator(t, Config{Data: dir})
	records := consume(t, e, id)
	if len(records) != 1 {
		t.Fatalf("the base data has %d rows, want the one that had not expired", len(records))
	}
	if row := decodeRow(t, records[0]); string(row.Key[0].Value.Bytes()) != "new" || len(row.Columns) != 2 {
		t.Errorf("the base data has %s with %d versions, want new with 2", row.Key[0].Value.Bytes(), len(row.Columns))
	}
}

// Whoever adds a field says here whether it has to be kept.
func TestEveryFieldIsKeptOrNot(t *testing.T) {
	for _, s := range []struct {
		of             reflect.Type
		kept, computed string
	}{
		{reflect.TypeFor[table](), "name key created options reserved defined rows lastAuto partitions streamID streamHours streamFrom originColumns splitBytes", "clock mu kept live"},
		{reflect.TypeFor[options](), "timeToLive maxVersions deviation allowUpdate", ""},
		{reflect.TypeFor[throughput](), "read write raised lowered", ""},
		{reflect.TypeFor[definedColumn](), "name typ", ""},
		{reflect.TypeFor[KeyColumn](), "Name Type AutoIncrement", ""},
		{reflect.TypeFor[row](), "key columns revision", ""},
		{reflect.TypeFor[index](), "revision", "blocks size changed"},
		{reflect.TypeFor[partition](), "number from to parent ended forgotten written log", ""},
		{reflect.TypeFor[changeLog](), "first trimmed entries last newest chunks", "firstChunk begin row origin"},
		{reflect.TypeFor[entry](), "timestamp", "chunk end"},
		{reflect.TypeFor[clock](), "offset steps", "switches"},
		{reflect.TypeFor[tunnel](), "id name kind table config stream created revision options channels partitions expired", "logger until mu kept clients byID"},
		{reflect.TypeFor[channel](), "id partition parent base rows unordered start lease suspended checkpoint committed sequence read readAt stop skipped lost", "answers wanted told reopened scanned"},
		{reflect.TypeFor[lease](), "state version", "client"},
	} {
		var have []string
		for f := range s.of.Fields() {
			have = append(have, f.Name)
		}
		want := strings.Fields(s.kept + " " + s.computed)
		slices.Sort(have)
		slices.Sort(want)
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("the fields of %v, which persist*.go keeps, makes anew or forgets on purpose: %s", s.of, diff)
		}
	}
}

func TestKeysOfTheStoreAreInTheOrderOfKeys(t *testing.T) {
	value := rapid.OneOf(
		rapid.Map(rapid.Int64(), plainbuffer.IntegerValue),
		rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xfe, 0xff}), 0, 4), plainbuffer.BlobValue),
	)
	rapid.Check(t, func(rt *rapid.T) {
		first := value.Draw(rt, "first")
		alike := value.Filter(func(v plainbuffer.Value) bool { return v.Type() == first.Type() })
		a := []plainbuffer.Cell{{Value: first}, {Value: plainbuffer.StringValue(rapid.StringN(0, 2, 4).Draw(rt, "a"))}}
		b := []plainbuffer.Cell{{Value: alike.Draw(rt, "second")}, {Value: plainbuffer.StringValue(rapid.StringN(0, 2, 4).Draw(rt, "b"))}}
		want := compareKeys(a, b)
		if got := bytes.Compare(rowKey(nil, 7, a), rowKey(nil, 7, b)); got != want {
			rt.Errorf("the keys compare as %d, their bytes as %d", want, got)
		}
	})
}

func TestWithoutDataNothingIsDoneForThem(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 4)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_BASE_AND_STREAM, nil)
	table, n := e.tables["t"], e.tunnels[id]
	r := &row{key: keyOf("a")}
	table.rows.put(r)
	for what, f := range map[string]func(){
		"a table's lock":   func() { table.mu.Lock(); defer table.mu.Unlock() },
		"a tunnel's lock":  func() { n.mu.Lock(); defer n.mu.Unlock() },
		"a row":            func() { table.rows.put(r) },
		"the end of calls": func() { _ = e.kept(nil, codeServerUnavailable) },
	} {
		if allocs := testing.AllocsPerRun(100, f); allocs != 0 {
			t.Errorf("%s takes %v allocations, want none", what, allocs)
		}
	}
}
