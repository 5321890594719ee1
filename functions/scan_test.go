package functions

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// put is an UpdateRow of the key k=1 that puts values into columns a, b, c….
func put(values ...Value) *Record {
	r := &Record{ID: "r1", Type: "UpdateRow", PrimaryKey: []KeyColumn{{"k", IntegerValue(1)}}}
	for i, v := range values {
		r.Columns = append(r.Columns, Column{"Put", string(rune('a' + i)), v, 0})
	}
	return r
}

type (
	state  string
	level8 int8
	photo  []byte
)

func TestEveryKindFitsWhereItShould(t *testing.T) {
	type row struct {
		Key     int64        `ots:"k,key"`
		Int8    level8       `ots:"a"`
		Uint16  uint16       `ots:"b"`
		Exact   float64      `ots:"c"`
		Double  float64      `ots:"d"`
		Single  float32      `ots:"e"`
		Bool    bool         `ots:"f"`
		State   state        `ots:"g"`
		When    time.Time    `ots:"h"`
		Pointer *time.Time   `ots:"h2"`
		Photo   photo        `ots:"i"`
		IP      net.IP       `ots:"j"`
		Value   Value        `ots:"k2"`
		Any     any          `ots:"l"`
		Note    *string      `ots:"m"`
		Changed Change[*int] `ots:"n"`
		Left    string
		Ignored chan int `ots:"-"`
	}
	when := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	r := &Record{
		Type: "UpdateRow", PrimaryKey: []KeyColumn{{"k", IntegerValue(math.MinInt64)}},
		Columns: []Column{
			{"Put", "a", IntegerValue(-128), 0}, {"Put", "b", IntegerValue(65535), 0}, {"Put", "c", IntegerValue(1 << 53), 0},
			{"Put", "d", DoubleValue(math.Inf(-1)), 0}, {"Put", "e", DoubleValue(0.1), 0}, {"Put", "f", BooleanValue(true), 0},
			{"Put", "g", StringValue("paid"), 0}, {"Put", "h", StringValue("2026-05-04T03:02:01Z"), 0}, {"Put", "h2", StringValue("2026-05-04T03:02:01Z"), 0},
			{"Put", "i", BlobValue([]byte{0, 255}), 0}, {"Put", "j", BlobValue([]byte{127, 0, 0, 1}), 0}, {"Put", "k2", BlobValue(nil), 0},
			{"Put", "l", DoubleValue(2), 0}, {"Put", "m", StringValue(""), 0}, {"Put", "n", IntegerValue(7), 0}, {"Put", "unknown", IntegerValue(7), 0},
		},
	}
	got := row{Left: "as it was"}
	if err := r.Scan(&got); err != nil {
		t.Fatal(err)
	}
	want := row{
		Key: math.MinInt64, Int8: -128, Uint16: 65535, Exact: 1 << 53, Double: math.Inf(-1), Single: 0.1, Bool: true, State: "paid", When: when, Pointer: &when,
		Photo: photo{0, 255}, IP: net.IP{127, 0, 0, 1}, Value: BlobValue(nil), Any: 2.0, Note: new(""), Changed: Change[*int]{Value: new(7), Put: true}, Left: "as it was",
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(Value{})); diff != "" {
		t.Error(diff)
	}
	r.Columns[9].Value.data = "xx" // the blob was copied
	if got.Photo[0] != 0 {
		t.Error(got.Photo)
	}
}

