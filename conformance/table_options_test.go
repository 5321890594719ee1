package conformance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tunnel"
	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/tunnel/emulator"
)

func autoColumn(name string) *tablestore.PrimaryKeySchema {
	c := column(name, tablestore.PrimaryKeyType_INTEGER)
	c.Option = new(tablestore.AUTO_INCREMENT)
	return c
}

// tableRequest asks for a table "t" with a string key column "k".
func tableRequest(change func(*tablestore.CreateTableRequest)) *tablestore.CreateTableRequest {
	q := &tablestore.CreateTableRequest{
		TableMeta:          &tablestore.TableMeta{TableName: "t", SchemaEntry: []*tablestore.PrimaryKeySchema{column("k", tablestore.PrimaryKeyType_STRING)}},
		TableOption:        tablestore.NewTableOption(-1, 1),
		ReservedThroughput: &tablestore.ReservedThroughput{},
	}
	if change != nil {
		change(q)
	}
	return q
}

func makeTable(t *testing.T, c *tablestore.TableStoreClient, change func(*tablestore.CreateTableRequest)) {
	t.Helper()
	if _, err := c.CreateTable(tableRequest(change)); err != nil {
		t.Fatal(err)
	}
}

func describeTable(t *testing.T, c *tablestore.TableStoreClient) *tablestore.DescribeTableResponse {
	t.Helper()
	a, err := c.DescribeTable(&tablestore.DescribeTableRequest{TableName: "t"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func updateTable(c *tablestore.TableStoreClient, change func(*tablestore.UpdateTableRequest)) (*tablestore.UpdateTableResponse, error) {
	q := &tablestore.UpdateTableRequest{TableName: "t"}
	change(q)
	return c.UpdateTable(q)
}

func TestEveryOptionOfATableIsDescribedAsItWasGiven(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, func(q *tablestore.CreateTableRequest) {
		q.TableMeta.SchemaEntry = append(q.TableMeta.SchemaEntry, column("b", tablestore.PrimaryKeyType_BINARY), column("i", tablestore.PrimaryKeyType_INTEGER), autoColumn("auto"))
		q.TableMeta.AddDefinedColumn("d1", tablestore.DefinedColumn_STRING)
		q.TableMeta.AddDefinedColumn("d2", tablestore.DefinedColumn_DOUBLE)
		q.TableOption = &tablestore.TableOption{TimeToAlive: 86401, MaxVersion: 7, DeviationCellVersionInSec: 900000, AllowUpdate: new(false)}
		q.ReservedThroughput = &tablestore.ReservedThroughput{Readcap: 3, Writecap: 4}
		q.StreamSpec = &tablestore.StreamSpecification{EnableStream: true, ExpirationTime: 48, OriginColumnsToGet: []string{"d1", "x"}}
	})
	a := describeTable(t, c)
	var schema []string
	for _, k := range a.TableMeta.SchemaEntry {
		schema = append(schema, fmt.Sprint(*k.Name, " ", *k.Type, " ", k.Option != nil && *k.Option == tablestore.AUTO_INCREMENT))
	}
	if d := cmp.Diff([]string{"k 2 false", "b 3 false", "i 1 false", "auto 1 true"}, schema); d != "" {
		t.Error(d)
	}
	want := &tablestore.TableOption{TimeToAlive: 86401, MaxVersion: 7, DeviationCellVersionInSec: 900000, AllowUpdate: new(false), UpdateFullRow: new(false)}
	if d := cmp.Diff(want, a.TableOption); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(&tablestore.ReservedThroughput{Readcap: 3, Writecap: 4}, a.ReservedThroughput); d != "" {
		t.Error(d)
	}
	if s := a.StreamDetails; !s.EnableStream || s.ExpirationTime != 48 || *s.StreamId == "" || s.LastEnableTime < time.Now().Add(-time.Minute).UnixMicro() || strings.Join(s.OriginColumnsToGet, " ") != "d1 x" {
		t.Errorf("stream %+v", s)
	}
	if d := cmp.Diff("d1 d2", definedColumns(a)); d != "" {
		t.Error(d)
	}
	if a.SSEDetails.Enable || len(a.IndexMetas) != 0 {
		t.Errorf("encryption %+v, indexes %v", a.SSEDetails, a.IndexMetas)
	}
}

func TestATableHasTheServicesDefaults(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, nil)
	a := describeTable(t, c)
	want := &tablestore.TableOption{TimeToAlive: -1, MaxVersion: 1, DeviationCellVersionInSec: 86400, AllowUpdate: new(true), UpdateFullRow: new(false)}
	if d := cmp.Diff(want, a.TableOption); d != "" {
		t.Error(d)
	}
	if a.StreamDetails.EnableStream {
		t.Errorf("stream %+v", a.StreamDetails)
	}
}

func definedColumns(a *tablestore.DescribeTableResponse) string {
	var names []string
	for _, d := range a.TableMeta.DefinedColumns {
		names = append(names, d.Name)
	}
	return strings.Join(names, " ")
}

func TestDefinedColumnsAreAddedAndDeleted(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, func(q *tablestore.CreateTableRequest) {
		q.TableMeta.AddDefinedColumn("a", tablestore.DefinedColumn_BINARY)
	})
	add := &tablestore.AddDefinedColumnRequest{TableName: "t"}
	add.AddDefinedColumn("b", tablestore.DefinedColumn_INTEGER)
	add.AddDefinedColumn("c", tablestore.DefinedColumn_BOOLEAN)
	if _, err := c.AddDefinedColumn(add); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteDefinedColumn(&tablestore.DeleteDefinedColumnRequest{TableName: "t", DefinedColumns: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	a := describeTable(t, c)
	if d := cmp.Diff("b c", definedColumns(a)); d != "" {
		t.Error(d)
	}
	if typ := a.TableMeta.DefinedColumns[1].ColumnType; typ != tablestore.DefinedColumn_BOOLEAN {
		t.Errorf("type %v", typ)
	}
	_, err := c.AddDefinedColumn(add)
	wantCode(t, err, "OTSParameterInvalid")
	_, err = c.DeleteDefinedColumn(&tablestore.DeleteDefinedColumnRequest{TableName: "t", DefinedColumns: []string{"a"}})
	wantCode(t, err, "OTSParameterInvalid")
	_, err = c.AddDefinedColumn(&tablestore.AddDefinedColumnRequest{TableName: "none", DefinedColumns: add.DefinedColumns})
	wantCode(t, err, "OTSObjectNotExist")
}

func TestATableIsUpdated(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, nil)
	a, err := updateTable(c, func(q *tablestore.UpdateTableRequest) {
		q.TableOption = &tablestore.TableOption{TimeToAlive: 100000, MaxVersion: 5, DeviationCellVersionInSec: 1000}
		q.ReservedThroughput = &tablestore.ReservedThroughput{Readcap: 1, Writecap: 2}
		q.StreamSpec = &tablestore.StreamSpecification{EnableStream: true, ExpirationTime: 168, OriginColumnsToGet: []string{"c"}}
	})
	if err != nil {
		t.Fatal(err)
	}
	if o := a.TableOption; o.TimeToAlive != 100000 || o.MaxVersion != 5 || o.DeviationCellVersionInSec != 1000 {
		t.Errorf("options %+v", o)
	}
	if r := a.ReservedThroughput; r.Readcap != 1 || r.Writecap != 2 {
		t.Errorf("throughput %+v", r)
	}
	if s := a.StreamDetails; !s.EnableStream || s.ExpirationTime != 168 || *s.StreamId == "" || strings.Join(s.OriginColumnsToGet, " ") != "c" {
		t.Errorf("stream %+v", s)
	}
	// What is not named stays.
	if _, err := updateTable(c, func(q *tablestore.UpdateTableRequest) { q.ReservedThroughput = &tablestore.ReservedThroughput{} }); err != nil {
		t.Fatal(err)
	}
	d := describeTable(t, c)
	if o := d.TableOption; o.MaxVersion != 5 || !d.StreamDetails.EnableStream || *d.StreamDetails.StreamId != *a.StreamDetails.StreamId || d.ReservedThroughput.Readcap != 0 {
		t.Errorf("options %+v, stream %+v, throughput %+v", o, d.StreamDetails, d.ReservedThroughput)
	}

	for name, change := range map[string]func(*tablestore.UpdateTableRequest){
		"nothing":      func(*tablestore.UpdateTableRequest) {},
		"a short life": func(q *tablestore.UpdateTableRequest) { q.TableOption = tablestore.NewTableOption(86399, 1) },
		"no version":   func(q *tablestore.UpdateTableRequest) { q.TableOption = tablestore.NewTableOption(-1, 0) },
		"a longer stream": func(q *tablestore.UpdateTableRequest) {
			q.StreamSpec = &tablestore.StreamSpecification{EnableStream: true, ExpirationTime: 24}
		},
		"an endless stream": func(q *tablestore.UpdateTableRequest) {
			q.StreamSpec = &tablestore.StreamSpecification{EnableStream: true, ExpirationTime: 169}
		},
		"negative throughput": func(q *tablestore.UpdateTableRequest) {
			q.ReservedThroughput = &tablestore.ReservedThroughput{Readcap: -1}
		},
		"contain updateFullRow": func(q *tablestore.UpdateTableRequest) {
			q.TableOption = &tablestore.TableOption{TimeToAlive: -1, MaxVersion: 1, UpdateFullRow: new(false)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := updateTable(c, change)
			if ots := wantCode(t, err, "OTSParameterInvalid"); strings.HasPrefix(name, "contain") && !strings.Contains(ots.Message, name) {
				t.Errorf("%q, want %q", ots.Message, name)
			}
		})
	}
	if o := describeTable(t, c).TableOption; o.TimeToAlive != 100000 || o.MaxVersion != 5 {
		t.Errorf("a refused update left the options %+v", o)
	}
	_, err = c.UpdateTable(&tablestore.UpdateTableRequest{TableName: "none", TableOption: tablestore.NewTableOption(-1, 1)})
	wantCode(t, err, "OTSObjectNotExist")
}

func TestATunnelOfAStreamThatIsTurnedOffHasExpired(t *testing.T) {
	endpoint := serve(t, emulator.Config{})
	c, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	makeTable(t, c, nil)
	if _, err := tunnels.CreateTunnel(&tunnel.CreateTunnelRequest{TableName: "t", TunnelName: "n", Type: tunnel.TunnelTypeStream}); err != nil {
		t.Fatal(err)
	}
	before := *describeTable(t, c).StreamDetails.StreamId
	off := func(q *tablestore.UpdateTableRequest) { q.StreamSpec = &tablestore.StreamSpecification{} }
	u, err := updateTable(c, off)
	if err != nil {
		t.Fatal(err)
	}
	if u.StreamDetails.EnableStream || describeTable(t, c).StreamDetails.EnableStream {
		t.Error("the stream is on")
	}
	d, err := tunnels.DescribeTunnel(&tunnel.DescribeTunnelRequest{TableName: "t", TunnelName: "n"})
	if err != nil {
		t.Fatal(err)
	}
	if !d.Tunnel.Expired {
		t.Errorf("tunnel %+v has not expired", d.Tunnel)
	}
	if _, err := updateTable(c, func(q *tablestore.UpdateTableRequest) {
		q.StreamSpec = &tablestore.StreamSpecification{EnableStream: true, ExpirationTime: 1}
	}); err != nil {
		t.Fatal(err)
	}
	if s := describeTable(t, c).StreamDetails; *s.StreamId == before || s.ExpirationTime != 1 {
		t.Errorf("the new stream is %+v", s)
	}
}

func TestATableThatAllowsNoUpdatesTakesPuts(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, func(q *tablestore.CreateTableRequest) { q.TableOption.AllowUpdate = new(false) })
	put(t, c, "t", key("k", "a"), map[string]any{"v": int64(1)})
	u := &tablestore.UpdateRowChange{TableName: "t", PrimaryKey: key("k", "a")}
	u.PutColumn("v", int64(2))
	u.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	_, err := c.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: u})
	wantCode(t, err, "OTSParameterInvalid")
	if _, err := updateTable(c, func(q *tablestore.UpdateTableRequest) {
		q.TableOption = &tablestore.TableOption{TimeToAlive: -1, MaxVersion: 1, AllowUpdate: new(true)}
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: u}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, c, "t", key("k", "a")); got["v"] != int64(2) {
		t.Errorf("row %v", got)
	}
}

