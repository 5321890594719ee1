package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tunnel"
	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/tunnel/emulator"
)

// createImages makes a table whose stream carries columns as they were.
func createImages(t *testing.T, c *tablestore.TableStoreClient, name string, columns ...string) {
	t.Helper()
	q := &tablestore.CreateTableRequest{
		TableMeta: &tablestore.TableMeta{TableName: name, SchemaEntry: []*tablestore.PrimaryKeySchema{
			column("k", tablestore.PrimaryKeyType_STRING),
		}},
		TableOption:        tablestore.NewTableOption(-1, 1),
		ReservedThroughput: &tablestore.ReservedThroughput{},
		StreamSpec:         &tablestore.StreamSpecification{EnableStream: true, ExpirationTime: 24, OriginColumnsToGet: columns},
	}
	if _, err := c.CreateTable(q); err != nil {
		t.Fatalf("CreateTable: %v", err)
	}
}

// changeARow puts, updates and deletes a row, and gives what a reader must see:
// the columns of each change, and as they were.
func changeARow(t *testing.T, c *tablestore.TableStoreClient, table string) []string {
	t.Helper()
	k := key("k", "row")
	put(t, c, table, k, map[string]any{"a": int64(1), "b": "one"})
	u := &tablestore.UpdateRowChange{TableName: table, PrimaryKey: k}
	u.PutColumn("a", int64(2))
	u.DeleteColumn("b")
	u.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	if _, err := c.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: u}); err != nil {
		t.Fatal(err)
	}
	put(t, c, table, k, map[string]any{"c": true})
	d := &tablestore.DeleteRowChange{TableName: table, PrimaryKey: k}
	d.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	if _, err := c.DeleteRow(&tablestore.DeleteRowRequest{DeleteRowChange: d}); err != nil {
		t.Fatal(err)
	}
	return []string{
		"put a=1 b=one was",
		"update a=2 b- was a=1 b=one",
		"put c=true was a=2",
		"delete was",
	}
}