func TestWhatDoesNotFitNamesColumnAndType(t *testing.T) {
	type (
		aInt8 struct {
			A int8 `ots:"a"`
		}
		aUint struct {
			A uint64 `ots:"a"`
		}
		aUint8 struct {
			A uint8 `ots:"a"`
		}
		aInt struct {
			A int64 `ots:"a"`
		}
		aFloat struct {
			A float64 `ots:"a"`
		}
		aSingle struct {
			A float32 `ots:"a"`
		}
		aBool struct {
			A bool `ots:"a"`
		}
		aString struct {
			A *string `ots:"a"`
		}
		aBytes struct {
			A Change[[]byte] `ots:"a"`
		}
		aTime struct {
			A time.Time `ots:"a"`
		}
		aAddress struct {
			A netip.Addr `ots:"a"`
		}
		aKey struct {
			ID string `ots:"id,key"`
		}
		aKeyKind struct {
			ID string `ots:"k,key"`
		}
	)
	for _, c := range []struct {
		value Value
		dst   any
		want  string
	}{
		{IntegerValue(128), new(aInt8), `functions: record r1: column "a" (integer) into aInt8.A (int8): it is out of the type's range`},
		{IntegerValue(-1), new(aUint), `column "a" (integer) into aUint.A (uint64): it is out of`},
		{IntegerValue(256), new(aUint8), `column "a" (integer) into aUint8.A (uint8): it is out of`},
		{IntegerValue(1<<53 + 1), new(aFloat), `column "a" (integer) into aFloat.A (float64): it is out of`},
		{IntegerValue(math.MinInt64), new(aFloat), `column "a" (integer) into aFloat.A (float64): it is out of`},
		{IntegerValue(-1<<53 - 1), new(aFloat), `column "a" (integer) into aFloat.A (float64): it is out of`},
		{IntegerValue(1<<24 + 1), new(aSingle), `column "a" (integer) into aSingle.A (float32): it is out of`},
		{DoubleValue(math.MaxFloat64), new(aSingle), `column "a" (double) into aSingle.A (float32): it is out of`},
		{DoubleValue(1), new(aInt), `column "a" (double) into aInt.A (int64): it does not fit`},
		{DoubleValue(1), new(aUint), `column "a" (double) into aUint.A (uint64): it does not fit`},
		{StringValue("1"), new(aFloat), `column "a" (string) into aFloat.A (float64): it does not fit`},
		{IntegerValue(1), new(aBool), `column "a" (integer) into aBool.A (bool): it does not fit`},
		{BlobValue([]byte("x")), new(aString), `column "a" (blob) into aString.A (*string): it does not fit`},
		{StringValue("x"), new(aBytes), `column "a" (string) into aBytes.A (functions.Change[[]uint8]): it does not fit`},
		{IntegerValue(1), new(aTime), `column "a" (integer) into aTime.A (time.Time): it does not fit`},
		{StringValue("soon"), new(aTime), `column "a" (string) into aTime.A (time.Time): parsing time`},
		{StringValue("nowhere"), new(aAddress), `column "a" (string) into aAddress.A (netip.Addr): ParseAddr`},
		{IntegerValue(1), new(aKey), `column "id" (none) into aKey.ID (string): the primary key has no such column`},
		{IntegerValue(1), new(aKeyKind), `column "k" (integer) into aKeyKind.ID (string): it does not fit`},
	} {
		err := put(c.value).Scan(c.dst)
		if _, ok := errors.AsType[*ColumnError](err); !ok || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v into %T: %v; want %s", c.value, c.dst, err, c.want)
		}
	}
	err := put(StringValue("soon")).Scan(new(aTime))
	if e, ok := errors.AsType[*time.ParseError](err); !ok || e.Value != "soon" {
		t.Error("UnmarshalText's own error is lost:", err)
	}
}

// order has a column of each fate.
type order struct {
	ID      string         `ots:"id,key"`
	Amount  float64        `ots:"amount"`
	Note    *string        `ots:"note"`
	Paid    Change[bool]   `ots:"paid"`
	Version Change[int]    `ots:"version"`
	Tag     Change[string] `ots:"tag"`
}

var theOrder = []KeyColumn{{"id", StringValue("o1")}}

// before is an order as an earlier record left it.
func before() order {
	return order{ID: "o0", Amount: 9, Note: new("old"), Paid: Change[bool]{Value: true, Put: true}, Version: Change[int]{Deleted: true}, Tag: Change[string]{Value: "old", Put: true}}
}