// versionsOf reads a column's versions, newest first.
func versionsOf(t *testing.T, c *tablestore.TableStoreClient, name string) []any {
	t.Helper()
	a, err := c.GetRow(&tablestore.GetRowRequest{SingleRowQueryCriteria: &tablestore.SingleRowQueryCriteria{
		TableName: "t", PrimaryKey: key("k", "a"), MaxVersion: 100, ColumnsToGet: []string{name},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var values []any
	for _, col := range a.Columns {
		values = append(values, col.Value)
	}
	return values
}

func TestFewerVersionsHoldAtOnce(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, func(q *tablestore.CreateTableRequest) { q.TableOption.MaxVersion = 3 })
	now := time.Now().UnixMilli()
	p := &tablestore.PutRowChange{TableName: "t", PrimaryKey: key("k", "a")}
	for i := range int64(4) {
		p.AddColumnWithTimestamp("v", i, now+i)
	}
	p.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	if _, err := c.PutRow(&tablestore.PutRowRequest{PutRowChange: p}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]any{int64(3), int64(2), int64(1)}, versionsOf(t, c, "v")); d != "" {
		t.Error(d)
	}
	if _, err := updateTable(c, func(q *tablestore.UpdateTableRequest) { q.TableOption = tablestore.NewTableOption(-1, 2) }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]any{int64(3), int64(2)}, versionsOf(t, c, "v")); d != "" {
		t.Error(d)
	}
}

