package emulator

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// drain reads a channel from its checkpoint until nothing more is there, and
// gives what it read and the token after it.
func drain(t testing.TB, e *Emulator, tunnel, client, channel string) ([]*tunnelpb.Record, string) {
	t.Helper()
	at, _ := token(t, e, tunnel, client, channel)
	var records []*tunnelpb.Record
	for at != finished {
		a := read(t, e, tunnel, client, channel, at)
		records = append(records, a.GetRecords()...)
		done := !a.GetMayMoreRecord()
		at = a.GetNextToken()
		if done {
			break
		}
	}
	return records, at
}

// consume plays one client from its connection to where nothing is left: base
// channels to their end, then the streams.
func consume(t testing.TB, e *Emulator, tunnel string) []*tunnelpb.Record {
	t.Helper()
	client := connect(t, e, tunnel, 10)
	var all []*tunnelpb.Record
	channels := beat(t, e, tunnel, client)
	for {
		var reports []*tunnelpb.Channel
		for _, ch := range channels {
			records, at := drain(t, e, tunnel, client, ch.GetChannelId())
			all = append(all, records...)
			_, sequence := token(t, e, tunnel, client, ch.GetChannelId())
			if err := commit(t, e, tunnel, client, ch.GetChannelId(), at, sequence+1); err != nil {
				t.Fatal(err)
			}
			if at == finished {
				reports = append(reports, report(ch, tunnelpb.ChannelStatus_TERMINATED))
			}
		}
		if reports == nil {
			return all
		}
		channels = beat(t, e, tunnel, client, reports...)
	}
}

func kinds(channels []*tunnelpb.Channel) string {
	var s []string
	for _, ch := range channels {
		s = append(s, fmt.Sprint(ch.GetChannelId(), " ", ch.GetStatus(), " ", ch.GetVersion()))
	}
	return strings.Join(s, ", ")
}

