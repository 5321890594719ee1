package emulator

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

func TestATableThatCannotBeMadeIsToldWhy(t *testing.T) {
	e := newEmulator(t, Config{})
	auto := func(name string, typ tablepb.PrimaryKeyType) *tablepb.PrimaryKeySchema {
		return &tablepb.PrimaryKeySchema{Name: new(name), Type: typ.Enum(), Option: tablepb.PrimaryKeyOption_AUTO_INCREMENT.Enum()}
	}
	for _, tt := range []struct {
		name   string
		change func(*tablepb.CreateTableRequest)
		code   string
	}{
		{"a defined column of the key", func(q *tablepb.CreateTableRequest) {
			q.TableMeta.DefinedColumn = []*tablepb.DefinedColumnSchema{{Name: new("k"), Type: tablepb.DefinedColumnType_DCT_BLOB.Enum()}}
		}, "OTSParameterInvalid"},
		{"index", func(q *tablepb.CreateTableRequest) { q.IndexMetas = []*tablepb.IndexMeta{{}} }, "OTSUnsupportOperation"},
		{"the first column chosen", func(q *tablepb.CreateTableRequest) {
			q.TableMeta.PrimaryKey[0].Option = tablepb.PrimaryKeyOption_AUTO_INCREMENT.Enum()
		}, "OTSParameterInvalid"},
		{"a string chosen", func(q *tablepb.CreateTableRequest) {
			q.TableMeta.PrimaryKey = append(q.TableMeta.PrimaryKey, auto("l", tablepb.PrimaryKeyType_STRING))
		}, "OTSParameterInvalid"},
		{"two columns chosen", func(q *tablepb.CreateTableRequest) {
			q.TableMeta.PrimaryKey = append(q.TableMeta.PrimaryKey, auto("l", tablepb.PrimaryKeyType_INTEGER), auto("m", tablepb.PrimaryKeyType_INTEGER))
		}, "OTSParameterInvalid"},
		{"too short to live", func(q *tablepb.CreateTableRequest) {
			q.TableOptions = &tablepb.TableOptions{TimeToLive: new(int32(86399))}
		}, "OTSParameterInvalid"},
		{"no deviation", func(q *tablepb.CreateTableRequest) {
			q.TableOptions = &tablepb.TableOptions{DeviationCellVersionInSec: new(int64(0))}
		}, "OTSParameterInvalid"},
		{"full rows", func(q *tablepb.CreateTableRequest) { q.TableOptions = &tablepb.TableOptions{UpdateFullRow: new(true)} }, "OTSUnsupportOperation"},
		{"encryption", func(q *tablepb.CreateTableRequest) { q.SseSpec = &tablepb.SSESpecification{Enable: new(true)} }, "OTSUnsupportOperation"},
		{"transactions", func(q *tablepb.CreateTableRequest) { q.EnableLocalTxn = new(true) }, "OTSUnsupportOperation"},
		{"less than no throughput", func(q *tablepb.CreateTableRequest) { q.ReservedThroughput.CapacityUnit = capacityUnit(0, -1) }, "OTSParameterInvalid"},
		{"half a throughput", func(q *tablepb.CreateTableRequest) { q.ReservedThroughput.CapacityUnit.Read = nil }, "OTSParameterInvalid"},
		{"endless stream", func(q *tablepb.CreateTableRequest) {
			q.StreamSpec = &tablepb.StreamSpecification{EnableStream: new(true), ExpirationTime: new(int32(169))}
		}, "OTSParameterInvalid"},
		{"no versions", func(q *tablepb.CreateTableRequest) {
			q.TableOptions = &tablepb.TableOptions{MaxVersions: new(int32(0))}
		}, "OTSParameterInvalid"},
		{"no key", func(q *tablepb.CreateTableRequest) { q.TableMeta.PrimaryKey = nil }, "OTSParameterInvalid"},
		{"a key column twice", func(q *tablepb.CreateTableRequest) {
			q.TableMeta.PrimaryKey = append(q.TableMeta.PrimaryKey, q.TableMeta.PrimaryKey[0])
		}, "OTSParameterInvalid"},
		{"name", func(q *tablepb.CreateTableRequest) { q.TableMeta.TableName = new("1st") }, "OTSParameterInvalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := &tablepb.CreateTableRequest{
				TableMeta: &tablepb.TableMeta{TableName: new("n"), PrimaryKey: []*tablepb.PrimaryKeySchema{
					{Name: new("k"), Type: tablepb.PrimaryKeyType_STRING.Enum()},
				}},
				ReservedThroughput: &tablepb.ReservedThroughput{CapacityUnit: capacityUnit(0, 0)},
			}
			tt.change(q)
			_, err := call[tablepb.CreateTableResponse](t, e, "/CreateTable", q)
			wantCode(t, err, tt.code)
		})
	}
}

