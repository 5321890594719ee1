package conformance

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/tunnel/emulator"
)

// What the tests of the service's SDKs for Java, Python, PHP, C# and Go find of
// the service: each refusal with its code and words, each thing accepted.

// calls are the calls that name a table, each with a row's key, a column and a
// version of it (0: none), as far as it has them.
func calls(c *tablestore.TableStoreClient, table string, k *tablestore.PrimaryKey, column string, version int64) map[string]func() error {
	put := &tablestore.PutRowChange{TableName: table, PrimaryKey: k}
	update := &tablestore.UpdateRowChange{TableName: table, PrimaryKey: k}
	for _, w := range []interface {
		SetCondition(tablestore.RowExistenceExpectation)
	}{put, update} {
		w.SetCondition(ignore)
	}
	if version == 0 {
		put.AddColumn(column, "x")
		update.PutColumn(column, "x")
	} else {
		put.AddColumnWithTimestamp(column, "x", version)
		update.PutColumnWithTimestamp(column, "x", version)
	}
	batch := func(change tablestore.RowChange) func() error {
		return func() error {
			q := &tablestore.BatchWriteRowRequest{}
			q.AddRowChange(change)
			a, err := c.BatchWriteRow(q)
			if err != nil {
				return err
			}
			return rowError(a.TableToRowsResult[table][0])
		}
	}
	filter := tablestore.NewSingleColumnCondition(column, tablestore.CT_EQUAL, "x")
	return map[string]func() error{
		"PutRow":    func() error { _, err := c.PutRow(&tablestore.PutRowRequest{PutRowChange: put}); return err },
		"UpdateRow": func() error { _, err := c.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: update}); return err },
		"DeleteRow": func() error {
			_, err := c.DeleteRow(&tablestore.DeleteRowRequest{DeleteRowChange: deleteOf(table, k, ignore)})
			return err
		},
		"GetRow": func() error {
			_, err := c.GetRow(&tablestore.GetRowRequest{SingleRowQueryCriteria: &tablestore.SingleRowQueryCriteria{
				TableName: table, PrimaryKey: k, ColumnsToGet: []string{column}, MaxVersion: 1}})
			return err
		},
		"a filter": func() error {
			_, err := c.GetRow(&tablestore.GetRowRequest{SingleRowQueryCriteria: &tablestore.SingleRowQueryCriteria{
				TableName: table, PrimaryKey: k, Filter: filter, MaxVersion: 1}})
			return err
		},
		"GetRange": func() error {
			_, err := c.GetRange(&tablestore.GetRangeRequest{RangeRowQueryCriteria: &tablestore.RangeRowQueryCriteria{
				TableName: table, StartPrimaryKey: k, EndPrimaryKey: key("k", "~"), ColumnsToGet: []string{column}, MaxVersion: 1}})
			return err
		},
		"BatchGetRow": func() error {
			q := &tablestore.MultiRowQueryCriteria{TableName: table, ColumnsToGet: []string{column}, MaxVersion: 1}
			q.AddRow(k)
			a, err := c.BatchGetRow(&tablestore.BatchGetRowRequest{MultiRowQueryCriteria: []*tablestore.MultiRowQueryCriteria{q}})
			if err != nil {
				return err
			}
			return rowError(a.TableToRowsResult[table][0])
		},
		"BatchWriteRow put":    batch(put),
		"BatchWriteRow update": batch(update),
		"BatchWriteRow delete": batch(deleteOf(table, k, ignore)),
		"DescribeTable": func() error {
			_, err := c.DescribeTable(&tablestore.DescribeTableRequest{TableName: table})
			return err
		},
		"UpdateTable": func() error {
			_, err := c.UpdateTable(&tablestore.UpdateTableRequest{TableName: table, TableOption: tablestore.NewTableOption(-1, 1)})
			return err
		},
		"DeleteTable": func() error {
			_, err := c.DeleteTable(&tablestore.DeleteTableRequest{TableName: table})
			return err
		},
		"ComputeSplitPointsBySize": func() error {
			_, err := c.ComputeSplitPointsBySize(&tablestore.ComputeSplitPointsBySizeRequest{TableName: table, SplitSize: 1})
			return err
		},
		"ListStream": func() error {
			_, err := c.ListStream(&tablestore.ListStreamRequest{TableName: &table})
			return err
		},
	}
}

