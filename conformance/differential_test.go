package conformance

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	official "github.com/aliyun/aliyun-tablestore-go-sdk/tunnel"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// record is a change in terms that both clients' records have.
type record struct {
	Type                   string
	Timestamp              int64
	RowIndex               int32
	Stream                 bool
	Key                    []cell
	Columns, OriginColumns []cell
}

type cell struct {
	Name, Op, Value string // the value with its type, every bit of it
	Version         int64  // 0: none; the official record does not tell these apart
}

// text is a value that the official SDK gave, with its type and all its bits.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case float64:
		return fmt.Sprintf("float64 %#x", math.Float64bits(v))
	}
	return fmt.Sprintf("%T %v", v, v)
}

func ofOfficial(r *official.Record) record {
	columns := func(in []*official.RecordColumn) (out []cell) {
		for _, c := range in {
			o := cell{Name: *c.Name, Op: "Put", Value: text(c.Value)}
			switch c.Type {
			case official.RCT_DeleteOneVersion:
				o.Op = "DeleteOneVersion"
			case official.RCT_DeleteAllVersions:
				o.Op = "DeleteAllVersions"
			}
			if c.Timestamp != nil {
				o.Version = *c.Timestamp
			}
			out = append(out, o)
		}
		return out
	}
	out := record{Columns: columns(r.Columns), OriginColumns: columns(r.OriginColumns)}
	switch r.Type {
	case official.AT_Put:
		out.Type = "PutRow"
	case official.AT_Update:
		out.Type = "UpdateRow"
	case official.AT_Delete:
		out.Type = "DeleteRow"
	}
	if s := r.SequenceInfo; s != nil {
		out.Stream, out.Timestamp, out.RowIndex = true, s.Timestamp, s.RowIndex
	}
	for _, k := range r.PrimaryKey.PrimaryKeys {
		out.Key = append(out.Key, cell{Name: k.ColumnName, Value: text(k.Value)})
	}
	return out
}

func ofOurs(action string, row, origin *plainbuffer.Row) record {
	columns := func(in []plainbuffer.Cell) (out []cell) {
		for _, c := range in {
			o := cell{Name: string(c.Name), Op: "Put", Version: c.Timestamp}
			switch c.Op {
			case plainbuffer.DeleteOneVersion:
				o.Op = "DeleteOneVersion"
			case plainbuffer.DeleteAllVersions:
				o.Op = "DeleteAllVersions"
			}
			if c.Value.Type() != plainbuffer.None {
				o.Value = text(boxed(c.Value))
			}
			out = append(out, o)
		}
		return out
	}
	out := record{Type: action, Columns: columns(row.Columns), Stream: row.HasSequence}
	if row.HasSequence {
		out.Timestamp, out.RowIndex = row.Sequence.Timestamp, row.Sequence.RowIndex
	}
	if origin != nil {
		out.OriginColumns = columns(origin.Columns)
	}
	for _, c := range row.Key {
		out.Key = append(out.Key, cell{Name: string(c.Name), Value: text(boxed(c.Value))})
	}
	return out
}

// Where our decoder and the official one both take the bytes for a row, it is
// the same row; and what ours reads, written again, the official one takes.
// Each refuses what the other may not: ours wrong lengths and what no record
// holds, the official one entries of an extension that it does not know.
func FuzzDecode(f *testing.F) {
	f.Add(orderRow())
	f.Fuzz(func(t *testing.T, b []byte) {
		var row plainbuffer.Row
		if err := row.Decode(b); err != nil && !errors.Is(err, plainbuffer.ErrChecksum) {
			return
		}
		for _, c := range slices.Concat(row.Key, row.Columns) {
			switch c.Value.Type() {
			case plainbuffer.InfMin, plainbuffer.InfMax, plainbuffer.AutoIncrement:
				return // bounds of a range: a record has none
			}
			if c.Op == plainbuffer.Increment {
				return // a request's; a record has none
			}
		}
		ours := ofOurs("PutRow", &row, nil)
		if theirs, err := official.DeserializeRecordFromRawBytes(b, nil, official.AT_Put); err == nil {
			if diff := cmp.Diff(ofOfficial(theirs), ours); diff != "" {
				t.Errorf("official -, ours +:\n%s", diff)
			}
		}
		theirs, err := official.DeserializeRecordFromRawBytes(plainbuffer.Append(nil, &row), nil, official.AT_Put)
		if err != nil {
			t.Fatalf("the official decoder, of what ours read: %v", err)
		}
		if diff := cmp.Diff(ofOfficial(theirs), ours); diff != "" {
			t.Errorf("written again: official -, ours +:\n%s", diff)
		}
	})
}