func TestTheStreamBeginsExactlyWhereTheBaseDataEnds(t *testing.T) {
	e := newEmulator(t, Config{PageRecords: 7})
	newTableOf(t, e, 4)
	// Each key counts up for as long as there is time, while the tunnel is
	// made.
	const keys = 40
	counts := make([]int64, keys)
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for k := w; ; k = (k + 4) % keys {
				select {
				case <-stop:
					return
				default:
				}
				counts[k]++
				if err := e.Write("t", putOf(fmt.Sprintf("key%02d", k), counts[k])); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var id string
	for n := 0; ; n++ {
		if r, _ := e.table("t"); r.get(keyOf("key39")) != nil {
			id = newTunnelOf(t, e, tunnelpb.TunnelType_BASE_AND_STREAM, nil)
			break
		}
	}
	for k := range keys {
		mustWrite(t, e, putOf(fmt.Sprintf("late%02d", k), 1))
	}
	close(stop)
	writers.Wait()

	seen := make(map[string]int64)
	base := true
	for i, r := range consume(t, e, id) {
		row := decodeRow(t, r)
		k, n := string(row.Key[0].Value.Bytes()), row.Columns[0].Value.Integer()
		if row.HasSequence {
			base = false
		} else if !base {
			t.Fatalf("record %d is of the base data, after the stream began", i)
		}
		if last, ok := seen[k]; row.HasSequence && ok && n != last+1 || (!row.HasSequence && ok) {
			t.Fatalf("key %s: %d came after %d", k, n, last)
		} else if row.HasSequence && !ok && n != 1 {
			t.Fatalf("key %s begins in the stream with %d", k, n)
		}
		seen[k] = n
	}
	for k, n := range counts {
		if got := seen[fmt.Sprintf("key%02d", k)]; got != n {
			t.Errorf("key%02d was seen up to %d, want %d", k, got, n)
		}
		if seen[fmt.Sprintf("late%02d", k)] != 1 {
			t.Errorf("late%02d was not seen", k)
		}
	}
}

func TestBaseRowsComeInKeyOrderAndStreamsAfterAllOfThem(t *testing.T) {
	e := newEmulator(t, Config{PageRecords: 3})
	newTableOf(t, e, 2)
	for k := range 20 {
		mustWrite(t, e, putOf(fmt.Sprintf("key%02d", 19-k), 1))
	}
	id := newTunnelOf(t, e, tunnelpb.TunnelType_BASE_AND_STREAM, nil)
	// Later changes do not reach the rows as they were.
	mustWrite(t, e, Change{tunnelpb.ActionType_DELETE_ROW, plainbuffer.Row{Key: keyOf("key00")}})
	mustWrite(t, e, putOf("key01", 2))

	client := connect(t, e, id, 10)
	channels := beat(t, e, id, client)
	if got, want := kinds(channels), "BaseData_0000 OPEN 1, BaseData_0001 OPEN 1"; got != want {
		t.Fatalf("channels %s, want %s", got, want)
	}
	total := 0
	for i, ch := range channels {
		records, at := drain(t, e, id, client, ch.GetChannelId())
		if at != finished {
			t.Errorf("channel %d ends with token %q", i, at)
		}
		var keys []string
		for _, r := range records {
			row := decodeRow(t, r)
			if r.GetActionType() != tunnelpb.ActionType_PUT_ROW || row.HasSequence || row.Columns[0].Value.Integer() != 1 {
				t.Errorf("base record %v %+v", r.GetActionType(), row)
			}
			keys = append(keys, string(row.Key[0].Value.Bytes()))
		}
		if !slices.IsSorted(keys) {
			t.Errorf("channel %d has keys %v", i, keys)
		}
		total += len(keys)
		want := []string{"BaseData_0001 OPEN 1", "Stream_0000 OPEN 1, Stream_0001 OPEN 1"}[i]
		if got := kinds(beat(t, e, id, client, report(ch, tunnelpb.ChannelStatus_TERMINATED))); got != want {
			t.Errorf("after channel %d: %s, want %s", i, got, want)
		}
	}
	if total != 20 {
		t.Errorf("%d base rows, want 20", total)
	}
}

func TestAnEmptyTableHasBaseChannelsThatAreFinishedAtOnce(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 3)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_BASE_DATA, nil)
	if records := consume(t, e, id); len(records) != 0 {
		t.Errorf("%d records", len(records))
	}
}