// rowError is the error of a row in a batch that was answered: its status is
// 200, as the batch's.
func rowError(r tablestore.RowResult) error {
	if r.IsSucceed {
		return nil
	}
	return &tablestore.OtsError{Code: r.Error.Code, Message: r.Error.Message, RequestId: "of the batch", HttpStatusCode: 200}
}

var (
	writingCalls = []string{"PutRow", "UpdateRow", "BatchWriteRow put", "BatchWriteRow update"}
	columnCalls  = append([]string{"GetRow", "GetRange", "BatchGetRow", "a filter"}, writingCalls...)
	rowCalls     = append([]string{"DeleteRow", "BatchWriteRow delete"}, columnCalls...)
	singleCalls  = []string{"PutRow", "UpdateRow", "DeleteRow", "GetRow", "GetRange", "a filter"}
	batchCalls   = []string{"BatchGetRow", "BatchWriteRow put", "BatchWriteRow update", "BatchWriteRow delete"}
	tableCalls   = append([]string{"DescribeTable", "UpdateTable", "DeleteTable", "ComputeSplitPointsBySize", "ListStream"}, rowCalls...)
)

func TestEveryCallRefusesWhatTheServiceRefuses(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, nil)
	five := key("k", "a", "k2", "b", "k3", "c", "k4", "d", "k5", "e")
	endless := new(tablestore.PrimaryKey)
	endless.AddPrimaryKeyColumnWithMaxValue("k")
	a, name := key("k", "a"), strings.Repeat("a", 256)
	const invalid = "OTSParameterInvalid"
	type refusal struct {
		of      []string
		table   string
		key     *tablestore.PrimaryKey
		column  string
		version int64
		status  int
		code    string
		says    string
	}
	refusals := []refusal{
		{tableCalls, "none", a, "v", 0, 404, "OTSObjectNotExist", "Requested table does not exist."},
		{columnCalls, "t", a, name, 0, 400, invalid, "Invalid column name: '" + name + "'."},
		{columnCalls, "t", a, "#", 0, 400, invalid, "Invalid column name: '#'."},
		{columnCalls, "t", a, "#abc", 0, 400, invalid, "Invalid column name: '#abc'."},
		{columnCalls, "t", a, "# ", 0, 400, invalid, "Invalid column name: '# '."},
		{columnCalls, "t", a, "", 0, 400, invalid, "Invalid column name: ''."},
		// A column's name is looked at before the key is compared with the table's.
		{columnCalls, "t", key("pk", int64(1)), "#", 0, 400, invalid, "Invalid column name: '#'."},
		{rowCalls, "t", five, "v", 0, 400, invalid, "The number of primary key columns must be in range: [1, 4]."},
		{rowCalls, "t", new(tablestore.PrimaryKey), "v", 0, 400, invalid, "Cell data broken, empty PK."},
		{rowCalls, "t", key("k", strings.Repeat("x", 1025)), "v", 0, 400, invalid, "The length of primary key column: 'k' exceeds the MaxLength:1024 with CurrentLength:1025."},
		{singleCalls, "t", key("k2", "a"), "v", 0, 400, "OTSInvalidPK", "Validate PK name fail. Input: k2, Meta: k."},
		{batchCalls, "t", key("k2", "a"), "v", 0, 200, "OTSInvalidPK", "Validate PK name fail. Input: k2, Meta: k."},
		{singleCalls, "t", key("k", int64(1)), "v", 0, 400, "OTSInvalidPK", "Validate PK type fail. Input: VT_INTEGER, Meta: VT_STRING."},
		{batchCalls, "t", key("k", int64(1)), "v", 0, 200, "OTSInvalidPK", "Validate PK type fail. Input: VT_INTEGER, Meta: VT_STRING."},
		{singleCalls, "t", key("k", "a", "l", "b"), "v", 0, 400, "OTSInvalidPK", "Validate PK size fail. Input: 2, Meta: 1."},
		{batchCalls, "t", key("k", "a", "l", "b"), "v", 0, 200, "OTSInvalidPK", "Validate PK size fail. Input: 2, Meta: 1."},
		// This client writes another type into what a put begins.
		{[]string{"DeleteRow", "GetRow", "BatchGetRow", "BatchWriteRow delete"}, "t", endless, "v", 0, 400, invalid, "VT_INF_MAX is an invalid type for the primary key."},
		{writingCalls, "t", a, "v", math.MaxInt64 / 1000, 400, invalid, "Timestamp must be in range [0, INT64_MAX/1000)."},
		{writingCalls, "t", a, "v", -1, 400, invalid, "Timestamp must be in range [0, INT64_MAX/1000)."},
		// What of a key can be told without its table is told before the table is looked for.
		{[]string{"PutRow"}, "none", five, "v", 0, 400, invalid, "The number of primary key columns must be in range: [1, 4]."},
	}
	for _, name := range []string{"0", "#", "中文", "T#", "T中文", "3t", "-", ""} {
		refusals = append(refusals, refusal{tableCalls, name, a, "v", 0, 400, invalid, "Invalid table name: '" + name + "'."})
	}
	for _, r := range refusals {
		calls := calls(c, r.table, r.key, r.column, r.version)
		for _, name := range r.of {
			status := r.status
			if r.code == "OTSObjectNotExist" && name == "BatchGetRow" {
				status = 200 // only this call tells it row by row
			}
			if r.table == "" && name == "BatchGetRow" {
				continue // this client sends another table's name then
			}
			ots := wantCode(t, calls[name](), r.code)
			if ots.Message != r.says || ots.HttpStatusCode != status {
				t.Errorf("%s: %d %q, want %d %q", name, ots.HttpStatusCode, ots.Message, status, r.says)
			}
		}
	}
	if got := get(t, c, "t", a); got != nil {
		t.Errorf("a refused write made the row %v", got)
	}
}

