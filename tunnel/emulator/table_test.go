package emulator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

func TestTheIndexIsASortedMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		model := make(map[int64]*row)
		cell := func(v plainbuffer.Value) []plainbuffer.Cell { return []plainbuffer.Cell{{Value: v}} }
		// Enough rows, sometimes, for several blocks.
		span := rapid.SampledFrom([]int64{10, 3000}).Draw(t, "span")
		for range rapid.IntRange(0, int(span)).Draw(t, "writes") {
			k := rapid.Int64Range(0, span).Draw(t, "key")
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				x.remove(cell(plainbuffer.IntegerValue(k)))
				delete(model, k)
			} else {
				r := &row{key: cell(plainbuffer.IntegerValue(k))}
				x.put(r)
				model[k] = r
			}
		}
		if x.size != len(model) {
			t.Fatalf("size %d, want %d", x.size, len(model))
		}
		var all []*row
		for _, k := range slices.Sorted(maps.Keys(model)) {
			all = append(all, model[k])
		}
		if got := slices.Collect(x.ascend(nil)); !slices.Equal(got, all) {
			t.Fatalf("ascending gives %d rows, want %d", len(got), len(all))
		}
		start := rapid.Int64Range(-1, span+1).Draw(t, "start")
		from := slices.DeleteFunc(slices.Clone(all), func(r *row) bool { return r.key[0].Value.Integer() < start })
		if got := slices.Collect(x.ascend(cell(plainbuffer.IntegerValue(start)))); !slices.Equal(got, from) {
			t.Errorf("ascending from %d gives %d rows, want %d", start, len(got), len(from))
		}
		down := slices.DeleteFunc(slices.Clone(all), func(r *row) bool { return r.key[0].Value.Integer() > start })
		slices.Reverse(down)
		if got := slices.Collect(x.descend(cell(plainbuffer.IntegerValue(start)))); !slices.Equal(got, down) {
			t.Errorf("descending from %d gives %d rows, want %d", start, len(got), len(down))
		}
		if got := x.get(cell(plainbuffer.IntegerValue(start))); got != model[start] {
			t.Errorf("row %d is %v", start, got)
		}
	})
}

// columnsOf writes a column "name" for each version, "name-" for a deletion.
func columnsOf(cells []plainbuffer.Cell) string {
	var s []string
	for _, c := range cells {
		s = append(s, fmt.Sprintf("%s@%d=%d", c.Name, c.Timestamp, c.Value.Integer()))
	}
	return strings.Join(s, " ")
}

func TestColumnsAreKeptByNameAndVersion(t *testing.T) {
	put := func(name string, version, v int64) plainbuffer.Cell {
		return plainbuffer.Cell{Name: []byte(name), Timestamp: version, HasTimestamp: true, Value: plainbuffer.IntegerValue(v)}
	}
	del := func(name string) plainbuffer.Cell {
		return plainbuffer.Cell{Name: []byte(name), Op: plainbuffer.DeleteAllVersions, Value: plainbuffer.NoValue()}
	}
	one := func(name string, version int64) plainbuffer.Cell {
		return plainbuffer.Cell{Name: []byte(name), Op: plainbuffer.DeleteOneVersion, Timestamp: version, HasTimestamp: true, Value: plainbuffer.NoValue()}
	}
	old := []plainbuffer.Cell{put("a", 5, 1), put("b", 6, 2), put("b", 4, 3), put("c", 5, 4)}
	for _, tt := range []struct {
		name     string
		changes  []plainbuffer.Cell
		versions int
		want     string
	}{
		{"a newer version", []plainbuffer.Cell{put("a", 7, 9)}, 2, "a@7=9 a@5=1 b@6=2 b@4=3 c@5=4"},
		{"an older version", []plainbuffer.Cell{put("a", 3, 9)}, 2, "a@5=1 a@3=9 b@6=2 b@4=3 c@5=4"},
		{"the same version", []plainbuffer.Cell{put("a", 5, 9)}, 2, "a@5=9 b@6=2 b@4=3 c@5=4"},
		{"one too many", []plainbuffer.Cell{put("b", 7, 9)}, 2, "a@5=1 b@7=9 b@6=2 c@5=4"},
		{"too old to be kept", []plainbuffer.Cell{put("b", 1, 9)}, 2, "a@5=1 b@6=2 b@4=3 c@5=4"},
		{"all versions", []plainbuffer.Cell{del("b")}, 2, "a@5=1 c@5=4"},
		{"one version", []plainbuffer.Cell{one("b", 6)}, 2, "a@5=1 b@4=3 c@5=4"},
		{"a version that is not there", []plainbuffer.Cell{one("b", 5)}, 2, "a@5=1 b@6=2 b@4=3 c@5=4"},
		{"deleted, then put", []plainbuffer.Cell{del("b"), put("b", 3, 9)}, 2, "a@5=1 b@3=9 c@5=4"},
		{"put, then deleted", []plainbuffer.Cell{put("b", 3, 9), del("b")}, 2, "a@5=1 c@5=4"},
		{"a new column", []plainbuffer.Cell{put("aa", 1, 9)}, 2, "a@5=1 aa@1=9 b@6=2 b@4=3 c@5=4"},
		{"one version kept", []plainbuffer.Cell{put("c", 6, 9)}, 1, "a@5=1 b@6=2 c@6=9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := columnsOf(old)
			if got := columnsOf(applyColumns(old, tt.changes, tt.versions)); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if columnsOf(old) != before {
				t.Error("the old row has changed")
			}
		})
	}
}