func TestTheStreamTellsWhatWasWritten(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	version := time.Now().UnixMilli() - 5
	cell := func(name string, v plainbuffer.Value, op plainbuffer.Op, version int64) plainbuffer.Cell {
		return plainbuffer.Cell{Name: []byte(name), Value: v, Op: op, HasTimestamp: version != 0, Timestamp: version}
	}
	mustWrite(t, e, Change{tunnelpb.ActionType_PUT_ROW, plainbuffer.Row{Key: keyOf("a"), Columns: []plainbuffer.Cell{
		cell("b", plainbuffer.IntegerValue(1), plainbuffer.Put, version), cell("a", plainbuffer.StringValue("x"), plainbuffer.Put, 0),
	}}})
	mustWrite(t, e, Change{tunnelpb.ActionType_UPDATE_ROW, plainbuffer.Row{Key: keyOf("a"), Columns: []plainbuffer.Cell{
		cell("a", plainbuffer.NoValue(), plainbuffer.DeleteAllVersions, 0),
		cell("b", plainbuffer.NoValue(), plainbuffer.DeleteOneVersion, version),
		cell("c", plainbuffer.BooleanValue(true), plainbuffer.Put, 0),
	}}})
	mustWrite(t, e, Change{tunnelpb.ActionType_DELETE_ROW, plainbuffer.Row{Key: keyOf("a")}})

	records := consume(t, e, id)
	var got []string
	var last plainbuffer.Sequence
	for _, r := range records {
		row := decodeRow(t, r)
		s := fmt.Sprint(r.GetActionType(), " ", row.Deleted)
		for _, c := range row.Columns {
			at := ""
			if c.HasTimestamp {
				at = "@given"
				if c.Timestamp != version {
					at = "@now"
					if time.Since(time.UnixMilli(c.Timestamp)).Abs() > time.Minute {
						t.Errorf("column %s has version %d", c.Name, c.Timestamp)
					}
				}
			}
			s += fmt.Sprintf(" %s:%d%s", c.Name, c.Op, at)
		}
		got = append(got, s)
		if !row.HasSequence || row.Sequence.Epoch != 0 || row.Sequence.Timestamp < last.Timestamp ||
			row.Sequence.Timestamp == last.Timestamp && row.Sequence.RowIndex <= last.RowIndex {
			t.Errorf("position %+v after %+v", row.Sequence, last)
		}
		last = row.Sequence
	}
	want := []string{"PUT_ROW false b:0@given a:0@now", "UPDATE_ROW false a:1 b:3@given c:0@now", "DELETE_ROW true"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestPositionsRiseWhenTheClockStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, Config{})
		newTableOf(t, e, 1)
		id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
		for i := range int64(3) {
			mustWrite(t, e, putOf("a", i))
		}
		time.Sleep(time.Microsecond)
		mustWrite(t, e, putOf("a", 3))
		var got []plainbuffer.Sequence
		for _, r := range consume(t, e, id) {
			got = append(got, decodeRow(t, r).Sequence)
		}
		first := got[0].Timestamp
		want := []plainbuffer.Sequence{{Timestamp: first}, {Timestamp: first, RowIndex: 1}, {Timestamp: first, RowIndex: 2}, {Timestamp: first + 1}}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

func TestTheSameTokenGivesTheSameRecordsAgain(t *testing.T) {
	for _, kind := range []tunnelpb.TunnelType{tunnelpb.TunnelType_STREAM, tunnelpb.TunnelType_BASE_DATA} {
		t.Run(kind.String(), func(t *testing.T) {
			e := newEmulator(t, Config{PageRecords: 4})
			newTableOf(t, e, 1)
			fill := func(from, to int) {
				for i := from; i < to; i++ {
					mustWrite(t, e, putOf(fmt.Sprintf("key%02d", i), int64(i)))
				}
			}
			if kind == tunnelpb.TunnelType_BASE_DATA {
				fill(0, 10)
			}
			id := newTunnelOf(t, e, kind, nil)
			if kind == tunnelpb.TunnelType_STREAM {
				fill(0, 10)
			}
			client := connect(t, e, id, 10)
			ch := beat(t, e, id, client)[0].GetChannelId()
			at, _ := token(t, e, id, client, ch)
			tokens := []string{at}
			var pages []*tunnelpb.ReadRecordsResponse
			for more := true; more; {
				a := read(t, e, id, client, ch, at)
				pages = append(pages, a)
				more, at = a.GetMayMoreRecord(), a.GetNextToken()
				tokens = append(tokens, at)
			}
			if len(pages) != 3 || len(pages[2].GetRecords()) != 2 {
				t.Fatalf("%d pages, the last of %d records", len(pages), len(pages[len(pages)-1].GetRecords()))
			}
			fill(20, 22)
			for i := range 2 {
				again := read(t, e, id, client, ch, tokens[i])
				if again.GetNextToken() != tokens[i+1] || len(again.GetRecords()) != 4 {
					t.Errorf("token %d gives %d records and another next token", i, len(again.GetRecords()))
				}
				for j, r := range again.GetRecords() {
					if string(r.GetRecord()) != string(pages[i].GetRecords()[j].GetRecord()) {
						t.Errorf("token %d, record %d differs", i, j)
					}
				}
			}
			end := read(t, e, id, client, ch, tokens[3])
			if kind == tunnelpb.TunnelType_STREAM {
				if len(end.GetRecords()) != 2 {
					t.Errorf("%d new records, want 2", len(end.GetRecords()))
				}
				empty := read(t, e, id, client, ch, end.GetNextToken())
				if empty.GetNextToken() != end.GetNextToken() || empty.GetMayMoreRecord() || len(empty.GetRecords()) != 0 {
					t.Error("a token with nothing after it is not given again")
				}
			} else if tokens[3] != finished || end.GetNextToken() != finished || len(end.GetRecords()) != 0 {
				t.Errorf("the end is %q, then %q", tokens[3], end.GetNextToken())
			}
		})
	}
}

func TestAPageEndsAtItsBytes(t *testing.T) {
	e := newEmulator(t, Config{PageBytes: 1000})
	newTableOf(t, e, 1)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	for range 5 {
		c := putOf("a", 1)
		c.Row.Columns = append(c.Row.Columns, plainbuffer.Cell{Name: []byte("b"), Value: plainbuffer.BlobValue(make([]byte, 600))})
		mustWrite(t, e, c)
	}
	client := connect(t, e, id, 10)
	at, _ := token(t, e, id, client, "Stream_0000")
	if a := read(t, e, id, client, "Stream_0000", at); len(a.GetRecords()) != 2 || !a.GetMayMoreRecord() {
		t.Errorf("%d records, more: %v; want 2 and more", len(a.GetRecords()), a.GetMayMoreRecord())
	}
}

func TestAStreamBeginsWhereItIsAskedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, Config{})
		if err := e.CreateTable(TableSpec{Name: "t", Key: []KeyColumn{{"k", plainbuffer.String}}, StreamHours: 24}); err != nil {
			t.Fatal(err)
		}
		var third uint64
		for i := range int64(5) {
			time.Sleep(time.Second)
			if i == 3 {
				third = uint64(time.Now().UnixNano())
			}
			mustWrite(t, e, putOf("a", i))
		}
		for _, tt := range []struct {
			name   string
			config *tunnelpb.StreamTunnelConfig
			want   int
		}{
			{"by default", nil, 0},
			{"latest", &tunnelpb.StreamTunnelConfig{Flag: tunnelpb.StartOffsetFlag_LATEST.Enum()}, 0},
			{"earliest", &tunnelpb.StreamTunnelConfig{Flag: tunnelpb.StartOffsetFlag_EARLIEST.Enum()}, 5},
			{"offset", &tunnelpb.StreamTunnelConfig{StartOffset: &third}, 2},
			{"offset between", &tunnelpb.StreamTunnelConfig{StartOffset: new(third + 1)}, 1},
		} {
			id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, tt.config)
			if got := len(consume(t, e, id)); got != tt.want {
				t.Errorf("%s: %d records, want %d", tt.name, got, tt.want)
			}
			must[tunnelpb.DeleteTunnelResponse](t, e, "/tunnel/delete", &tunnelpb.DeleteTunnelRequest{TableName: new("t"), TunnelName: new("feed")})
		}
	})
}

