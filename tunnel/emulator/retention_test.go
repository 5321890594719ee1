package emulator

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// newDayOf makes a table whose stream keeps a day.
func newDayOf(t testing.TB, e *Emulator) {
	t.Helper()
	if err := e.CreateTable(TableSpec{Name: "t", Key: []KeyColumn{{Name: "k", Type: plainbuffer.String}}, StreamHours: 24}); err != nil {
		t.Fatal(err)
	}
}

func numbers(t testing.TB, records []*tunnelpb.Record) string {
	t.Helper()
	var s []string
	for _, r := range records {
		s = append(s, fmt.Sprint(decodeRow(t, r).Columns[0].Value.Integer()))
	}
	return strings.Join(s, " ")
}

func TestAStreamThatFallsBehindSkipsWhatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, Config{PageRecords: 2})
		newDayOf(t, e)
		id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
		client := connect(t, e, id, 10)
		const ch = "Stream_0000"
		start, sequence := token(t, e, id, client, ch)
		for i := range int64(6) {
			mustWrite(t, e, putOf("a", i))
			time.Sleep(time.Hour)
		}
		client = connect(t, e, id, 10)
		first := read(t, e, id, client, ch, start)
		if err := commit(t, e, id, client, ch, first.GetNextToken(), sequence+1); err != nil {
			t.Fatal(err)
		}
		// Changes 0 to 3 expire; the checkpoint stands before 2.
		time.Sleep(21*time.Hour + time.Minute)
		client = connect(t, e, id, 10)
		if n, err := e.Remaining("t", "feed"); n != 2 || err != nil {
			t.Errorf("%d records remain, %v; want 2", n, err)
		}
		records, next := drain(t, e, id, client, ch)
		if got := numbers(t, records); got != "4 5" {
			t.Errorf("changes %s, want 4 5", got)
		}
		rpo := must[tunnelpb.DescribeTunnelResponse](t, e, "/tunnel/describe", &tunnelpb.DescribeTunnelRequest{TableName: new("t"), TunnelName: new("feed")})
		if got := rpo.GetChannels()[0].GetChannelCount(); got != 2 {
			t.Errorf("%d records are consumed, want the 2 from before: the others are lost or not acknowledged", got)
		}
		if rpo.GetTunnel().GetExpired() {
			t.Error("a stream tunnel that lost records has expired")
		}
		// No reader needs a token from before the checkpoint.
		_, err := call[tunnelpb.ReadRecordsResponse](t, e, "/tunnel/readrecords", &tunnelpb.ReadRecordsRequest{
			TunnelId: &id, ClientId: &client, ChannelId: new(ch), Token: &start,
		})
		wantCode(t, err, "OTSTunnelServerUnavailable")
		if err == nil || !strings.Contains(err.Error(), "OTSTrimmedDataAccess") {
			t.Errorf("error %v", err)
		}
		// An empty page gives the same token again, though all before it expires.
		time.Sleep(30 * time.Hour)
		client = connect(t, e, id, 10)
		if again := read(t, e, id, client, ch, next); again.GetNextToken() != next || len(again.GetRecords()) != 0 {
			t.Errorf("token %s, want %s", again.GetNextToken(), next)
		}
		mustWrite(t, e, putOf("a", 6))
		if got := numbers(t, read(t, e, id, client, ch, next).GetRecords()); got != "6" {
			t.Errorf("changes %s, want 6", got)
		}
	})
}

func TestATunnelWhoseBaseDataIsNotReadInTimeExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, Config{PageRecords: 1, ClientTimeout: 24 * time.Hour})
		newDayOf(t, e)
		mustWrite(t, e, putOf("a", 1))
		mustWrite(t, e, putOf("b", 1))
		id := newTunnelOf(t, e, tunnelpb.TunnelType_BASE_AND_STREAM, nil)
		time.Sleep(23 * time.Hour)
		client := connect(t, e, id, 24*3600)
		at, sequence := token(t, e, id, client, "BaseData_0000")
		a := read(t, e, id, client, "BaseData_0000", at)
		time.Sleep(2 * time.Hour)
		for _, err := range []error{
			func() error {
				_, err := call[tunnelpb.ConnectResponse](t, e, "/tunnel/connect", &tunnelpb.ConnectRequest{TunnelId: &id})
				return err
			}(),
			func() error {
				_, err := call[tunnelpb.HeartbeatResponse](t, e, "/tunnel/heartbeat", &tunnelpb.HeartbeatRequest{TunnelId: &id, ClientId: &client})
				return err
			}(),
			func() error {
				_, err := call[tunnelpb.ReadRecordsResponse](t, e, "/tunnel/readrecords", &tunnelpb.ReadRecordsRequest{
					TunnelId: &id, ClientId: &client, ChannelId: new("BaseData_0000"), Token: &at,
				})
				return err
			}(),
			func() error {
				_, err := call[tunnelpb.GetCheckpointResponse](t, e, "/tunnel/getcheckpoint", &tunnelpb.GetCheckpointRequest{
					TunnelId: &id, ClientId: &client, ChannelId: new("BaseData_0000"),
				})
				return err
			}(),
			commit(t, e, id, client, "BaseData_0000", a.GetNextToken(), sequence+1),
			scheduled(t, e, id, tunnelpb.ChannelStatus_OPEN, "Stream_0000"),
		} {
			wantCode(t, err, "OTSTunnelExpired")
		}
		list := must[tunnelpb.ListTunnelResponse](t, e, "/tunnel/list", &tunnelpb.ListTunnelRequest{}).GetTunnels()
		if !list[0].GetExpired() {
			t.Error("it is not listed as expired")
		}
		must[tunnelpb.ShutdownResponse](t, e, "/tunnel/shutdown", &tunnelpb.ShutdownRequest{TunnelId: &id, ClientId: &client})
		must[tunnelpb.DeleteTunnelResponse](t, e, "/tunnel/delete", &tunnelpb.DeleteTunnelRequest{TableName: new("t"), TunnelName: new("feed")})
	})
}