func TestColumnsHaveNearlyAnyName(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, nil)
	names := []string{strings.Repeat("a", 255), "公司", "a#"}
	for _, special := range ".:'\"$&*()/\\\n\r " {
		s := string(special)
		names = append(names, s, s+"abc", "abc"+s, "a"+s+"b")
	}
	for _, name := range names {
		for call, do := range calls(c, "t", key("k", "a"), name, 0) {
			if call == "DeleteTable" || call == "DeleteRow" || call == "BatchWriteRow delete" {
				continue
			}
			if err := do(); err != nil {
				t.Errorf("%s with %q: %v", call, name, err)
			}
		}
		if got := get(t, c, "t", key("k", "a")); got[name] != "x" {
			t.Errorf("of %q is read %v", name, got)
		}
	}
}

func TestTheServicesWordsForWhatATableRefuses(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, nil)
	makeTable(t, c, func(q *tablestore.CreateTableRequest) {
		q.TableMeta.TableName, q.TableOption.AllowUpdate = "fixed", new(false)
	})
	create := func(change func(*tablestore.CreateTableRequest)) error {
		_, err := c.CreateTable(tableRequest(func(q *tablestore.CreateTableRequest) { q.TableMeta.TableName = "another"; change(q) }))
		return err
	}
	read := func(change func(*tablestore.MultiRowQueryCriteria)) error {
		q := &tablestore.MultiRowQueryCriteria{TableName: "t"}
		q.AddRow(key("k", "a"))
		change(q)
		_, err := c.BatchGetRow(&tablestore.BatchGetRowRequest{MultiRowQueryCriteria: []*tablestore.MultiRowQueryCriteria{q}})
		return err
	}
	batch := func(last int) error {
		// Bytes of a row: the key's and the column's name and value, and 8 of the version.
		q := &tablestore.BatchWriteRowRequest{}
		for i, size := range []int{1397945, 1397943, last} {
			p := &tablestore.PutRowChange{TableName: "t", PrimaryKey: key("k", fmt.Sprint(strings.Repeat("v", 98), i))}
			p.AddColumnWithTimestamp(strings.Repeat("c", 50), strings.Repeat("a", size), time.Now().UnixMilli())
			p.SetCondition(ignore)
			q.AddRowChange(p)
		}
		_, err := c.BatchWriteRow(q)
		return err
	}
	for name, tt := range map[string]struct {
		err    error
		status int
		code   string
		says   string
	}{
		"a table that is there":   {create(func(q *tablestore.CreateTableRequest) { q.TableMeta.TableName = "t" }), 409, "OTSObjectAlreadyExist", "Requested table already exists."},
		"an update where none is": {calls(c, "fixed", key("k", "a"), "v", 0)["UpdateRow"](), 400, "OTSParameterInvalid", "Update operation is not allowed in this table"},
		"an update in a batch":    {calls(c, "fixed", key("k", "a"), "v", 0)["BatchWriteRow update"](), 200, "OTSParameterInvalid", "Update operation is not allowed in this table"},
		"the first column chosen": {create(func(q *tablestore.CreateTableRequest) { q.TableMeta.SchemaEntry[0] = autoColumn("k") }), 400, "OTSParameterInvalid", "first primary key can't be AUTO_INCREMENT."},
		"33 defined columns": {create(func(q *tablestore.CreateTableRequest) {
			for i := range 33 {
				q.TableMeta.AddDefinedColumn(fmt.Sprint("d", i), tablestore.DefinedColumn_STRING)
			}
		}), 400, "OTSParameterInvalid", "The number of defined columns must be in range: [0, 32]."},
		"a filter in a batch": {read(func(q *tablestore.MultiRowQueryCriteria) {
			q.MaxVersion, q.Filter = 1, tablestore.NewCompositeColumnCondition(tablestore.LO_NOT)
		}), 400, "OTSParameterInvalid", "Invalid NOT operator: the number of sub-filters must be 1."},
		"one byte too many": {batch(1397943), 400, "OTSParameterInvalid", "The total data size of BatchWriteRow request exceeds the limit, limit size: 4194304, data size: 4194305."},
	} {
		if ots := wantCode(t, tt.err, tt.code); ots.Message != tt.says || ots.HttpStatusCode != tt.status {
			t.Errorf("%s: %d %q, want %d %q", name, ots.HttpStatusCode, ots.Message, tt.status, tt.says)
		}
	}
	if err := batch(1397942); err != nil {
		t.Errorf("a batch of as many bytes as may be: %v", err)
	}
	if err := create(func(q *tablestore.CreateTableRequest) {
		for i := range 32 {
			q.TableMeta.AddDefinedColumn(fmt.Sprint("d", i), tablestore.DefinedColumn_STRING)
		}
	}); err != nil {
		t.Errorf("32 defined columns: %v", err)
	}

	// A version too far from now fails its row of a batch, and says how far it may be.
	now := time.Now().UnixMilli()
	q := &tablestore.BatchWriteRowRequest{}
	for _, version := range []int64{1, now} {
		p := &tablestore.PutRowChange{TableName: "t", PrimaryKey: key("k", "b")}
		p.AddColumnWithTimestamp("v", version, version)
		p.SetCondition(ignore)
		q.AddRowChange(p)
	}
	a, err := c.BatchWriteRow(q)
	if err != nil {
		t.Fatal(err)
	}
	rows := a.TableToRowsResult["t"]
	var least, most int64
	if _, err := fmt.Sscanf(rows[0].Error.Message, "Invalid timestamp. Cell:v. Timestamp:1. MinTimestamp:%d. MaxTimestamp:%d.", &least, &most); err != nil ||
		least < now-86400_000 || most-least != 2*86400_000 || rows[0].Error.Code != "OTSParameterInvalid" || !rows[1].IsSucceed {
		t.Errorf("%+v %+v: %v", rows[0], rows[1], err)
	}
}