func TestWhatHasLivedTooLongIsSeenByNobody(t *testing.T) {
	endpoint, e := serveEmulator(t, emulator.Config{})
	c, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	makeTable(t, c, func(q *tablestore.CreateTableRequest) { q.TableOption = tablestore.NewTableOption(86400, 2) })
	put(t, c, "t", key("k", "a"), map[string]any{"old": "x"})
	put(t, c, "t", key("k", "gone"), map[string]any{"old": "x"})
	put(t, c, "t", key("k", "bare"), nil)
	e.StepClock(20 * time.Hour)
	u := &tablestore.UpdateRowChange{TableName: "t", PrimaryKey: key("k", "a")}
	u.PutColumn("young", "y")
	u.SetCondition(tablestore.RowExistenceExpectation_EXPECT_EXIST)
	if _, err := c.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: u}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]any{"old": "x", "young": "y"}, get(t, c, "t", key("k", "a"))); d != "" {
		t.Error(d)
	}
	e.StepClock(5 * time.Hour)
	if d := cmp.Diff(map[string]any{"young": "y"}, get(t, c, "t", key("k", "a"))); d != "" {
		t.Error(d)
	}
	if got := get(t, c, "t", key("k", "gone")); got != nil {
		t.Errorf("the row that has expired is %v", got)
	}
	if got := get(t, c, "t", key("k", "bare")); got == nil {
		t.Error("the row without columns is not there")
	}
	// Conditions do not see it either.
	p := &tablestore.PutRowChange{TableName: "t", PrimaryKey: key("k", "gone")}
	p.SetCondition(tablestore.RowExistenceExpectation_EXPECT_EXIST)
	_, err := c.PutRow(&tablestore.PutRowRequest{PutRowChange: p})
	wantCode(t, err, "OTSConditionCheckFail")
	u.SetColumnCondition(tablestore.NewSingleColumnCondition("old", tablestore.CT_EQUAL, "x"))
	u.Condition.ColumnCondition.(*tablestore.SingleColumnCondition).FilterIfMissing = true
	_, err = c.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: u})
	wantCode(t, err, "OTSConditionCheckFail")
	// Nor is it base data.
	if _, err := tunnels.CreateTunnel(&tunnel.CreateTunnelRequest{TableName: "t", TunnelName: "n", Type: tunnel.TunnelTypeBaseData}); err != nil {
		t.Fatal(err)
	}
	if n, err := e.Remaining("t", "n"); n != 2 || err != nil {
		t.Errorf("%d rows of base data, want 2: %v", n, err)
	}
	// And a version that is too old to live cannot be written.
	u = &tablestore.UpdateRowChange{TableName: "t", PrimaryKey: key("k", "a")}
	u.PutColumnWithTimestamp("v", "x", time.Now().Add(25*time.Hour-86401*time.Second).UnixMilli())
	u.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	_, err = c.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: u})
	wantCode(t, err, "OTSParameterInvalid")
	// Without a limit it is there again: nothing has thrown it away.
	if _, err := updateTable(c, func(q *tablestore.UpdateTableRequest) { q.TableOption = tablestore.NewTableOption(-1, 2) }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]any{"old": "x", "young": "y"}, get(t, c, "t", key("k", "a"))); d != "" {
		t.Error(d)
	}
}