func TestATableMadeInGoHasWhatItsSpecSays(t *testing.T) {
	e := newEmulator(t, Config{})
	spec := TableSpec{
		Name: "t", MaxVersions: 2, TimeToLive: 25 * time.Hour, StreamHours: 24, OriginColumns: []string{"v"},
		Key: []KeyColumn{{Name: "k", Type: plainbuffer.String}, {Name: "n", Type: plainbuffer.Integer, AutoIncrement: true}},
	}
	if err := e.CreateTable(spec); err != nil {
		t.Fatal(err)
	}
	d := must[tablepb.DescribeTableResponse](t, e, "/DescribeTable", &tablepb.DescribeTableRequest{TableName: new("t")})
	if o := d.GetTableOptions(); o.GetTimeToLive() != 90_000 || o.GetMaxVersions() != 2 || !o.GetAllowUpdate() {
		t.Errorf("options %v", o)
	}
	if s := d.GetStreamDetails(); s.GetExpirationTime() != 24 || len(s.GetColumnsToGet()) != 1 {
		t.Errorf("stream %v", s)
	}
	if at := time.UnixMicro(d.GetCreationTime()); time.Since(at) < 0 || time.Since(at) > time.Minute {
		t.Errorf("created at %v", at)
	}
	if k := d.GetTableMeta().GetPrimaryKey()[1]; k.GetOption() != tablepb.PrimaryKeyOption_AUTO_INCREMENT {
		t.Errorf("key column %v", k)
	}
	key := append(keyOf("a"), plainbuffer.Cell{Name: []byte("n"), Value: plainbuffer.BoundValue(plainbuffer.AutoIncrement)})
	for range 2 {
		mustWrite(t, e, Change{tunnelpb.ActionType_PUT_ROW, plainbuffer.Row{Key: key}})
	}
	if n := e.tables["t"].rows.size; n != 2 {
		t.Errorf("%d rows, want 2", n)
	}

	for _, life := range []time.Duration{-1, time.Hour, 24*time.Hour + time.Millisecond} {
		spec.Name, spec.TimeToLive = "u", life
		wantCode(t, e.CreateTable(spec), codeParameterInvalid)
	}
}

func TestWhatIsReservedTellsWhenItWasRaisedAndLowered(t *testing.T) {
	at := func(hour int) time.Time { return time.Unix(0, 0).Add(time.Duration(hour) * time.Hour) }
	r := throughput{read: 5, write: 5, raised: at(1)}
	for _, tt := range []struct {
		name            string
		unit            *tablepb.CapacityUnit
		raised, lowered time.Time
	}{
		{"the same", capacityUnit(5, 5), at(1), time.Time{}},
		{"nothing", &tablepb.CapacityUnit{}, at(1), time.Time{}},
		{"more reading", capacityUnit(6, 5), at(2), time.Time{}},
		{"more writing", &tablepb.CapacityUnit{Write: new(int32(6))}, at(2), time.Time{}},
		{"less reading", capacityUnit(4, 5), at(1), at(2)},
		{"less writing", capacityUnit(5, 4), at(1), at(2)},
		{"both", capacityUnit(6, 4), at(2), at(2)},
	} {
		next, err := r.with(&tablepb.ReservedThroughput{CapacityUnit: tt.unit}, at(2))
		if err != nil || !next.raised.Equal(tt.raised) || !next.lowered.Equal(tt.lowered) {
			t.Errorf("%s: raised %v, lowered %v: %v", tt.name, next.raised, next.lowered, err)
		}
	}
}

func TestKeysThatTheServerChoosesRiseThoughTheClockDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, Config{})
		err := e.CreateTable(TableSpec{Name: "t", Key: []KeyColumn{{Name: "k", Type: plainbuffer.String}, {Name: "n", Type: plainbuffer.Integer, AutoIncrement: true}}})
		if err != nil {
			t.Fatal(err)
		}
		table, last := e.tables["t"], int64(0)
		for i := range 3 {
			if i == 2 {
				e.StepClock(-time.Hour)
			}
			key := append(keyOf("a"), plainbuffer.Cell{Name: []byte("n"), Value: plainbuffer.BoundValue(plainbuffer.AutoIncrement)})
			mustWrite(t, e, Change{tunnelpb.ActionType_PUT_ROW, plainbuffer.Row{Key: key}})
			if table.lastAuto <= last || table.rows.size != i+1 {
				t.Errorf("after %d comes %d, and there are %d rows", last, table.lastAuto, table.rows.size)
			}
			last = table.lastAuto
		}
	})
}