func TestABatchReadsWhatIsThere(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, nil)
	put(t, c, "t", key("k", "a"), map[string]any{"v": "x"})
	there := &tablestore.MultiRowQueryCriteria{TableName: "t", MaxVersion: 1}
	there.AddRow(key("k", "a"))
	there.AddRow(key("k", "a")) // the same row twice is read twice
	none := &tablestore.MultiRowQueryCriteria{TableName: "none", MaxVersion: 1}
	none.AddRow(key("k", "a"))
	empty := &tablestore.MultiRowQueryCriteria{TableName: "nowhere", MaxVersion: 1}
	a, err := c.BatchGetRow(&tablestore.BatchGetRowRequest{MultiRowQueryCriteria: []*tablestore.MultiRowQueryCriteria{there, none, empty}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"", ""}, outcomes(a.TableToRowsResult["t"])); d != "" {
		t.Error(d)
	}
	if r := a.TableToRowsResult["none"]; len(r) != 1 || r[0].Error.Code != "OTSObjectNotExist" || r[0].Error.Message != "Requested table does not exist." {
		t.Errorf("of no table is read %+v", r)
	}
	if r := a.TableToRowsResult["nowhere"]; len(r) != 0 {
		t.Errorf("of nothing is read %v", r)
	}
}

func TestAPageOfAStreamThatItsLimitEndedMayNotBeTheLast(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, func(q *tablestore.CreateTableRequest) {
		q.StreamSpec = &tablestore.StreamSpecification{EnableStream: true, ExpirationTime: 168}
	})
	for i := range 3 {
		put(t, c, "t", key("k", fmt.Sprint(i)), map[string]any{"v": int64(i)})
	}
	streams, err := c.ListStream(&tablestore.ListStreamRequest{})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := c.DescribeStream(&tablestore.DescribeStreamRequest{StreamId: streams.Streams[0].Id})
	if err != nil {
		t.Fatal(err)
	}
	at := shardIterator(t, c, streams.Streams[0].Id, stream.Shards[0].SelfShard, nil)
	for i := range 4 {
		a, err := c.GetStreamRecord(&tablestore.GetStreamRecordRequest{ShardIterator: at, Limit: new(int32(1))})
		if err != nil {
			t.Fatal(err)
		}
		if some := i < 3; (len(a.Records) == 1) != some || *a.MayMoreRecord != some {
			t.Errorf("page %d: %d records, more: %v", i, len(a.Records), *a.MayMoreRecord)
		}
		at = a.NextShardIterator
	}
}