// world is one drawn case: a table, and what reads it.
type world struct {
	t        *rapid.T
	table    *tablestore.TableStoreClient
	official *official.TunnelApi
	ours     *tunnel.Client
	emulator *emulator.Emulator
	key      []plainbuffer.Type
	keys     []*tablestore.PrimaryKey // of rows that may be there
}

func keyValue(t *rapid.T, typ plainbuffer.Type) any {
	switch typ {
	case plainbuffer.Integer:
		return rapid.Int64().Draw(t, "integer key")
	case plainbuffer.String:
		return rapid.StringN(1, 20, 80).Draw(t, "string key")
	}
	return rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "binary key")
}

// write makes one change, of a row that is there or of a new one.
func (w *world) write() {
	t := w.t
	if len(w.keys) == 0 || rapid.Bool().Draw(t, "a new row") {
		k := new(tablestore.PrimaryKey)
		for i, typ := range w.key {
			k.AddPrimaryKeyColumn(fmt.Sprintf("k%d", i), keyValue(t, typ))
		}
		w.keys = append(w.keys, k)
	}
	k := rapid.SampledFrom(w.keys).Draw(t, "row")
	name := rapid.SampledFrom([]string{"a", "b", "c", "amount", "a name of some length", "🙂"})
	any := func() *tablestore.RowCondition {
		return &tablestore.RowCondition{RowExistenceExpectation: tablestore.RowExistenceExpectation_IGNORE}
	}
	var err error
	switch rapid.IntRange(0, 4).Draw(t, "change") {
	case 0, 1:
		change := &tablestore.PutRowChange{TableName: "t", PrimaryKey: k, Condition: any()}
		for _, column := range rapid.SliceOfNDistinct(name, 0, 5, rapid.ID).Draw(t, "columns") {
			change.AddColumn(column, boxed(value(t, false)))
		}
		_, err = w.table.PutRow(&tablestore.PutRowRequest{PutRowChange: change})
	case 2, 3:
		change := &tablestore.UpdateRowChange{TableName: "t", PrimaryKey: k, Condition: any()}
		for _, column := range rapid.SliceOfNDistinct(name, 1, 5, rapid.ID).Draw(t, "columns") {
			version := time.Now().UnixMilli() + rapid.Int64Range(-1000, 1000).Draw(t, "version")
			switch rapid.IntRange(0, 3).Draw(t, "how") {
			case 0:
				change.PutColumn(column, boxed(value(t, false)))
			case 1:
				change.PutColumnWithTimestamp(column, boxed(value(t, false)), version)
			case 2:
				change.DeleteColumn(column)
			case 3:
				change.DeleteColumnWithTimestamp(column, version)
			}
		}
		_, err = w.table.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: change})
	case 4:
		change := &tablestore.DeleteRowChange{TableName: "t", PrimaryKey: k, Condition: any()}
		_, err = w.table.DeleteRow(&tablestore.DeleteRowRequest{DeleteRowChange: change})
	}
	if err != nil {
		t.Fatalf("write: %v", err)
	}
}

