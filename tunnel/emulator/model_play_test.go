package emulator

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// Plays of a table beside its model.

var modelColumns = []string{"a", "b", "c"}

func drawFilter(t *rapid.T, label string) *modelFilter {
	return &modelFilter{
		column:      rapid.SampledFrom(modelColumns).Draw(t, label+" column"),
		comparator:  tablepb.ComparatorType(rapid.Int32Range(1, 6).Draw(t, label+" comparator")),
		value:       rapid.Int64Range(0, 4).Draw(t, label+" value"),
		passMissing: rapid.Bool().Draw(t, label+" passes if missing"),
		latest:      rapid.Bool().Draw(t, label+" latest version only"),
	}
}

func drawWrite(t *rapid.T, now int64) modelWrite {
	w := modelWrite{
		key:    modelKey{rapid.SampledFrom([]string{"x", "y"}).Draw(t, "p"), rapid.Int64Range(-1, 1).Draw(t, "i")},
		typ:    rapid.SampledFrom([]tablepb.OperationType{tablepb.OperationType_PUT, tablepb.OperationType_UPDATE, tablepb.OperationType_UPDATE, tablepb.OperationType_DELETE}).Draw(t, "type"),
		expect: tablepb.RowExistenceExpectation(rapid.SampledFrom([]int32{0, 0, 0, 1, 2}).Draw(t, "expect")),
	}
	if w.typ == tablepb.OperationType_DELETE {
		return w
	}
	incremented := make(map[string]bool)
	for range rapid.IntRange(1, 4).Draw(t, "cells") {
		c := modelCell{name: rapid.SampledFrom(modelColumns).Draw(t, "name"), value: rapid.Int64Range(0, 4).Draw(t, "value")}
		version := now - rapid.SampledFrom([]int64{0, 1, 2, 1000, 86400_000, 2 * 86400_000, 10 * 86400_000, 11 * 86400_000, -1, -86400_000, -10 * 86400_000}).Draw(t, "age")
		if w.typ == tablepb.OperationType_UPDATE {
			c.op = rapid.SampledFrom([]plainbuffer.Op{plainbuffer.Put, plainbuffer.Put, plainbuffer.DeleteOneVersion, plainbuffer.DeleteAllVersions, plainbuffer.Increment}).Draw(t, "op")
		}
		switch c.op {
		case plainbuffer.Put:
			if rapid.Bool().Draw(t, "has version") {
				c.version = version
			}
		case plainbuffer.DeleteOneVersion:
			c.version = version
		}
		if again, ok := incremented[c.name]; ok && (again || c.op == plainbuffer.Increment) {
			continue // the service refuses it
		}
		incremented[c.name] = c.op == plainbuffer.Increment
		w.cells = append(w.cells, c)
	}
	return w
}

func TestATableDoesWhatItsModelDoes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failure any
		synctest.Test(t, func(t *testing.T) {
			// What rapid throws must reach it, out of the bubble.
			defer func() { failure = recover() }()
			playTable(rt, t)
		})
		if failure != nil {
			panic(failure)
		}
	})
}

// playTable does something to a table and its model, and compares the two
// after each step. Time stands still but for the steps of the clock.
func playTable(rt *rapid.T, t *testing.T) {
	e := newEmulator(t, Config{Partitions: 2})
	m := &model{rows: make(map[modelKey]modelRow), timeToLive: -1, versions: 1}
	if err := e.CreateTable(TableSpec{Name: "t", Key: []KeyColumn{{Name: "p", Type: plainbuffer.String}, {Name: "i", Type: plainbuffer.Integer}}}); err != nil {
		t.Fatal(err)
	}
	setOptions(t, e, m)
	for range rapid.IntRange(1, 25).Draw(rt, "steps") {
		now := e.clock.now().UnixMilli()
		switch rapid.SampledFrom([]string{"write", "write", "write", "write", "batch", "clock", "options"}).Draw(rt, "step") {
		case "write":
			w := drawWrite(rt, now)
			a, err := e.batchWriteRow(&tablepb.BatchWriteRowRequest{Tables: []*tablepb.TableInBatchWriteRowRequest{batchOf(w.message())}})
			if err != nil {
				rt.Fatalf("%+v: %v", w, err)
			}
			if got, want := a.GetTables()[0].GetRows()[0].GetError().GetCode(), m.write(w, now); got != want {
				rt.Fatalf("%+v: error %q, want %q", w, got, want)
			}
		case "batch":
			writeTogether(rt, e, m, now)
		case "clock":
			e.clock.step(time.Duration(rapid.Int64Range(0, 2*86400).Draw(rt, "seconds")) * time.Second)
		case "options":
			m.timeToLive = rapid.SampledFrom([]int64{-1, 86400, 200_000}).Draw(rt, "time to live")
			m.versions = rapid.IntRange(1, 3).Draw(rt, "max versions")
			setOptions(t, e, m)
		}
		compareReads(rt, e, m)
	}
}