func TestTheNewestOfOneVersionCountsAndTheLastOfOneRow(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, func(q *tablestore.CreateTableRequest) { q.TableOption.MaxVersion = 100 })
	now := time.Now().UnixMilli()
	put := func(from int64) *tablestore.PutRowChange {
		p := &tablestore.PutRowChange{TableName: "t", PrimaryKey: key("k", "a")}
		for i := range int64(8) {
			p.AddColumnWithTimestamp("v", from+i, now) // one version eight times
			p.AddColumnWithTimestamp("w", from+i, now+i)
		}
		p.SetCondition(ignore)
		return p
	}
	q := &tablestore.BatchWriteRowRequest{}
	for _, from := range []int64{100, 200, 300} {
		q.AddRowChange(put(from))
	}
	if _, err := c.BatchWriteRow(q); err != nil {
		t.Fatal(err)
	}
	all := func(q *tablestore.SingleRowQueryCriteria) { q.MaxVersion = math.MaxInt32 }
	want := "a: v=307 w=307 w=306 w=305 w=304 w=303 w=302 w=301 w=300"
	if d := cmp.Diff(want, readRow(t, c, all)); d != "" {
		t.Error(d)
	}
	// Deleted and written again.
	for _, change := range []func(*tablestore.UpdateRowChange){
		func(u *tablestore.UpdateRowChange) { u.DeleteColumnWithTimestamp("w", now+7) },
		func(u *tablestore.UpdateRowChange) { u.DeleteColumn("v") },
		func(u *tablestore.UpdateRowChange) { u.PutColumnWithTimestamp("v", int64(1), now) },
		func(u *tablestore.UpdateRowChange) { u.DeleteColumn("none"); u.DeleteColumn("none") },
	} {
		if _, err := updateRow(c, change); err != nil {
			t.Fatal(err)
		}
	}
	want = "a: v=1 w=306 w=305 w=304 w=303 w=302 w=301 w=300"
	if d := cmp.Diff(want, readRow(t, c, all)); d != "" {
		t.Error(d)
	}
}

func TestDeletingColumnsOfNoRowMakesNone(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	makeTable(t, c, nil)
	if _, err := updateRow(c, func(u *tablestore.UpdateRowChange) {
		for i := range 1024 {
			u.DeleteColumn(fmt.Sprint("c", i))
		}
	}); err != nil {
		t.Fatal(err)
	}
	if got := readRow(t, c, func(q *tablestore.SingleRowQueryCriteria) { q.MaxVersion = 1 }); got != "" {
		t.Errorf("the row %s", got)
	}
}