func TestCheckpointsAreCountedOneByOne(t *testing.T) {
	e := newEmulator(t, Config{PageRecords: 1})
	newTableOf(t, e, 1)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	mustWrite(t, e, putOf("a", 1))
	client := connect(t, e, id, 10)
	const ch = "Stream_0000"
	first, sequence := token(t, e, id, client, ch)
	next := read(t, e, id, client, ch, first).GetNextToken()
	for _, wrong := range []int64{sequence, sequence + 2, -1} {
		wantCode(t, commit(t, e, id, client, ch, next, wrong), "OTSSequenceNumberNotMatch")
	}
	for range int64(3) {
		sequence++
		if err := commit(t, e, id, client, ch, next, sequence); err != nil {
			t.Fatal(err)
		}
		wantCode(t, commit(t, e, id, client, ch, next, sequence), "OTSSequenceNumberNotMatch")
	}
	if at, n := token(t, e, id, client, ch); at != next || n != sequence {
		t.Errorf("checkpoint %q, %d; want %q, %d", at, n, next, sequence)
	}
	for _, wrong := range []string{"", "x", finished, "AAAA", baseToken(keyOf("a")), streamToken(1, 0, 0), streamToken(0, 9, 0)} {
		wantCode(t, commit(t, e, id, client, ch, wrong, sequence+1), "OTSParameterInvalid")
		_, err := call[tunnelpb.ReadRecordsResponse](t, e, "/tunnel/readrecords", &tunnelpb.ReadRecordsRequest{
			TunnelId: &id, ClientId: &client, ChannelId: new(ch), Token: &wrong,
		})
		wantCode(t, err, "OTSParameterInvalid")
	}
}

func TestAClientThatFallsSilentLosesItsChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, Config{})
		newTableOf(t, e, 1)
		id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
		a, b := connect(t, e, id, 10), connect(t, e, id, 20)
		if got := kinds(beat(t, e, id, a)); got != "Stream_0000 OPEN 1" {
			t.Fatalf("the first client holds %q", got)
		}
		time.Sleep(10 * time.Second)
		// Reading is no heartbeat.
		if at, _ := token(t, e, id, a, "Stream_0000"); at == "" {
			t.Error("at its timeout, the client has lost its channel")
		}
		if got := kinds(beat(t, e, id, b)); got != "" {
			t.Errorf("the second client holds %q", got)
		}
		time.Sleep(time.Millisecond)
		for path, q := range map[string]proto.Message{
			"/tunnel/heartbeat":     &tunnelpb.HeartbeatRequest{TunnelId: &id, ClientId: &a},
			"/tunnel/getcheckpoint": &tunnelpb.GetCheckpointRequest{TunnelId: &id, ClientId: &a, ChannelId: new("Stream_0000")},
			"/tunnel/shutdown":      &tunnelpb.ShutdownRequest{TunnelId: &id, ClientId: &a},
		} {
			_, err := call[tunnelpb.HeartbeatResponse](t, e, path, q)
			wantCode(t, err, "OTSResourceGone")
		}
		if got := kinds(beat(t, e, id, b)); got != "Stream_0000 OPEN 3" {
			t.Errorf("the second client holds %q", got)
		}
	})
}

func TestAClientThatShutsDownFreesItsChannelsAtOnce(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 2)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	a, b := connect(t, e, id, 10), connect(t, e, id, 10)
	must[tunnelpb.ShutdownResponse](t, e, "/tunnel/shutdown", &tunnelpb.ShutdownRequest{TunnelId: &id, ClientId: &a})
	if got, want := len(beat(t, e, id, b)), 2; got != want {
		t.Errorf("the other client holds %d channels, want %d", got, want)
	}
}

func TestAJoiningClientGetsChannelsThroughClosing(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 2)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	a := connect(t, e, id, 10)
	if got, want := kinds(beat(t, e, id, a)), "Stream_0000 OPEN 1, Stream_0001 OPEN 1"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	b := connect(t, e, id, 10)
	if got := kinds(beat(t, e, id, b)); got != "" {
		t.Errorf("before the channel is given back, the second client holds %s", got)
	}
	held := beat(t, e, id, a)
	if got, want := kinds(held), "Stream_0000 OPEN 1, Stream_0001 CLOSING 2"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	// While it closes, its holder may still commit; the other may not.
	at, sequence := token(t, e, id, a, "Stream_0001")
	if err := commit(t, e, id, a, "Stream_0001", at, sequence+1); err != nil {
		t.Error(err)
	}
	wantCode(t, commit(t, e, id, b, "Stream_0001", at, sequence+2), "OTSResourceGone")
	if got, want := kinds(beat(t, e, id, a, held[0], report(held[1], tunnelpb.ChannelStatus_CLOSE))), "Stream_0000 OPEN 1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := kinds(beat(t, e, id, b)), "Stream_0001 OPEN 4"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	wantCode(t, commit(t, e, id, a, "Stream_0001", at, sequence+2), "OTSResourceGone")
	if _, n := token(t, e, id, b, "Stream_0001"); n != sequence+1 {
		t.Errorf("the new holder reads sequence number %d, want %d", n, sequence+1)
	}
}