// writeTogether writes an atomic batch, in which a key may come twice.
func writeTogether(t *rapid.T, e *Emulator, m *model, now int64) {
	var batch []modelWrite
	q := &tablepb.TableInBatchWriteRowRequest{TableName: new("t")}
	seen := make(map[modelKey]bool) // and whether the row is incremented
	for range rapid.IntRange(1, 4).Draw(t, "writes") {
		w := drawWrite(t, now)
		w.key.p = "x"
		increments := slices.ContainsFunc(w.cells, func(c modelCell) bool { return c.op == plainbuffer.Increment })
		if again, ok := seen[w.key]; ok && (again || increments) {
			continue // the service refuses it
		}
		seen[w.key] = increments
		batch = append(batch, w)
		q.Rows = append(q.Rows, w.message())
	}
	after := &model{rows: make(map[modelKey]modelRow), timeToLive: m.timeToLive, versions: m.versions}
	for k, r := range m.rows {
		after.rows[k] = r.clone()
	}
	want := ""
	for _, w := range batch {
		if want = after.write(w, now); want != "" {
			break
		}
	}
	a, err := e.batchWriteRow(&tablepb.BatchWriteRowRequest{Tables: []*tablepb.TableInBatchWriteRowRequest{q}, IsAtomic: new(true)})
	if err != nil {
		t.Fatalf("%+v: %v", batch, err)
	}
	for i, r := range a.GetTables()[0].GetRows() {
		if got := r.GetError().GetCode(); got != want {
			t.Fatalf("row %d of %+v: error %q, want %q", i, batch, got, want)
		}
	}
	if want == "" {
		m.rows = after.rows
	}
}

// compareReads reads all rows in some way, by range and one by one.
func compareReads(t *rapid.T, e *Emulator, m *model) {
	now := e.clock.now().UnixMilli()
	q := modelQuery{versions: rapid.IntRange(1, 3).Draw(t, "versions read")}
	if rapid.Bool().Draw(t, "some columns") {
		q.names = rapid.SliceOfNDistinct(rapid.SampledFrom(modelColumns), 1, 2, rapid.ID).Draw(t, "columns")
	}
	if rapid.Bool().Draw(t, "some versions") {
		q.from = now - rapid.SampledFrom([]int64{0, 2, 86400_000}).Draw(t, "from")
		q.to = q.from + rapid.SampledFrom([]int64{1, 3, 86400_000}).Draw(t, "long")
	}
	if rapid.Bool().Draw(t, "filter") {
		q.filter = drawFilter(t, "filter")
		q.filter.operator = tablepb.LogicalOperator(rapid.Int32Range(0, 3).Draw(t, "operator"))
		if q.filter.operator > tablepb.LogicalOperator_LO_NOT {
			q.filter.other = drawFilter(t, "other")
		}
	}
	want := m.read(q, now)

	request := &tablepb.GetRangeRequest{
		TableName: new("t"), Direction: tablepb.Direction_FORWARD.Enum(), ColumnsToGet: q.names, MaxVersions: new(int32(q.versions)),
	}
	from, to := plainbuffer.BoundValue(plainbuffer.InfMin), plainbuffer.BoundValue(plainbuffer.InfMax)
	if rapid.Bool().Draw(t, "backward") {
		request.Direction, from, to = tablepb.Direction_BACKWARD.Enum(), to, from
	}
	request.InclusiveStartPrimaryKey, request.ExclusiveEndPrimaryKey = modelBound(from), modelBound(to)
	if q.to > 0 {
		request.TimeRange = &tablepb.TimeRange{StartTime: &q.from, EndTime: &q.to}
	}
	if q.filter != nil {
		b, err := proto.Marshal(q.filter.message(t))
		if err != nil {
			t.Fatal(err)
		}
		request.Filter = b
	}
	request.Limit = new(rapid.Int32Range(1, 4).Draw(t, "limit"))
	got := make(map[modelKey]modelRow)
	for request.InclusiveStartPrimaryKey != nil {
		a, err := e.getRange(request)
		if err != nil {
			t.Fatal(err)
		}
		before := len(got)
		rows := plainbuffer.NewDecoder(a.GetRows())
		var r plainbuffer.Row
		for ok, err := rows.Next(&r); ok; ok, err = rows.Next(&r) {
			if err != nil {
				t.Fatal(err)
			}
			k, row := modelRowOf(&r)
			got[k] = row
		}
		if n := len(got) - before; n > int(request.GetLimit()) {
			t.Fatalf("a page of %d rows, may have %d", n, request.GetLimit())
		}
		request.InclusiveStartPrimaryKey = a.GetNextStartPrimaryKey()
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Fatalf("%+v: %s", q, d)
	}
	for _, p := range []string{"x", "y"} {
		for i := range int64(3) {
			k := modelKey{p, i - 1}
			a, err := e.getRow(&tablepb.GetRowRequest{
				TableName: new("t"), PrimaryKey: plainbuffer.Append(nil, &plainbuffer.Row{Key: k.cells()}),
				ColumnsToGet: request.ColumnsToGet, TimeRange: request.TimeRange, MaxVersions: request.MaxVersions, Filter: request.Filter,
			})
			if err != nil {
				t.Fatal(err)
			}
			var row modelRow
			if len(a.GetRow()) > 0 {
				var r plainbuffer.Row
				if err := r.Decode(a.GetRow()); err != nil {
					t.Fatal(err)
				}
				_, row = modelRowOf(&r)
			}
			if d := gocmp.Diff(want[k], row); d != "" {
				t.Fatalf("%+v of %+v: %s", k, q, d)
			}
		}
	}
}