// newWorld draws a table, with rows and a stream.
func newWorld(t *rapid.T, endpoint string, e *emulator.Emulator) *world {
	w := &world{t: t, emulator: e, table: tableClient(endpoint)}
	w.official = official.NewTunnelApi(endpoint, instance, keyID, secret, &official.TunnelConfig{
		MaxRetryElapsedTime: 5 * time.Second, RequestTimeout: 5 * time.Second, Transport: http.DefaultTransport,
	})
	var err error
	w.ours, err = tunnel.NewClient(tunnel.ClientConfig{
		Endpoint: endpoint, Instance: instance, Credentials: tunnel.StaticCredentials(keyID, secret, ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.key = rapid.SliceOfN(rapid.SampledFrom([]plainbuffer.Type{plainbuffer.Integer, plainbuffer.String, plainbuffer.Blob}), 1, 4).Draw(t, "key types")
	meta := &tablestore.TableMeta{TableName: "t"}
	for i, typ := range w.key {
		kind := map[plainbuffer.Type]tablestore.PrimaryKeyType{
			plainbuffer.Integer: tablestore.PrimaryKeyType_INTEGER, plainbuffer.String: tablestore.PrimaryKeyType_STRING, plainbuffer.Blob: tablestore.PrimaryKeyType_BINARY,
		}[typ]
		meta.AddPrimaryKeyColumn(fmt.Sprintf("k%d", i), kind)
	}
	stream := &tablestore.StreamSpecification{EnableStream: true, ExpirationTime: 24}
	if rapid.Bool().Draw(t, "with the row as it was") {
		stream.OriginColumnsToGet = []string{"a", "amount"}
	}
	_, err = w.table.CreateTable(&tablestore.CreateTableRequest{
		TableMeta:          meta,
		TableOption:        tablestore.NewTableOption(-1, rapid.IntRange(1, 3).Draw(t, "versions")),
		ReservedThroughput: &tablestore.ReservedThroughput{},
		StreamSpec:         stream,
	})
	if err != nil {
		t.Fatalf("CreateTable: %v", err)
	}
	return w
}

// place is a channel as a client reads it.
type place struct{ tunnel, client, channel string }

// page is what a client was answered at a token.
type page struct {
	Records []record
	Next    string
	More    bool
}

// readOfficial reads a page with the official client.
func (w *world) readOfficial(at place, token string) page {
	answer, err := w.official.ReadRecords(&official.ReadRecordRequest{TunnelId: at.tunnel, ClientId: at.client, ChannelId: at.channel, Token: token})
	if err != nil || answer.MayMoreRecord == nil {
		w.t.Fatalf("official ReadRecords: %+v, %v", answer, err)
	}
	p := page{Next: answer.NextToken, More: *answer.MayMoreRecord}
	for _, r := range answer.Records {
		p.Records = append(p.Records, ofOfficial(r))
	}
	return p
}

// readOurs reads a page with our client.
func (w *world) readOurs(at place, token string) page {
	answer, err := w.ours.ReadRecords(w.t.Context(), tunnel.ReadRecordsRequest{TunnelID: at.tunnel, ClientID: at.client, ChannelID: at.channel, Token: token})
	if err != nil {
		w.t.Fatalf("our ReadRecords: %v", err)
	}
	p := page{Next: answer.NextToken, More: answer.More}
	for _, r := range answer.Records {
		var row, before plainbuffer.Row
		if err := r.Decode(&row); err != nil {
			w.t.Fatalf("our decoder: %v", err)
		}
		origin := (*plainbuffer.Row)(nil)
		if r.Origin != nil {
			if err := before.Decode(r.Origin); err != nil {
				w.t.Fatalf("our decoder, the row before: %v", err)
			}
			origin = &before
		}
		p.Records = append(p.Records, ofOurs(r.Action.String(), &row, origin))
	}
	return p
}

// readBoth reads a page with both clients, and compares.
func (w *world) readBoth(at place, token string) page {
	theirs, ours := w.readOfficial(at, token), w.readOurs(at, token)
	if diff := cmp.Diff(theirs, ours); diff != "" {
		w.t.Fatalf("channel %s: official -, ours +:\n%s", at.channel, diff)
	}
	return ours
}

// follow reads a channel from a token on, to where nothing more is. It gives
// the records, the token of each page, and whether the channel has an end.
func follow(read func(at place, token string) page, at place, token string) (all []record, tokens []string, end bool) {
	for token != tunnel.Finished {
		tokens = append(tokens, token)
		p := read(at, token)
		all = append(all, p.Records...)
		if len(p.Records) == 0 && p.Next == token {
			return all, tokens, false
		}
		token = p.Next
	}
	return all, tokens, true
}

// consume reads all channels of a tunnel to where nothing more is, parents
// before children, and gives what was read.
func (w *world) consume(tunnelID string) (all []record) {
	t := w.t
	ctx := t.Context()
	c, err := w.ours.Connect(ctx, tunnel.ConnectRequest{TunnelID: tunnelID, Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]tunnel.HeartbeatChannel{}
	for {
		beat := tunnel.HeartbeatRequest{TunnelID: tunnelID, ClientID: c.ClientID, Channels: slices.Collect(maps.Values(held))}
		given, err := w.ours.Heartbeat(ctx, beat)
		if err != nil {
			t.Fatal(err)
		}
		news := false
		for _, ch := range given.Channels {
			if _, ok := held[ch.ID]; ok || ch.Status != tunnel.StatusOpen {
				continue
			}
			news = true
			kept, err := w.ours.GetCheckpoint(ctx, tunnel.GetCheckpointRequest{TunnelID: tunnelID, ClientID: c.ClientID, ChannelID: ch.ID})
			if err != nil {
				t.Fatal(err)
			}
			token, sequence, err := w.official.GetCheckpoint(tunnelID, c.ClientID, ch.ID)
			if err != nil || token != kept.Checkpoint || sequence != kept.SequenceNumber {
				t.Fatalf("official GetCheckpoint: %q, %d, %v; ours %q, %d", token, sequence, err, kept.Checkpoint, kept.SequenceNumber)
			}
			at := place{tunnelID, c.ClientID, ch.ID}
			history, tokens, end := follow(w.readBoth, at, token)
			same := func(what string, again []record) {
				if diff := cmp.Diff(history[len(history)-len(again):], again, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("channel %s, %s:\n%s", ch.ID, what, diff)
				}
			}
			rest, _, _ := follow(w.readBoth, at, rapid.SampledFrom(tokens).Draw(t, "token"))
			same("begun again at a token", rest)
			w.cutElsewhere()
			theirs, _, _ := follow(w.readOfficial, at, token)
			ours, _, _ := follow(w.readOurs, at, token)
			w.cutAsConfigured()
			if len(theirs) != len(history) || len(ours) != len(history) {
				t.Fatalf("channel %s, with pages cut elsewhere: %d records by the official client, %d by ours, not %d", ch.ID, len(theirs), len(ours), len(history))
			}
			same("with pages cut elsewhere, by the official client", theirs)
			same("with pages cut elsewhere, by ours", ours)
			all = append(all, history...)
			if end {
				ch.Status, ch.Version = tunnel.StatusTerminated, ch.Version+1
			}
			held[ch.ID] = ch
		}
		if !news {
			return all
		}
	}
}

// cutElsewhere lets every page end where the emulator draws it.
func (w *world) cutElsewhere() {
	w.setFaults(emulator.Faults{
		Seed:  rapid.Uint64().Draw(w.t, "where pages end"),
		Rules: []emulator.Fault{{Kind: emulator.FaultPageSize, Records: rapid.IntRange(1, 9).Draw(w.t, "most records a page")}},
	})
}

func (w *world) cutAsConfigured() { w.setFaults(emulator.Faults{}) }

func (w *world) setFaults(f emulator.Faults) {
	if err := w.emulator.SetFaults(f); err != nil {
		w.t.Fatal(err)
	}
}

// Both clients read every channel of a tunnel of any type, page by page: the
// same records, the same tokens; whoever begins again at any page's token
// reads the rest of the same history; and so does whoever is answered other
// pages.
func bothReadTheSameHistory(t *rapid.T) {
	e, err := emulator.New(emulator.Config{
		Instance: instance, AccessKeyID: keyID, AccessKeySecret: secret,
		Partitions:  rapid.IntRange(1, 3).Draw(t, "partitions"),
		PageRecords: rapid.SampledFrom([]int{1, 2, 7, 1000}).Draw(t, "records a page"),
		PageBytes:   rapid.SampledFrom([]int{1, 300, 1 << 20}).Draw(t, "bytes a page"),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	server := httptest.NewServer(e)
	defer server.Close()
	w := newWorld(t, server.URL, e)
	for range rapid.IntRange(0, 15).Draw(t, "changes before the tunnel") {
		w.write()
	}
	typ := rapid.SampledFrom([]tunnel.TunnelType{tunnel.BaseData, tunnel.Stream, tunnel.BaseAndStream}).Draw(t, "type")
	create := tunnel.CreateTunnelRequest{Table: "t", Tunnel: "feed", Type: typ}
	if typ != tunnel.BaseData && rapid.Bool().Draw(t, "from the earliest") {
		create.Stream.Earliest = true
	}
	made, err := w.ours.CreateTunnel(t.Context(), create)
	if err != nil {
		t.Fatal(err)
	}
	for range rapid.IntRange(0, 25).Draw(t, "changes after it") {
		w.write()
		if rapid.IntRange(0, 9).Draw(t, "split") == 0 {
			w.split()
		}
	}
	for _, r := range w.consume(made.TunnelID) {
		if r.Stream && typ == tunnel.BaseData || !r.Stream && typ == tunnel.Stream {
			t.Fatalf("a tunnel of type %v gave %+v", typ, r)
		}
	}
}

func TestBothClientsReadTheSameHistory(t *testing.T) { rapid.Check(t, bothReadTheSameHistory) }

func FuzzBothClientsReadTheSameHistory(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(bothReadTheSameHistory))
}

// split splits one of the partitions that there have been, if it still can be.
func (w *world) split() {
	err := w.emulator.Split("t", rapid.IntRange(0, 5).Draw(w.t, "partition"))
	if fail, ok := errors.AsType[*emulator.Error](err); ok && strings.HasPrefix(fail.Code, "OTSParameterInvalid") {
		return
	}
	if err != nil {
		w.t.Fatalf("split: %v", err)
	}
}