func TestATunnelIsDescribed(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	mustWrite(t, e, putOf("a", 1))
	id := newTunnelOf(t, e, tunnelpb.TunnelType_BASE_AND_STREAM, nil)
	describe := func() *tunnelpb.DescribeTunnelResponse {
		return must[tunnelpb.DescribeTunnelResponse](t, e, "/tunnel/describe", &tunnelpb.DescribeTunnelRequest{TableName: new("t"), TunnelName: new("feed")})
	}
	states := func(a *tunnelpb.DescribeTunnelResponse) string {
		s := []string{a.GetTunnel().GetStage()}
		for _, ch := range a.GetChannels() {
			s = append(s, fmt.Sprint(ch.GetChannelType(), " ", ch.GetChannelStatus(), " ", ch.GetChannelCount(), " ", ch.GetClientId() != ""))
		}
		return strings.Join(s, ", ")
	}
	if got, want := states(describe()), "ProcessBaseData, BaseData WAIT 0 false, Stream WAIT 0 false"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	consume(t, e, id)
	before := time.Now().UnixNano()
	mustWrite(t, e, putOf("a", 2))
	a := describe()
	if got, want := states(a), "ProcessStream, BaseData TERMINATED 0 false, Stream OPEN 0 true"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if rpo := a.GetTunnelRpo(); rpo < before/1000*1000 || rpo > time.Now().UnixNano() {
		t.Errorf("rpo %d is not the time of the change that was not read", rpo)
	}
	list := must[tunnelpb.ListTunnelResponse](t, e, "/tunnel/list", &tunnelpb.ListTunnelRequest{}).GetTunnels()
	if len(list) != 1 || list[0].GetTunnelId() != id || list[0].GetTunnelType() != "BaseAndStream" || list[0].GetInstanceName() != "local" || list[0].GetStreamId() == "" {
		t.Errorf("list %v", list)
	}
	rpo := must[tunnelpb.GetRpoResponse](t, e, "/tunnel/getrpo", &tunnelpb.GetRpoRequest{TunnelId: &id})
	if got := string(rpo.GetTunnelRpoInfos()); !strings.Contains(got, `"BaseData":{"Status":"TERMINATED","TotalCount":0`) || !strings.Contains(got, `"Stream":{"Status":"OPEN"`) {
		t.Errorf("rpo %s", got)
	}
}

func TestATunnelGoesWithItsTable(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	client := connect(t, e, id, 10)
	must[tablepb.DeleteTableResponse](t, e, "/DeleteTable", &tablepb.DeleteTableRequest{TableName: new("t")})
	_, err := call[tunnelpb.HeartbeatResponse](t, e, "/tunnel/heartbeat", &tunnelpb.HeartbeatRequest{TunnelId: &id, ClientId: &client})
	wantCode(t, err, "OTSParameterInvalid")
}