func TestAWriteThatIsNotRightIsToldWhy(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	column := func(c plainbuffer.Cell) plainbuffer.Row {
		return plainbuffer.Row{Key: keyOf("a"), Columns: []plainbuffer.Cell{c}}
	}
	put, update, del := tunnelpb.ActionType_PUT_ROW, tunnelpb.ActionType_UPDATE_ROW, tunnelpb.ActionType_DELETE_ROW
	v, name, now := plainbuffer.IntegerValue(1), []byte("v"), time.Now().UnixMilli()
	for _, tt := range []struct {
		name   string
		action tunnelpb.ActionType
		row    plainbuffer.Row
		code   string
	}{
		{"no key", put, plainbuffer.Row{}, "OTSParameterInvalid"},
		{"endless key", put, plainbuffer.Row{Key: []plainbuffer.Cell{{Name: []byte("k"), Value: plainbuffer.BoundValue(plainbuffer.InfMin)}}}, "OTSParameterInvalid"},
		{"a key to be chosen", put, plainbuffer.Row{Key: []plainbuffer.Cell{{Name: []byte("k"), Value: plainbuffer.BoundValue(plainbuffer.AutoIncrement)}}}, "OTSParameterInvalid"},
		{"double key", put, plainbuffer.Row{Key: []plainbuffer.Cell{{Name: []byte("k"), Value: plainbuffer.DoubleValue(1)}}}, "OTSInvalidPK"},
		{"column of the key", put, column(plainbuffer.Cell{Name: []byte("k"), Value: v}), "OTSParameterInvalid"},
		{"no name", put, column(plainbuffer.Cell{Value: v}), "OTSParameterInvalid"},
		{"long name", put, column(plainbuffer.Cell{Name: make([]byte, 256), Value: v}), "OTSParameterInvalid"},
		{"large value", put, column(plainbuffer.Cell{Name: name, Value: plainbuffer.BlobValue(make([]byte, maxColumnBytes+1))}), "OTSParameterInvalid"},
		{"no value", put, column(plainbuffer.Cell{Name: name, Value: plainbuffer.NoValue()}), "OTSParameterInvalid"},
		{"endless value", put, column(plainbuffer.Cell{Name: name, Value: plainbuffer.BoundValue(plainbuffer.InfMax)}), "OTSParameterInvalid"},
		{"a put that deletes", put, column(plainbuffer.Cell{Name: name, Op: plainbuffer.DeleteAllVersions, Value: plainbuffer.NoValue()}), "OTSParameterInvalid"},
		{"no version to delete", update, column(plainbuffer.Cell{Name: name, Op: plainbuffer.DeleteOneVersion, Value: plainbuffer.NoValue()}), "OTSParameterInvalid"},
		{"a deletion with a value", update, column(plainbuffer.Cell{Name: name, Op: plainbuffer.DeleteAllVersions, Value: v}), "OTSParameterInvalid"},
		{"a put that increments", put, column(plainbuffer.Cell{Name: name, Op: plainbuffer.Increment, Value: v}), "OTSParameterInvalid"},
		{"an increment by a double", update, column(plainbuffer.Cell{Name: name, Op: plainbuffer.Increment, Value: plainbuffer.DoubleValue(1)}), "OTSParameterInvalid"},
		{"an increment of a version", update, column(plainbuffer.Cell{Name: name, Op: plainbuffer.Increment, Value: v, HasTimestamp: true, Timestamp: now}), "OTSParameterInvalid"},
		{"an increment of what is put", update, plainbuffer.Row{Key: keyOf("a"), Columns: []plainbuffer.Cell{
			{Name: name, Value: v}, {Name: name, Op: plainbuffer.Increment, Value: v},
		}}, "OTSParameterInvalid"},
		{"new version", put, column(plainbuffer.Cell{Name: name, Value: v, HasTimestamp: true, Timestamp: now + 86500_000}), "OTSParameterInvalid"},
		{"nothing to update", update, plainbuffer.Row{Key: keyOf("a")}, "OTSParameterInvalid"},
		{"old version", put, column(plainbuffer.Cell{Name: name, Value: v, HasTimestamp: true, Timestamp: 1}), "OTSParameterInvalid"},
		{"too many columns", put, plainbuffer.Row{Key: keyOf("a"), Columns: slices.Repeat([]plainbuffer.Cell{{Name: name, Value: v}}, maxColumns+1)}, "OTSParameterInvalid"},
		{"a deletion of columns", del, column(plainbuffer.Cell{Name: name, Value: v}), "OTSParameterInvalid"},
		{"a put with a delete marker", put, plainbuffer.Row{Key: keyOf("a"), Deleted: true}, "OTSParameterInvalid"},
		{"a position", put, plainbuffer.Row{Key: keyOf("a"), HasSequence: true}, "OTSParameterInvalid"},
		{"no action", 0, plainbuffer.Row{Key: keyOf("a")}, "OTSParameterInvalid"},
	} {
		t.Run(tt.name, func(t *testing.T) { wantCode(t, e.Write("t", Change{tt.action, tt.row}), tt.code) })
	}
	wantCode(t, e.Write("other", putOf("a", 1)), "OTSObjectNotExist")
}

