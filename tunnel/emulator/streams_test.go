package emulator

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// streamOf is the id of a table's stream.
func streamOf(t testing.TB, e *Emulator, table string) string {
	t.Helper()
	a := must[tablepb.ListStreamResponse](t, e, "/ListStream", &tablepb.ListStreamRequest{TableName: &table})
	if len(a.GetStreams()) != 1 {
		t.Fatalf("table %s has %d streams", table, len(a.GetStreams()))
	}
	return a.GetStreams()[0].GetStreamId()
}

func iterator(t testing.TB, e *Emulator, stream, shard string, timestamp *int64) string {
	t.Helper()
	return must[tablepb.GetShardIteratorResponse](t, e, "/GetShardIterator", &tablepb.GetShardIteratorRequest{
		StreamId: &stream, ShardId: &shard, Timestamp: timestamp,
	}).GetShardIterator()
}

func streamRecords(t testing.TB, e *Emulator, iterator string, limit int32) *tablepb.GetStreamRecordResponse {
	t.Helper()
	return must[tablepb.GetStreamRecordResponse](t, e, "/GetStreamRecord", &tablepb.GetStreamRecordRequest{ShardIterator: &iterator, Limit: &limit})
}

func TestAShardGivesTheRecordsOfItsTunnelChannel(t *testing.T) {
	e := newEmulator(t, Config{})
	err := e.CreateTable(TableSpec{
		Name: "t", Key: []KeyColumn{{Name: "k", Type: plainbuffer.String}}, StreamHours: 24, OriginColumns: []string{"n"},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	for i := range int64(5) {
		mustWrite(t, e, putOf("a", i))
	}
	mustWrite(t, e, Change{tunnelpb.ActionType_DELETE_ROW, plainbuffer.Row{Key: keyOf("a")}})
	at := iterator(t, e, streamOf(t, e, "t"), "Stream_0000", nil)
	var got []*tablepb.GetStreamRecordResponse_StreamRecord
	for _, want := range []struct {
		n    int
		more bool
	}{{4, true}, {2, false}, {0, false}} {
		a := streamRecords(t, e, at, 4)
		if len(a.GetStreamRecords()) != want.n || a.GetMayMoreRecord() != want.more || a.NextShardIterator == nil {
			t.Errorf("%d records, more: %v, next iterator %s; want %+v", len(a.GetStreamRecords()), a.GetMayMoreRecord(), a.GetNextShardIterator(), want)
		}
		if want.n == 0 && a.GetNextShardIterator() != at {
			t.Error("an iterator with nothing after it is not given again")
		}
		if a.GetConsumed().GetCapacityUnit().GetRead() != 1 {
			t.Errorf("it consumed %v", a.GetConsumed())
		}
		got, at = append(got, a.GetStreamRecords()...), a.GetNextShardIterator()
	}
	for i, want := range consume(t, e, id) {
		if int32(got[i].GetActionType()) != int32(want.GetActionType()) || string(got[i].GetRecord()) != string(want.GetRecord()) ||
			string(got[i].GetOriginRecord()) != string(want.GetOriginRecord()) || (i > 0) != (got[i].OriginRecord != nil) {
			t.Errorf("record %d is %v, want %v", i, got[i], want)
		}
	}
}

func TestShardsAreListedWithTheirParentsAndEndWhereTheyWereSplit(t *testing.T) {
	e := newEmulator(t, Config{Partitions: 2})
	newDayOf(t, e)
	mustSplit(t, e, 0)
	mustSplit(t, e, 3)
	stream := streamOf(t, e, "t")
	describe := func(from *string, limit *int32) string {
		a := must[tablepb.DescribeStreamResponse](t, e, "/DescribeStream", &tablepb.DescribeStreamRequest{StreamId: &stream, InclusiveStartShardId: from, ShardLimit: limit})
		if a.GetTableName() != "t" || a.GetExpirationTime() != 24 || a.GetStreamStatus() != tablepb.StreamStatus_STREAM_ACTIVE || a.GetStreamId() != stream {
			t.Errorf("stream %v", a)
		}
		var s []string
		for _, shard := range a.GetShards() {
			s = append(s, strings.ReplaceAll(shard.GetShardId()+"<"+shard.GetParentId(), "Stream_000", ""))
		}
		return strings.Join(s, " ") + " next " + a.GetNextShardId()
	}
	if d := cmp.Diff([]string{
		"0< 1< 2<0 3<0 4<3 5<3 next ",
		"0< 1< 2<0 3<0 next Stream_0004",
		"4<3 5<3 next ",
	}, []string{describe(nil, nil), describe(nil, new(int32(4))), describe(new("Stream_0004"), new(int32(2)))}); d != "" {
		t.Error(d)
	}
	for _, shard := range []string{"Stream_0000", "Stream_0003"} {
		if a := streamRecords(t, e, iterator(t, e, stream, shard, nil), 10); a.NextShardIterator != nil {
			t.Errorf("shard %s has been split and goes on at %s", shard, a.GetNextShardIterator())
		}
	}
	// A stream that is turned on again has no shards of the one before.
	table, _ := e.table("t")
	table.mu.Lock()
	table.disableStream()
	table.mu.Unlock()
	_, err := call[tablepb.DescribeStreamResponse](t, e, "/DescribeStream", &tablepb.DescribeStreamRequest{StreamId: &stream})
	wantCode(t, err, "OTSObjectNotExist")
	if n := len(must[tablepb.ListStreamResponse](t, e, "/ListStream", &tablepb.ListStreamRequest{}).GetStreams()); n != 0 {
		t.Errorf("%d streams", n)
	}
	table.mu.Lock()
	table.enableStream(24)
	table.mu.Unlock()
	stream = streamOf(t, e, "t")
	if got, want := describe(nil, nil), "1< 2< 4< 5< next "; got != want {
		t.Errorf("shards %s, want %s", got, want)
	}
}

func TestAnIteratorBeginsAtATimeAndExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, Config{})
		newDayOf(t, e)
		stream := streamOf(t, e, "t")
		start := time.Now()
		for i := range int64(3) {
			mustWrite(t, e, putOf("a", i)) // at hour i
			time.Sleep(time.Hour)
		}
		at := func(hours float64) string {
			from := start.Add(time.Duration(hours * float64(time.Hour))).UnixMicro()
			return iterator(t, e, stream, "Stream_0000", &from)
		}
		for hours, want := range map[float64]int{-1000: 3, 0: 3, 0.5: 2, 1: 2, 2.5: 0, 1000: 0} {
			if got := len(streamRecords(t, e, at(hours), 10).GetStreamRecords()); got != want {
				t.Errorf("%d records from hour %v on, want %d", got, hours, want)
			}
		}
		first, last := at(0), at(2)
		time.Sleep(22*time.Hour - time.Minute)
		_, err := call[tablepb.GetStreamRecordResponse](t, e, "/GetStreamRecord", &tablepb.GetStreamRecordRequest{ShardIterator: &first})
		wantCode(t, err, "OTSTrimmedDataAccess")
		if got := len(streamRecords(t, e, last, 10).GetStreamRecords()); got != 1 {
			t.Errorf("%d records, want 1", got)
		}
		// A new one begins with what is left.
		if got := len(streamRecords(t, e, iterator(t, e, stream, "Stream_0000", nil), 10).GetStreamRecords()); got != 2 {
			t.Errorf("%d records, want 2", got)
		}
	})
}

