package emulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

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
		if got := listing(beat(t, e, id, a)); got != "Stream_0000 OPEN 1" {
			t.Fatalf("the first client holds %q", got)
		}
		time.Sleep(10 * time.Second)
		// Reading is no heartbeat.
		if at, _ := token(t, e, id, a, "Stream_0000"); at == "" {
			t.Error("at its timeout, the client has lost its channel")
		}
		if got := listing(beat(t, e, id, b)); got != "" {
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
		if got := listing(beat(t, e, id, b)); got != "Stream_0000 OPEN 3" {
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
	if got, want := listing(beat(t, e, id, a)), "Stream_0000 OPEN 1, Stream_0001 OPEN 1"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	b := connect(t, e, id, 10)
	if got := listing(beat(t, e, id, b)); got != "" {
		t.Errorf("before the channel is given back, the second client holds %s", got)
	}
	held := beat(t, e, id, a)
	if got, want := listing(held), "Stream_0000 OPEN 1, Stream_0001 CLOSING 2"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	// While it closes, its holder may still commit; the other may not.
	at, sequence := token(t, e, id, a, "Stream_0001")
	if err := commit(t, e, id, a, "Stream_0001", at, sequence+1); err != nil {
		t.Error(err)
	}
	wantCode(t, commit(t, e, id, b, "Stream_0001", at, sequence+2), "OTSResourceGone")
	if got, want := listing(beat(t, e, id, a, held[0], report(held[1], tunnelpb.ChannelStatus_CLOSE))), "Stream_0000 OPEN 1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := listing(beat(t, e, id, b)), "Stream_0001 OPEN 4"; got != want {
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
	if got, want := states(a), "ProcessStream, BaseData TERMINATED 1 false, Stream OPEN 0 true"; got != want {
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
	if got := string(rpo.GetTunnelRpoInfos()); !strings.Contains(got, `"BaseData":{"Status":"TERMINATED","TotalCount":1`) || !strings.Contains(got, `"Stream":{"Status":"OPEN"`) {
		t.Errorf("rpo %s", got)
	}
}

func TestRpoCountsWhatWasReadAndByOffsetWhatWasCommitted(t *testing.T) {
	e := newEmulator(t, Config{PageRecords: 2})
	newTableOf(t, e, 2)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	client := connect(t, e, id, 10)
	for i := range 40 {
		mustWrite(t, e, putOf(fmt.Sprint(i), 1))
	}
	at, sequence := token(t, e, id, client, "Stream_0000")
	first := read(t, e, id, client, "Stream_0000", at)
	if err := commit(t, e, id, client, "Stream_0000", first.GetNextToken(), sequence+1); err != nil {
		t.Fatal(err)
	}
	read(t, e, id, client, "Stream_0000", read(t, e, id, client, "Stream_0000", first.GetNextToken()).GetNextToken())
	sums := func(path string, limit *int32) (total int64, channels int) {
		a := must[tunnelpb.GetRpoResponse](t, e, path, &tunnelpb.GetRpoRequest{TunnelId: &id, Limit: limit})
		var byType map[string]rpo
		var byClient map[string]map[string]rpo
		if err := errors.Join(json.Unmarshal(a.GetTunnelRpoInfos(), &byType), json.Unmarshal(a.GetRpoInfos(), &byClient)); err != nil {
			t.Fatal(err)
		}
		if len(byType) != 1 || len(byClient) != 1 || a.GetTunnelId() != id {
			t.Errorf("rpo %v", a)
		}
		return byType["Stream"].TotalCount, len(byClient[client])
	}
	for _, tt := range []struct {
		path     string
		limit    *int32
		total    int64
		channels int
	}{
		{"/tunnel/getrpo", nil, 4, 2},
		{"/tunnel/getrpobyoffset", nil, 2, 2},
		{"/tunnel/getrpo", new(int32(1)), 4, 1},
	} {
		if total, channels := sums(tt.path, tt.limit); total != tt.total || channels != tt.channels {
			t.Errorf("%s: %d records, %d channels; want %d, %d", tt.path, total, channels, tt.total, tt.channels)
		}
	}
	_, err := call[tunnelpb.GetRpoResponse](t, e, "/tunnel/getrpo", &tunnelpb.GetRpoRequest{TunnelId: &id, Limit: new(int32(0))})
	wantCode(t, err, "OTSParameterInvalid")
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
		{"an end that is no later than the start", "/tunnel/create", in(func(n *tunnelpb.Tunnel) {
			at := uint64(time.Now().Add(-time.Minute).UnixNano())
			n.StreamTunnelConfig = &tunnelpb.StreamTunnelConfig{StartOffset: &at, EndOffset: &at}
		}), "OTSParameterInvalid"},
		{"a start whose changes are about to expire", "/tunnel/create", in(func(n *tunnelpb.Tunnel) {
			n.StreamTunnelConfig = &tunnelpb.StreamTunnelConfig{StartOffset: new(uint64(time.Now().Add(4*time.Minute - 168*time.Hour).UnixNano()))}
		}), "OTSParameterInvalid"},
		{"offset in the future", "/tunnel/create", in(func(n *tunnelpb.Tunnel) {
			n.StreamTunnelConfig = &tunnelpb.StreamTunnelConfig{StartOffset: new(uint64(time.Now().Add(time.Minute).UnixNano()))}
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

func TestWhatIsNotCommittedRemains(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 2)
	remaining := func(want int64) {
		t.Helper()
		if n, err := e.Remaining("t", "feed"); err != nil || n != want {
			t.Errorf("%d records remain, %v; want %d", n, err, want)
		}
	}
	for i := range int64(5) {
		mustWrite(t, e, putOf(fmt.Sprint(i), i))
	}
	id := newTunnelOf(t, e, tunnelpb.TunnelType_BASE_AND_STREAM, nil)
	for i := range int64(3) {
		mustWrite(t, e, putOf(fmt.Sprint(i), i))
	}
	remaining(8)
	consume(t, e, id)
	remaining(0)
	mustWrite(t, e, putOf("a", 1))
	remaining(1)
	_, err := e.Remaining("t", "other")
	wantCode(t, err, "OTSParameterInvalid")
}

func TestNothingRemainsOfATerminatedChannel(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	mustWrite(t, e, putOf("a", 1))
	id := newTunnelOf(t, e, tunnelpb.TunnelType_BASE_AND_STREAM, nil)
	client := connect(t, e, id, 10)
	held := beat(t, e, id, client)
	if n, err := e.Remaining("t", "feed"); err != nil || n != 1 {
		t.Errorf("%d records remain, %v; want 1", n, err)
	}
	// Its end was read, and never committed.
	beat(t, e, id, client, report(held[0], tunnelpb.ChannelStatus_TERMINATED))
	if n, err := e.Remaining("t", "feed"); err != nil || n != 0 {
		t.Errorf("%d records remain, %v; want 0", n, err)
	}
}