func TestVersionsAndColumnsAreSelected(t *testing.T) {
	e := newEmulator(t, Config{})
	if err := e.CreateTable(TableSpec{Name: "t", Key: []KeyColumn{{Name: "k", Type: plainbuffer.String}}, MaxVersions: 3}); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixMilli()
	c := Change{tunnelpb.ActionType_PUT_ROW, plainbuffer.Row{Key: keyOf("a")}}
	for i := range int64(4) {
		c.Row.Columns = append(c.Row.Columns, plainbuffer.Cell{Name: []byte("v"), HasTimestamp: true, Timestamp: now + i, Value: plainbuffer.IntegerValue(i)})
	}
	c.Row.Columns = append(c.Row.Columns, plainbuffer.Cell{Name: []byte("w"), Value: plainbuffer.IntegerValue(9)})
	mustWrite(t, e, c)
	for _, tt := range []struct {
		name string
		q    *tablepb.GetRowRequest
		want []int64 // nil: no row
	}{
		{"all", &tablepb.GetRowRequest{MaxVersions: new(int32(9))}, []int64{3, 2, 1, 9}},
		{"newest", &tablepb.GetRowRequest{MaxVersions: new(int32(1))}, []int64{3, 9}},
		{"named", &tablepb.GetRowRequest{MaxVersions: new(int32(2)), ColumnsToGet: []string{"v", "x"}}, []int64{3, 2}},
		{"one version", &tablepb.GetRowRequest{TimeRange: &tablepb.TimeRange{SpecificTime: new(now + 1)}, ColumnsToGet: []string{"v"}}, []int64{1}},
		{"some versions", &tablepb.GetRowRequest{TimeRange: &tablepb.TimeRange{StartTime: new(now + 1), EndTime: new(now + 3)}, ColumnsToGet: []string{"v"}}, []int64{2, 1}},
		{"none of these", &tablepb.GetRowRequest{MaxVersions: new(int32(1)), ColumnsToGet: []string{"x"}}, nil},
		{"the key", &tablepb.GetRowRequest{MaxVersions: new(int32(1)), ColumnsToGet: []string{"k"}}, []int64{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.q.TableName = new("t")
			tt.q.PrimaryKey = plainbuffer.Append(nil, &plainbuffer.Row{Key: keyOf("a")})
			a := must[tablepb.GetRowResponse](t, e, "/GetRow", tt.q)
			var got []int64
			if len(a.GetRow()) > 0 {
				got = []int64{}
				for _, c := range decodeRow(t, &tunnelpb.Record{Record: a.GetRow()}).Columns {
					got = append(got, c.Value.Integer())
				}
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestARangeThatHasNoRoomForAKeyIsRefused(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	key := func(k string) []byte { return plainbuffer.Append(nil, &plainbuffer.Row{Key: keyOf(k)}) }
	for _, tt := range []struct {
		direction  tablepb.Direction
		start, end string
		code       string
	}{
		{tablepb.Direction_FORWARD, "a", "b", ""},
		{tablepb.Direction_FORWARD, "a", "a", codeParameterInvalid},
		{tablepb.Direction_FORWARD, "b", "a", codeParameterInvalid},
		{tablepb.Direction_BACKWARD, "b", "a", ""},
		{tablepb.Direction_BACKWARD, "a", "a", codeParameterInvalid},
		{tablepb.Direction_BACKWARD, "a", "b", codeParameterInvalid},
	} {
		_, err := call[tablepb.GetRangeResponse](t, e, "/GetRange", &tablepb.GetRangeRequest{
			TableName: new("t"), Direction: tt.direction.Enum(), MaxVersions: new(int32(1)),
			InclusiveStartPrimaryKey: key(tt.start), ExclusiveEndPrimaryKey: key(tt.end),
		})
		if tt.code != "" {
			wantCode(t, err, tt.code)
		} else if err != nil {
			t.Errorf("%v from %s to %s: %v", tt.direction, tt.start, tt.end, err)
		}
	}
}