func TestAStreamCallThatIsNotRightIsToldWhy(t *testing.T) {
	e := newEmulator(t, Config{})
	newDayOf(t, e)
	stream := streamOf(t, e, "t")
	beyond := iterator(t, e, stream, "Stream_0000", nil)
	beyond = beyond[:len(beyond)-1] + "1"
	for _, tt := range []struct {
		name, path string
		q          proto.Message
		code       string
	}{
		{"streams of no table", "/ListStream", &tablepb.ListStreamRequest{TableName: new("x")}, "OTSObjectNotExist"},
		{"no stream", "/DescribeStream", &tablepb.DescribeStreamRequest{StreamId: new("x")}, "OTSObjectNotExist"},
		{"no stream at all", "/DescribeStream", &tablepb.DescribeStreamRequest{StreamId: new("")}, "OTSObjectNotExist"},
		{"no shard to start with", "/DescribeStream", &tablepb.DescribeStreamRequest{StreamId: &stream, InclusiveStartShardId: new("x")}, "OTSObjectNotExist"},
		{"no shards", "/DescribeStream", &tablepb.DescribeStreamRequest{StreamId: &stream, ShardLimit: new(int32(0))}, "OTSParameterInvalid"},
		{"iterator of no stream", "/GetShardIterator", &tablepb.GetShardIteratorRequest{StreamId: new("x"), ShardId: new("Stream_0000")}, "OTSObjectNotExist"},
		{"iterator of no shard", "/GetShardIterator", &tablepb.GetShardIteratorRequest{StreamId: &stream, ShardId: new("Stream_0001")}, "OTSObjectNotExist"},
		{"iterator before time", "/GetShardIterator", &tablepb.GetShardIteratorRequest{StreamId: &stream, ShardId: new("Stream_0000"), Timestamp: new(int64(-1))}, "OTSParameterInvalid"},
		{"iterator's token", "/GetShardIterator", &tablepb.GetShardIteratorRequest{StreamId: &stream, ShardId: new("Stream_0000"), Token: new("x")}, "OTSParameterInvalid"},
		{"no iterator", "/GetStreamRecord", &tablepb.GetStreamRecordRequest{ShardIterator: new("x")}, "OTSParameterInvalid"},
		{"half an iterator", "/GetStreamRecord", &tablepb.GetStreamRecordRequest{ShardIterator: new(stream + ":Stream_0000:-1")}, "OTSParameterInvalid"},
		{"iterator beyond the end", "/GetStreamRecord", &tablepb.GetStreamRecordRequest{ShardIterator: &beyond}, "OTSParameterInvalid"},
		{"iterator of another stream", "/GetStreamRecord", &tablepb.GetStreamRecordRequest{ShardIterator: new("x:Stream_0000:0000000000000000")}, "OTSObjectNotExist"},
		{"iterator of another table", "/GetStreamRecord", &tablepb.GetStreamRecordRequest{ShardIterator: new(stream + ":Stream_0000:0000000000000000"), TableName: new("x")}, "OTSParameterInvalid"},
		{"no records", "/GetStreamRecord", &tablepb.GetStreamRecordRequest{ShardIterator: new(stream + ":Stream_0000:0000000000000000"), Limit: new(int32(0))}, "OTSParameterInvalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := call[tablepb.ListStreamResponse](t, e, tt.path, tt.q)
			wantCode(t, err, tt.code)
		})
	}
}

func TestAStreamThatIsTurnedOnAgainTellsNothingOfBefore(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	stream := func(on bool, columns ...string) {
		must[tablepb.UpdateTableResponse](t, e, "/UpdateTable", &tablepb.UpdateTableRequest{TableName: new("t"), StreamSpec: &tablepb.StreamSpecification{
			EnableStream: new(on), ExpirationTime: new(int32(24)), ColumnsToGet: columns,
		}})
	}
	stream(true)
	mustWrite(t, e, putOf("a", 1))
	stream(false)
	stream(true, "n")
	for i := range int64(2) {
		mustWrite(t, e, putOf("a", 2+i))
	}
	records := streamRecords(t, e, iterator(t, e, streamOf(t, e, "t"), "Stream_0000", nil), 9).GetStreamRecords()
	if len(records) != 2 {
		t.Fatalf("%d records, want the two since then", len(records))
	}
	for i, r := range records {
		var row plainbuffer.Row
		if err := row.Decode(r.GetOriginRecord()); err != nil || len(row.Columns) != 1 || row.Columns[0].Value.Integer() != int64(1+i) {
			t.Errorf("record %d carries %v of before: %v", i, row.Columns, err)
		}
	}
}