func TestATunnelWhoseBaseDataIsReadInTimeLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, Config{})
		newDayOf(t, e)
		mustWrite(t, e, putOf("a", 1))
		id := newTunnelOf(t, e, tunnelpb.TunnelType_BASE_AND_STREAM, nil)
		time.Sleep(23 * time.Hour)
		consume(t, e, id)
		time.Sleep(2 * time.Hour)
		mustWrite(t, e, putOf("a", 2))
		if got := numbers(t, consume(t, e, id)); got != "2" {
			t.Errorf("changes %s, want 2", got)
		}
	})
}

func TestBaseDataAloneNeverExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, Config{})
		newDayOf(t, e)
		mustWrite(t, e, putOf("a", 1))
		id := newTunnelOf(t, e, tunnelpb.TunnelType_BASE_DATA, nil)
		time.Sleep(1000 * time.Hour)
		if got := numbers(t, consume(t, e, id)); got != "1" {
			t.Errorf("rows %s, want 1", got)
		}
	})
}

func TestAStepOfTheClockExpiresChanges(t *testing.T) {
	e := newEmulator(t, Config{})
	newDayOf(t, e)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	mustWrite(t, e, putOf("a", 1))
	e.clock.step(25 * time.Hour)
	if n, err := e.Remaining("t", "feed"); n != 0 || err != nil {
		t.Errorf("%d records remain, %v", n, err)
	}
	mustWrite(t, e, putOf("a", 2))
	if got := numbers(t, consume(t, e, id)); got != "2" {
		t.Errorf("changes %s, want 2", got)
	}
}

func TestATunnelWhoseStreamIsDisabledExpires(t *testing.T) {
	e := newEmulator(t, Config{})
	newDayOf(t, e)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	client := connect(t, e, id, 10)
	mustWrite(t, e, putOf("a", 1))
	table, err := e.table("t")
	if err != nil {
		t.Fatal(err)
	}
	table.mu.Lock()
	table.disableStream()
	table.mu.Unlock()
	_, err = call[tunnelpb.HeartbeatResponse](t, e, "/tunnel/heartbeat", &tunnelpb.HeartbeatRequest{TunnelId: &id, ClientId: &client})
	wantCode(t, err, "OTSTunnelExpired")
	mustWrite(t, e, putOf("a", 2))

	// A stream that is enabled later is another one.
	must[tunnelpb.DeleteTunnelResponse](t, e, "/tunnel/delete", &tunnelpb.DeleteTunnelRequest{TableName: new("t"), TunnelName: new("feed")})
	id = newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, &tunnelpb.StreamTunnelConfig{Flag: tunnelpb.StartOffsetFlag_EARLIEST.Enum()})
	mustWrite(t, e, putOf("a", 3))
	if got := numbers(t, consume(t, e, id)); got != "3" {
		t.Errorf("changes %s, want 3", got)
	}
}

func TestWhatHasExpiredIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, Config{})
		newDayOf(t, e)
		table, err := e.table("t")
		if err != nil {
			t.Fatal(err)
		}
		log := &table.partitions[0].log
		for i := range int64(200) {
			c := putOf("a", i)
			c.Row.Columns = append(c.Row.Columns, plainbuffer.Cell{Name: []byte("b"), Value: plainbuffer.BlobValue(make([]byte, 100_000))})
			mustWrite(t, e, c)
			time.Sleep(time.Minute)
		}
		want := string(log.pieces(150, 151)[0])
		time.Sleep(24*time.Hour - 50*time.Minute - time.Second)
		table.trim(time.Now())
		held := 0
		for _, c := range log.chunks {
			held += cap(c)
		}
		if log.first != 150 || log.end() != 200 || held > 50*100_000+2*maxChunkBytes {
			t.Errorf("entries from %d to %d, in %d bytes", log.first, log.end(), held)
		}
		if got := log.pieces(150, 151); string(got[0]) != want {
			t.Error("an entry has changed")
		}
		last := log.timestamp(199)
		time.Sleep(time.Hour)
		table.trim(time.Now())
		if log.first != 200 || len(log.chunks) != 0 || log.before(200) != last {
			t.Errorf("first %d, %d chunks, the last entry's time is %d", log.first, len(log.chunks), log.before(200))
		}
		// Positions rise on from there, though the clock is set back.
		e.clock.step(-30 * time.Hour)
		mustWrite(t, e, putOf("a", 200))
		if log.timestamp(200) != last || log.last.RowIndex != 1 {
			t.Errorf("the next position is %+v", log.last)
		}
	})
}