func TestATunnelCallThatIsNotRightIsToldWhy(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	client := connect(t, e, id, 10)
	beat(t, e, id, client)
	in := func(change func(*tunnelpb.Tunnel)) *tunnelpb.CreateTunnelRequest {
		n := &tunnelpb.Tunnel{TableName: new("t"), TunnelName: new("other"), TunnelType: tunnelpb.TunnelType_STREAM.Enum()}
		change(n)
		return &tunnelpb.CreateTunnelRequest{Tunnel: n}
	}
	for _, tt := range []struct {
		name, path string
		q          proto.Message
		code       string
	}{
		{"tunnel exists", "/tunnel/create", in(func(n *tunnelpb.Tunnel) { n.TunnelName = new("feed") }), "OTSTunnelExist"},
		{"no table", "/tunnel/create", in(func(n *tunnelpb.Tunnel) { n.TableName = new("other") }), "OTSParameterInvalid"},
		{"name", "/tunnel/create", in(func(n *tunnelpb.Tunnel) { n.TunnelName = new("") }), "OTSParameterInvalid"},
		{"time series", "/tunnel/create", in(func(n *tunnelpb.Tunnel) { n.NeedAllTimeSeriesColumns = new(true) }), "OTSUnsupportOperation"},
		{"end offset", "/tunnel/create", in(func(n *tunnelpb.Tunnel) {
			n.StreamTunnelConfig = &tunnelpb.StreamTunnelConfig{EndOffset: new(uint64(1))}
		}), "OTSUnsupportOperation"},
		{"base data from an offset", "/tunnel/create", in(func(n *tunnelpb.Tunnel) {
			n.TunnelType = tunnelpb.TunnelType_BASE_AND_STREAM.Enum()
			n.StreamTunnelConfig = &tunnelpb.StreamTunnelConfig{StartOffset: new(uint64(1))}
		}), "OTSParameterInvalid"},
		{"offset out of range", "/tunnel/create", in(func(n *tunnelpb.Tunnel) {
			n.StreamTunnelConfig = &tunnelpb.StreamTunnelConfig{StartOffset: new(uint64(1) << 63)}
		}), "OTSParameterInvalid"},
		{"no tunnel to describe", "/tunnel/describe", &tunnelpb.DescribeTunnelRequest{TableName: new("t"), TunnelName: new("x")}, "OTSParameterInvalid"},
		{"no table to list", "/tunnel/list", &tunnelpb.ListTunnelRequest{TableName: new("x")}, "OTSParameterInvalid"},
		{"another id to delete", "/tunnel/delete", &tunnelpb.DeleteTunnelRequest{TableName: new("t"), TunnelName: new("feed"), TunnelId: new("x")}, "OTSParameterInvalid"},
		{"no tunnel to connect to", "/tunnel/connect", &tunnelpb.ConnectRequest{TunnelId: new("x")}, "OTSParameterInvalid"},
		{"short timeout", "/tunnel/connect", &tunnelpb.ConnectRequest{TunnelId: &id, ClientConfig: &tunnelpb.ClientConfig{Timeout: new(int64(-1))}}, "OTSParameterInvalid"},
		{"long timeout", "/tunnel/connect", &tunnelpb.ConnectRequest{TunnelId: &id, ClientConfig: &tunnelpb.ClientConfig{Timeout: new(int64(86401))}}, "OTSParameterInvalid"},
		{"unknown client", "/tunnel/heartbeat", &tunnelpb.HeartbeatRequest{TunnelId: &id, ClientId: new("x")}, "OTSResourceGone"},
		{"no tunnel", "/tunnel/heartbeat", &tunnelpb.HeartbeatRequest{TunnelId: new("x"), ClientId: &client}, "OTSParameterInvalid"},
		{"unknown channel", "/tunnel/getcheckpoint", &tunnelpb.GetCheckpointRequest{TunnelId: &id, ClientId: &client, ChannelId: new("x")}, "OTSParameterInvalid"},
		{"no tunnel's rpo", "/tunnel/getrpo", &tunnelpb.GetRpoRequest{TunnelId: new("x")}, "OTSParameterInvalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := call[tunnelpb.ConnectResponse](t, e, tt.path, tt.q)
			wantCode(t, err, tt.code)
		})
	}
}

func TestPartitionsShareTheKeysAndKeepEachKeyInOne(t *testing.T) {
	e := newEmulator(t, Config{Partitions: 8})
	newTableOf(t, e, 0)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	for i := range 1600 {
		mustWrite(t, e, putOf(fmt.Sprintf("key%03d", i%800), int64(i)))
	}
	client := connect(t, e, id, 10)
	home := make(map[string]string)
	for _, ch := range beat(t, e, id, client) {
		records, _ := drain(t, e, id, client, ch.GetChannelId())
		if len(records) < 100 || len(records) > 300 {
			t.Errorf("channel %s has %d of 1600 records", ch.GetChannelId(), len(records))
		}
		for _, r := range records {
			k := string(decodeRow(t, r).Key[0].Value.Bytes())
			if home[k] != "" && home[k] != ch.GetChannelId() {
				t.Fatalf("key %s is in %s and %s", k, home[k], ch.GetChannelId())
			}
			home[k] = ch.GetChannelId()
		}
	}
	if len(home) != 800 {
		t.Errorf("%d keys, want 800", len(home))
	}
}