func TestTheTunnelCarriesTheRowAsItWas(t *testing.T) {
	endpoint := serve(t, emulator.Config{})
	tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	createImages(t, tables, "feed", "a", "b")
	id := createTunnel(t, tunnels, "feed", tunnel.TunnelTypeStream)
	want := changeARow(t, tables, "feed")
	s := newSink()
	stop := run(t, tunnels, id, s)
	s.wait(t, len(want))
	stop()
	columns := func(all []*tunnel.RecordColumn) string {
		var text []string
		for _, c := range all {
			if c.Type == tunnel.RCT_Put {
				text = append(text, fmt.Sprintf(" %s=%v", *c.Name, c.Value))
			} else {
				text = append(text, fmt.Sprintf(" %s-", *c.Name))
			}
		}
		slices.Sort(text)
		return strings.Join(text, "")
	}
	var got []string
	for _, r := range s.records {
		kind := map[tunnel.ActionType]string{tunnel.AT_Put: "put", tunnel.AT_Update: "update", tunnel.AT_Delete: "delete"}[r.Type]
		got = append(got, kind+columns(r.Columns)+" was"+columns(r.OriginColumns))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// readShard reads a shard from an iterator on, until its end or until nothing
// more is there, a few records at a time.
func readShard(t *testing.T, c *tablestore.TableStoreClient, at *tablestore.ShardIterator) (records []*tablestore.StreamRecord, ended bool) {
	t.Helper()
	for {
		a, err := c.GetStreamRecord(&tablestore.GetStreamRecordRequest{ShardIterator: at, Limit: new(int32(3))})
		if err != nil {
			t.Fatalf("GetStreamRecord: %v", err)
		}
		records = append(records, a.Records...)
		switch {
		case a.NextShardIterator == nil:
			return records, true
		case *a.NextShardIterator == *at:
			return records, false
		}
		at = a.NextShardIterator
	}
}

func shardIterator(t *testing.T, c *tablestore.TableStoreClient, stream *tablestore.StreamId, shard *tablestore.ShardId, timestamp *int64) *tablestore.ShardIterator {
	t.Helper()
	a, err := c.GetShardIterator(&tablestore.GetShardIteratorRequest{StreamId: stream, ShardId: shard, Timestamp: timestamp})
	if err != nil {
		t.Fatalf("GetShardIterator: %v", err)
	}
	return a.ShardIterator
}

func TestTheTableClientReadsAStreamWithTheRowsAsTheyWere(t *testing.T) {
	endpoint := serve(t, emulator.Config{})
	tables := tableClient(endpoint)
	createImages(t, tables, "feed", "a", "b")
	createTable(t, tables, "other", 1, column("k", tablestore.PrimaryKeyType_STRING))
	want := changeARow(t, tables, "feed")

	details, err := tables.DescribeTable(&tablestore.DescribeTableRequest{TableName: "feed"})
	if err != nil {
		t.Fatal(err)
	}
	list, err := tables.ListStream(&tablestore.ListStreamRequest{TableName: new("feed")})
	if err != nil || len(list.Streams) != 1 || *list.Streams[0].Id != *details.StreamDetails.StreamId || *list.Streams[0].TableName != "feed" {
		t.Fatalf("streams %+v, %v", list, err)
	}
	if all, err := tables.ListStream(&tablestore.ListStreamRequest{}); err != nil || len(all.Streams) != 2 {
		t.Errorf("all streams are %+v, %v", all, err)
	}
	stream := list.Streams[0].Id
	described, err := tables.DescribeStream(&tablestore.DescribeStreamRequest{StreamId: stream})
	if err != nil || described.Status != tablestore.SS_Active || described.ExpirationTime != 24 || *described.TableName != "feed" ||
		described.CreationTime != details.StreamDetails.LastEnableTime || len(described.Shards) != 1 {
		t.Fatalf("stream %+v, %v", described, err)
	}
	records, ended := readShard(t, tables, shardIterator(t, tables, stream, described.Shards[0].SelfShard, nil))
	if ended {
		t.Error("the shard has ended")
	}
	columns := func(all []*tablestore.RecordColumn) string {
		var text []string
		for _, c := range all {
			if c.Type == tablestore.RCT_Put {
				text = append(text, fmt.Sprintf(" %s=%v", *c.Name, c.Value))
			} else {
				text = append(text, fmt.Sprintf(" %s-", *c.Name))
			}
		}
		slices.Sort(text)
		return strings.Join(text, "")
	}
	var got []string
	for i, r := range records {
		kind := map[tablestore.ActionType]string{tablestore.AT_Put: "put", tablestore.AT_Update: "update", tablestore.AT_Delete: "delete"}[r.Type]
		got = append(got, kind+columns(r.Columns)+" was"+columns(r.OriginColumns))
		if i > 0 && r.Info.Timestamp < records[i-1].Info.Timestamp || time.Since(time.UnixMicro(r.Info.Timestamp)).Abs() > time.Minute {
			t.Errorf("record %d is at %v", i, r.Info)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	from := records[2].Info.Timestamp
	later, _ := readShard(t, tables, shardIterator(t, tables, stream, described.Shards[0].SelfShard, &from))
	if len(later) == 0 || later[0].Info.Timestamp < from || len(later) > 2 && records[1].Info.Timestamp < from {
		t.Errorf("%d records from the third one's time on", len(later))
	}
}

func TestTheTableClientReadsShardsOfManySplitsFromParentToChild(t *testing.T) {
	endpoint, e := serveEmulator(t, emulator.Config{Partitions: 2, SplitBytes: 3000})
	tables := tableClient(endpoint)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	want := make(map[string][]string)
	for k, changes := range script(t, tables, "feed", 0, 100) {
		want[k] = changes
	}
	if err := e.Split("feed", 1); err != nil {
		t.Logf("it was split already: %v", err)
	}
	for k, changes := range script(t, tables, "feed", 50, 150) {
		want[k] = append(want[k], changes...)
	}
	list, err := tables.ListStream(&tablestore.ListStreamRequest{TableName: new("feed")})
	if err != nil {
		t.Fatal(err)
	}
	stream := list.Streams[0].Id

	// Shards are listed two at a time, and those that were split have children.
	parents := make(map[tablestore.ShardId]bool)
	read := make(map[tablestore.ShardId]bool)
	ended := make(map[tablestore.ShardId]bool)
	got := make(map[string][]string)
	for from := (*tablestore.ShardId)(nil); ; {
		a, err := tables.DescribeStream(&tablestore.DescribeStreamRequest{StreamId: stream, InclusiveStartShardId: from, ShardLimit: new(int32(2))})
		if err != nil || len(a.Shards) == 0 || len(a.Shards) > 2 {
			t.Fatalf("shards %+v, %v", a, err)
		}
		for _, shard := range a.Shards {
			if shard.FatherShard != nil {
				parents[*shard.FatherShard] = true
				if !read[*shard.FatherShard] {
					t.Errorf("shard %s is listed before its parent %s", *shard.SelfShard, *shard.FatherShard)
				}
			}
			read[*shard.SelfShard] = true
			records, end := readShard(t, tables, shardIterator(t, tables, stream, shard.SelfShard, nil))
			ended[*shard.SelfShard] = end
			for _, r := range records {
				k := r.PrimaryKey.PrimaryKeys[0].Value.(string)
				got[k] = append(got[k], streamSummary(r))
			}
		}
		if from = a.NextShardId; from == nil {
			break
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(parents) < 3 {
		t.Errorf("%d shards were split", len(parents))
	}
	for shard := range read {
		if ended[shard] != parents[shard] {
			t.Errorf("shard %s: ended %v, has children %v", shard, ended[shard], parents[shard])
		}
	}
}

// streamSummary is a stream's record as summary writes a tunnel's.
func streamSummary(r *tablestore.StreamRecord) string {
	columns := make(map[string]string)
	for _, c := range r.Columns {
		columns[*c.Name] = fmt.Sprint(c.Value)
		if c.Type == tablestore.RCT_DeleteAllVersions {
			columns[*c.Name] = "deleted"
		}
	}
	return fmt.Sprintf("%s%v", strings.Trim(r.Type.String(), `"`), columns)
}

func TestStreamErrorsAreTheServices(t *testing.T) {
	endpoint, e := serveEmulator(t, emulator.Config{})
	tables := tableClient(endpoint)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	_, err := tables.ListStream(&tablestore.ListStreamRequest{TableName: new("other")})
	wantCode(t, err, "OTSObjectNotExist")
	other := tablestore.StreamId("other")
	_, err = tables.DescribeStream(&tablestore.DescribeStreamRequest{StreamId: &other})
	wantCode(t, err, "OTSObjectNotExist")
	list, err := tables.ListStream(&tablestore.ListStreamRequest{TableName: new("feed")})
	if err != nil {
		t.Fatal(err)
	}
	shard := tablestore.ShardId("other")
	_, err = tables.GetShardIterator(&tablestore.GetShardIteratorRequest{StreamId: list.Streams[0].Id, ShardId: &shard})
	wantCode(t, err, "OTSObjectNotExist")
	described, err := tables.DescribeStream(&tablestore.DescribeStreamRequest{StreamId: list.Streams[0].Id})
	if err != nil {
		t.Fatal(err)
	}
	put(t, tables, "feed", key("k", "a"), nil)
	at := shardIterator(t, tables, list.Streams[0].Id, described.Shards[0].SelfShard, nil)
	e.StepClock(25 * time.Hour)
	_, err = tables.GetStreamRecord(&tablestore.GetStreamRecordRequest{ShardIterator: at})
	if ots := wantCode(t, err, "OTSTrimmedDataAccess"); ots != nil && ots.HttpStatusCode != 404 {
		t.Errorf("HTTP status %d", ots.HttpStatusCode)
	}
}