// TestWhateverExpiresTheRestIsReadInOrder plays a reader that lags behind a
// day's retention, gives up and comes back, while keys count up and partitions
// split: what it is given rises for each key, no call fails, and what has not
// expired when it catches up is read.
func TestWhateverExpiresTheRestIsReadInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failure any
		synctest.Test(t, func(t *testing.T) {
			// What rapid throws must reach it, out of the bubble.
			defer func() { failure = recover() }()
			playRetention(rt, t)
		})
		if failure != nil {
			panic(failure)
		}
	})
}

func playRetention(rt *rapid.T, t *testing.T) {
	e := newEmulator(t, Config{PageRecords: rapid.IntRange(1, 4).Draw(rt, "records a page")})
	newDayOf(t, e)
	table, _ := e.table("t")
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	type change struct {
		n  int64
		at time.Time
	}
	written := make(map[string]change)
	last := make(map[string]int64) // that was read of each key
	seen := make(map[string]int64) // likewise, since the reader's last start: it may repeat then
	var client string
	var held map[string]string // the next token of each channel
	begin := func() {
		if client != "" {
			_, err := call[tunnelpb.ShutdownResponse](t, e, "/tunnel/shutdown", &tunnelpb.ShutdownRequest{TunnelId: &id, ClientId: &client})
			if err != nil {
				wantCode(t, err, "OTSResourceGone") // it was silent for its timeout
			}
		}
		client, held = connect(t, e, id, 86400), make(map[string]string)
		clear(seen)
	}
	begin()
	read := func() {
		if rapid.IntRange(0, 3).Draw(rt, "0 begins anew") == 0 {
			begin()
		}
		if _, err := call[tunnelpb.HeartbeatResponse](t, e, "/tunnel/heartbeat", &tunnelpb.HeartbeatRequest{TunnelId: &id, ClientId: &client}); err != nil {
			wantCode(t, err, "OTSResourceGone")
			begin()
		}
		var reports []*tunnelpb.Channel
		for _, ch := range beat(t, e, id, client) {
			name := ch.GetChannelId()
			committed, sequence := token(t, e, id, client, name)
			if held[name] == "" {
				held[name] = committed
			}
			a := read(t, e, id, client, name, held[name])
			for _, r := range a.GetRecords() {
				row := decodeRow(t, r)
				k, n := string(row.Key[0].Value.Bytes()), row.Columns[0].Value.Integer()
				if n <= seen[k] || n > written[k].n {
					rt.Fatalf("key %s: change %d came after %d of %d", k, n, seen[k], written[k].n)
				}
				seen[k], last[k] = n, max(last[k], n)
			}
			held[name] = a.GetNextToken()
			if held[name] == finished || rapid.Bool().Draw(rt, "commit") {
				if err := commit(t, e, id, client, name, held[name], sequence+1); err != nil {
					rt.Fatal(err)
				}
			}
			if held[name] == finished {
				reports = append(reports, report(ch, tunnelpb.ChannelStatus_TERMINATED))
			}
		}
		beat(t, e, id, client, reports...)
	}
	rt.Repeat(map[string]func(*rapid.T){
		"write": func(rt *rapid.T) {
			for range rapid.IntRange(1, 5).Draw(rt, "writes") {
				k := fmt.Sprint(rapid.IntRange(0, 4).Draw(rt, "key"))
				written[k] = change{written[k].n + 1, time.Now()}
				mustWrite(t, e, putOf(k, written[k].n))
			}
		},
		"time": func(rt *rapid.T) { time.Sleep(time.Duration(rapid.IntRange(1, 23).Draw(rt, "hours")) * time.Hour) },
		"split": func(rt *rapid.T) {
			mustSplit(t, e, rapid.SampledFrom(table.live).Draw(rt, "partition").number)
		},
		"read": func(*rapid.T) { read() },
	})
	for left, rounds := int64(1), 0; left > 0; rounds++ {
		if rounds == 1000 {
			rt.Fatalf("%d records remain", left)
		}
		read()
		var err error
		if left, err = e.Remaining("t", "feed"); err != nil {
			rt.Fatal(err)
		}
	}
	for k, c := range written {
		if time.Since(c.at) < 24*time.Hour && last[k] != c.n {
			rt.Fatalf("key %s was read up to change %d of %d", k, last[k], c.n)
		}
	}
}