func modelBound(v plainbuffer.Value) []byte {
	return plainbuffer.Append(nil, &plainbuffer.Row{Key: []plainbuffer.Cell{{Name: []byte("p"), Value: v}, {Name: []byte("i"), Value: v}}})
}

func modelRowOf(r *plainbuffer.Row) (modelKey, modelRow) {
	row := make(modelRow)
	for _, c := range r.Columns {
		row.put(string(c.Name), c.Timestamp, c.Value.Integer())
	}
	return modelKey{string(r.Key[0].Value.Bytes()), r.Key[1].Value.Integer()}, row
}

func setOptions(t testing.TB, e *Emulator, m *model) {
	t.Helper()
	must[tablepb.UpdateTableResponse](t, e, "/UpdateTable", &tablepb.UpdateTableRequest{TableName: new("t"), TableOptions: &tablepb.TableOptions{
		TimeToLive: new(int32(m.timeToLive)), MaxVersions: new(int32(m.versions)), DeviationCellVersionInSec: new(int64(modelDeviation)),
	}})
}

// TestTheStreamTellsEveryChangeOfARow: who does what its records say has the
// table's rows.
func TestTheStreamTellsEveryChangeOfARow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failure any
		synctest.Test(t, func(t *testing.T) {
			// What rapid throws must reach it, out of the bubble.
			defer func() { failure = recover() }()
			playStream(rt, t)
		})
		if failure != nil {
			panic(failure)
		}
	})
}

func playStream(rt *rapid.T, t *testing.T) {
	e := newEmulator(t, Config{Partitions: 2})
	m := &model{rows: make(map[modelKey]modelRow), timeToLive: -1, versions: rapid.IntRange(1, 3).Draw(rt, "max versions")}
	if err := e.CreateTable(TableSpec{Name: "t", Key: []KeyColumn{{Name: "p", Type: plainbuffer.String}, {Name: "i", Type: plainbuffer.Integer}}}); err != nil {
		t.Fatal(err)
	}
	setOptions(t, e, m)
	tunnel := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	for range rapid.IntRange(1, 25).Draw(rt, "writes") {
		now := e.clock.now().UnixMilli()
		if rapid.Bool().Draw(rt, "batch") {
			writeTogether(rt, e, m, now)
		} else {
			w := drawWrite(rt, now)
			if _, err := e.batchWriteRow(&tablepb.BatchWriteRowRequest{Tables: []*tablepb.TableInBatchWriteRowRequest{batchOf(w.message())}}); err != nil {
				rt.Fatalf("%+v: %v", w, err)
			}
			m.write(w, now)
		}
		e.clock.step(time.Duration(rapid.IntRange(0, 2).Draw(rt, "milliseconds")) * time.Millisecond)
	}
	told := &model{rows: make(map[modelKey]modelRow), timeToLive: -1, versions: m.versions}
	for _, r := range consume(t, e, tunnel) {
		row := decodeRow(t, r)
		w := modelWrite{typ: map[tunnelpb.ActionType]tablepb.OperationType{
			tunnelpb.ActionType_PUT_ROW:    tablepb.OperationType_PUT,
			tunnelpb.ActionType_UPDATE_ROW: tablepb.OperationType_UPDATE,
			tunnelpb.ActionType_DELETE_ROW: tablepb.OperationType_DELETE,
		}[r.GetActionType()]}
		w.key, _ = modelRowOf(&row)
		for _, c := range row.Columns {
			if c.Op == plainbuffer.Increment || c.Op == plainbuffer.Put && !c.HasTimestamp {
				rt.Fatalf("a record has the column %+v", c)
			}
			w.cells = append(w.cells, modelCell{c.Op, string(c.Name), c.Timestamp, c.Value.Integer()})
		}
		if code := told.write(w, row.Sequence.Timestamp/1000); code != "" {
			rt.Fatalf("a record cannot be: %s: %+v", code, w)
		}
	}
	if d := gocmp.Diff(m.rows, told.rows); d != "" {
		rt.Fatalf("the rows, and those that were told: %s", d)
	}
}
