package emulator

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

func columnOf(name string, n int64) plainbuffer.Cell {
	return plainbuffer.Cell{Name: []byte(name), Value: plainbuffer.IntegerValue(n)}
}

func TestARecordCarriesTheColumnsThatTheStreamIsAskedForAsTheyWere(t *testing.T) {
	e := newEmulator(t, Config{})
	err := e.CreateTable(TableSpec{
		Name: "t", Key: []KeyColumn{{Name: "k", Type: plainbuffer.String}}, StreamHours: 24, OriginColumns: []string{"a", "c"},
	})
	if err != nil {
		t.Fatal(err)
	}
	put := func(columns ...plainbuffer.Cell) Change {
		return Change{tunnelpb.ActionType_PUT_ROW, plainbuffer.Row{Key: keyOf("x"), Columns: columns}}
	}
	update := func(columns ...plainbuffer.Cell) Change {
		return Change{tunnelpb.ActionType_UPDATE_ROW, plainbuffer.Row{Key: keyOf("x"), Columns: columns}}
	}
	remove := Change{tunnelpb.ActionType_DELETE_ROW, plainbuffer.Row{Key: keyOf("x")}}

	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	mustWrite(t, e, put(columnOf("a", 1), columnOf("b", 1)))
	mustWrite(t, e, update(columnOf("a", 2), columnOf("c", 2)))
	mustWrite(t, e, update(plainbuffer.Cell{Name: []byte("a"), Value: plainbuffer.NoValue(), Op: plainbuffer.DeleteAllVersions}))
	mustWrite(t, e, put(columnOf("b", 4)))
	mustWrite(t, e, update(columnOf("b", 5)))
	mustWrite(t, e, remove)
	mustWrite(t, e, remove)
	var got []string
	for _, r := range consume(t, e, id) {
		if r.OriginRecord == nil {
			got = append(got, "none")
			continue
		}
		var row plainbuffer.Row
		if err := row.Decode(r.GetOriginRecord()); err != nil {
			t.Fatal(err)
		}
		if len(row.Key) != 1 || string(row.Key[0].Value.Bytes()) != "x" || row.HasSequence || row.Deleted {
			t.Errorf("the row as it was is %+v", row)
		}
		s := ""
		for _, c := range row.Columns {
			if !c.HasTimestamp {
				t.Errorf("column %s has no version", c.Name)
			}
			s += fmt.Sprintf("%s=%d ", c.Name, c.Value.Integer())
		}
		got = append(got, s)
	}
	want := []string{"none", "a=1 ", "a=2 c=2 ", "c=2 ", "", "", "none"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}

	mustWrite(t, e, put(columnOf("a", 1)))
	must[tunnelpb.DeleteTunnelResponse](t, e, "/tunnel/delete", &tunnelpb.DeleteTunnelRequest{TableName: new("t"), TunnelName: new("feed")})
	for _, r := range consume(t, e, newTunnelOf(t, e, tunnelpb.TunnelType_BASE_DATA, nil)) {
		if r.OriginRecord != nil {
			t.Error("a base record carries a row as it was")
		}
	}
}

func TestRecordsCarryNothingOfTheRowAsItWasUnlessAskedTo(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	mustWrite(t, e, putOf("a", 1))
	mustWrite(t, e, putOf("a", 2))
	for _, r := range consume(t, e, id) {
		if r.OriginRecord != nil {
			t.Error("a record carries the row as it was")
		}
	}
}
