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

func listing(channels []*tunnelpb.Channel) string {
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
	if got, want := listing(channels), "BaseData_0000 OPEN 1, BaseData_0001 OPEN 1"; got != want {
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
		if got := listing(beat(t, e, id, client, report(ch, tunnelpb.ChannelStatus_TERMINATED))); got != want {
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
		if err := e.CreateTable(TableSpec{Name: "t", Key: []KeyColumn{{Name: "k", Type: plainbuffer.String}}, StreamHours: 24}); err != nil {
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
			// Before the stream of a BaseAndStream tunnel comes the row as it is.
			for kind, base := range map[tunnelpb.TunnelType]int{tunnelpb.TunnelType_STREAM: 0, tunnelpb.TunnelType_BASE_AND_STREAM: 1} {
				id := newTunnelOf(t, e, kind, tt.config)
				if got := len(consume(t, e, id)); got != base+tt.want {
					t.Errorf("%v, %s: %d records, want %d", kind, tt.name, got, base+tt.want)
				}
				must[tunnelpb.DeleteTunnelResponse](t, e, "/tunnel/delete", &tunnelpb.DeleteTunnelRequest{TableName: new("t"), TunnelName: new("feed")})
			}
		}
	})
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