func TestATableIsCutIntoPartsOfASize(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{Partitions: 3}))
	makeTable(t, c, nil)
	split := func(change func(*tablestore.ComputeSplitPointsBySizeRequest)) (*tablestore.ComputeSplitPointsBySizeResponse, error) {
		q := &tablestore.ComputeSplitPointsBySizeRequest{TableName: "t", SplitSize: 1, SplitSizeUnitInByte: new(int64(1 << 20))}
		change(q)
		return c.ComputeSplitPointsBySize(q)
	}
	nothing := func(*tablestore.ComputeSplitPointsBySizeRequest) {}
	a, err := split(nothing)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Splits) != 1 || a.Splits[0].LowerBound.PrimaryKeys[0].PrimaryKeyOption != tablestore.MIN || a.Splits[0].UpperBound.PrimaryKeys[0].PrimaryKeyOption != tablestore.MAX {
		t.Errorf("an empty table has the parts %v", a.Splits)
	}
	for i := range 6 {
		put(t, c, "t", key("k", fmt.Sprint(i)), map[string]any{"v": make([]byte, 1<<19)})
	}
	if a, err = split(nothing); err != nil {
		t.Fatal(err)
	}
	if at := a.Splits[0].Location; len(at) != 32 {
		t.Errorf("the first part is at %q", at)
	}
	var bounds []any
	for _, s := range a.Splits[1:] {
		bounds = append(bounds, s.LowerBound.PrimaryKeys[0].Value)
	}
	if d := cmp.Diff([]any{"2", "4"}, bounds); d != "" {
		t.Error(d)
	}
	if a, err = split(func(q *tablestore.ComputeSplitPointsBySizeRequest) { q.SplitPointLimit = new(int32(1)) }); err != nil || len(a.Splits) != 2 {
		t.Errorf("with at most one point: %v, %v", a, err)
	}
	if a, err = split(func(q *tablestore.ComputeSplitPointsBySizeRequest) { q.SplitSizeUnitInByte = nil }); err != nil || len(a.Splits) != 1 {
		t.Errorf("by 100 MB: %v, %v", a, err)
	}
	for says, change := range map[string]func(*tablestore.ComputeSplitPointsBySizeRequest){
		"The split_size should be greater than 0.":                          func(q *tablestore.ComputeSplitPointsBySizeRequest) { q.SplitSize = 0 },
		"The split_size_unit_in_byte should be greater equal than: 1048576": func(q *tablestore.ComputeSplitPointsBySizeRequest) { q.SplitSizeUnitInByte = new(int64(1<<20 - 1)) },
	} {
		_, err := split(change)
		if ots := wantCode(t, err, "OTSParameterInvalid"); ots.Message != says {
			t.Errorf("%q, want %q", ots.Message, says)
		}
	}
}