func TestAbsentDeletedAndPutAreToldApart(t *testing.T) {
	for name, c := range map[string]struct {
		record Record
		want   order
	}{
		"an update that mentions nothing": {
			Record{Type: "UpdateRow"},
			order{ID: "o1", Amount: 9, Note: new("old")},
		},
		"an update that puts and deletes": {
			Record{Type: "UpdateRow", Columns: []Column{
				{"DeleteAllVersions", "note", Value{}, 0}, {"Put", "paid", BooleanValue(false), 1}, {"DeleteAllVersions", "version", Value{}, 0},
			}},
			order{ID: "o1", Amount: 9, Paid: Change[bool]{Put: true}, Version: Change[int]{Deleted: true}},
		},
		"an update that deletes what it then puts": {
			Record{Type: "UpdateRow", Columns: []Column{
				{"Put", "amount", DoubleValue(1), 2}, {"DeleteAllVersions", "amount", Value{}, 0}, {"Put", "amount", DoubleValue(2), 1},
				{"Put", "tag", StringValue("new"), 1}, {"DeleteAllVersions", "tag", Value{}, 0},
			}},
			order{ID: "o1", Amount: 1, Note: new("old"), Tag: Change[string]{Value: "new", Put: true}},
		},
		"an update that deletes single versions": {
			Record{Type: "UpdateRow", Columns: []Column{{"DeleteOneVersion", "amount", Value{}, 5}, {"DeleteOneVersion", "paid", Value{}, 5}}},
			order{ID: "o1", Amount: 9, Note: new("old")},
		},
		"an increment, of which nobody knows the sum": {
			Record{Type: "UpdateRow", Columns: []Column{{"Increment", "amount", IntegerValue(1), 5}}},
			order{ID: "o1", Amount: 9, Note: new("old")},
		},
		"a put of the whole row": {
			Record{Type: "PutRow", Columns: []Column{{"Put", "tag", StringValue("new"), 1}}},
			order{ID: "o1", Tag: Change[string]{Value: "new", Put: true}},
		},
		"a deleted row": {
			Record{Type: "DeleteRow"},
			order{ID: "o1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := before()
			c.record.PrimaryKey = theOrder
			if err := c.record.Scan(&got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheOldRowAndTheChangeMakeTheNewRow(t *testing.T) {
	r := &Record{
		Type: "UpdateRow", PrimaryKey: theOrder,
		OldColumns: []Column{{"Put", "amount", DoubleValue(1), 1}, {"Put", "note", StringValue("old"), 1}, {"Put", "version", IntegerValue(1), 1}},
		Columns:    []Column{{"Put", "amount", DoubleValue(2), 2}, {"DeleteAllVersions", "version", Value{}, 0}},
	}
	o := before()
	ok, err := r.ScanOld(&o)
	if diff := cmp.Diff(order{ID: "o1", Amount: 1, Note: new("old"), Version: Change[int]{Value: 1, Put: true}}, o); diff != "" || !ok || err != nil {
		t.Error(diff, ok, err)
	}
	if err := r.Scan(&o); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(order{ID: "o1", Amount: 2, Note: new("old"), Version: Change[int]{Deleted: true}}, o); diff != "" {
		t.Error(diff)
	}

	r.OldColumns = []Column{} // a row with no columns but its key
	if ok, err := r.ScanOld(&o); !ok || err != nil || o.Amount != 0 || o.Note != nil {
		t.Error(o, ok, err)
	}
	r.OldColumns = nil
	untouched := before()
	if ok, err := r.ScanOld(&untouched); ok || err != nil {
		t.Error(ok, err)
	}
	if diff := cmp.Diff(before(), untouched); diff != "" {
		t.Error(diff)
	}
	r.OldColumns = []Column{{"Put", "amount", StringValue("1"), 1}}
	if ok, err := r.ScanOld(&o); ok || err == nil {
		t.Error(ok, err)
	}
}

func TestFieldsOfEmbeddedStructsAreTheStructsOwn(t *testing.T) {
	type (
		deep struct {
			A, B, C, D int `ots:"-"`
		}
		base struct {
			A int `ots:"a"`
			B int `ots:"b"`
		}
		Middle struct {
			base
			B int `ots:"b"`
			C int `ots:"c"`
		}
		row struct {
			deep
			Middle
			*sync.Mutex
			time.Time
			C int `ots:"c"`
		}
	)
	got := row{}
	if err := put(IntegerValue(1), IntegerValue(2), IntegerValue(3)).Scan(&got); err != nil {
		t.Fatal(err)
	}
	if got.A != 0 || got.base.A != 1 || got.base.B != 0 || got.Middle.B != 2 || got.Middle.C != 0 || got.C != 3 {
		t.Errorf("%+v", got)
	}
}

func TestAWrongStructNamesAllItsMistakes(t *testing.T) {
	type inner struct {
		X int `ots:"x"`
	}
	type withChange struct {
		N int
		Change[int]
	}
	type loop *loop
	type wrong struct {
		Twice  int            `ots:"a"`
		Again  int            `ots:"a"`
		hidden int            `ots:"b"`
		None   int            `ots:""`
		Key    int            `ots:",key"`
		Option int            `ots:"c,keyy"`
		Lone   int            `ots:"c2,"`
		Chan   chan int       `ots:"d"`
		Struct inner          `ots:"e"`
		List   []int          `ots:"f"`
		Map    map[string]any `ots:"g"`
		Change Change[int]    `ots:"h,key"`
		Far    *Change[int]   `ots:"i"`
		Odd    withChange     `ots:"j"`
		Loop   loop           `ots:"k"`
		Error  error          `ots:"l"`
		*inner
	}
	err := put().Scan(&wrong{hidden: 1})
	e, ok := errors.AsType[*StructError](err)
	if !ok {
		t.Fatal(err)
	}
	want := []string{
		`wrong.Again: column "a" is that of wrong.Twice already`,
		"wrong.hidden: the field has a tag but is not exported",
		"wrong.None: the tag `ots:\"\"` names no column",
		"wrong.Key: the tag `ots:\",key\"` names no column",
		"wrong.Option: the tag `ots:\"c,keyy\"` has an unknown option; there is key, after the column's name",
		"wrong.Lone: the tag `ots:\"c2,\"` has an unknown option; there is key, after the column's name",
		"wrong.Chan: no column fits into the type chan int",
		"wrong.Struct: no column fits into the type functions.inner",
		"wrong.List: no column fits into the type []int",
		"wrong.Map: no column fits into the type map[string]interface {}",
		"wrong.Change: a column of the primary key does not change: use its type without Change",
		"wrong.Far: no column fits into the type *functions.Change[int]",
		"wrong.Odd: no column fits into the type functions.withChange",
		"wrong.Loop: no column fits into the type functions.loop",
		"wrong.Error: no column fits into the type error",
		"wrong.inner: embed the struct itself, not a pointer to it",
	}
	if diff := cmp.Diff(want, e.Problems); diff != "" || e.Type != reflect.TypeFor[wrong]() {
		t.Error(e.Type, diff)
	}
	if _, err := put().ScanOld(new(wrong)); err == nil {
		t.Error("ScanOld takes a wrong struct")
	}
}

func TestScanWantsAPointerToAStructWithTags(t *testing.T) {
	type untagged struct{ A int }
	type tagged struct {
		A int `ots:"a"`
	}
	for _, dst := range []any{nil, tagged{}, (*tagged)(nil), new(int), new(map[string]int), new(*tagged), new(untagged)} {
		err := put(IntegerValue(1)).Scan(dst)
		if _, ok := errors.AsType[*StructError](err); !ok || !strings.HasPrefix(err.Error(), "functions: scan into ") {
			t.Errorf("%T: %v", dst, err)
		}
	}
}

func TestStructsScannedAfterEachOtherShareNothing(t *testing.T) {
	type row struct {
		A *int64 `ots:"a"`
	}
	var rows [2]row
	for i := range rows {
		rows[i] = rows[0]
		if err := put(IntegerValue(int64(i))).Scan(&rows[i]); err != nil {
			t.Fatal(err)
		}
	}
	if *rows[0].A != 0 || *rows[1].A != 1 {
		t.Error(*rows[0].A, *rows[1].A)
	}
}

func TestScanningAllocatesOnlyWhatTheFieldsNeed(t *testing.T) {
	type row struct {
		Key    int64          `ots:"k,key"`
		Amount float64        `ots:"a"`
		Paid   bool           `ots:"b"`
		Note   string         `ots:"c"`
		Count  Change[uint32] `ots:"d"`
	}
	r, dst := put(DoubleValue(1), BooleanValue(true), StringValue("note"), IntegerValue(3)), new(row)
	if n := testing.AllocsPerRun(100, func() {
		if err := r.Scan(dst); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestOneTypeMayBeScannedFromManyGoroutines(t *testing.T) {
	type row struct {
		A int64 `ots:"a"`
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			var got row
			if err := put(IntegerValue(int64(i))).Scan(&got); err != nil || got.A != int64(i) {
				t.Error(got, err)
			}
		})
	}
	all.Wait()
}
