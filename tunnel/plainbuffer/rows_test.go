package plainbuffer

import (
	"encoding/hex"
	"strings"
	"testing"
)

// unhex reads bytes as the tables of these tests write them: hex digits, with
// spaces where they help the eye.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The key of most rows below: one column, id = 1.
const (
	idKey   = `75000000 01 03 04 02000000 6964 05 09000000 00 0100000000000000 0a0a `
	idCell  = `03 04 02000000 6964 05 09000000 00 0100000000000000 0a0a `
	at1000  = `07 e803000000000000 `
	maximum = 1<<63 - 1
)

func id() []Cell { return []Cell{{Name: []byte("id"), Value: IntegerValue(1)}} }

func column(name string, v Value) Cell { return Cell{Name: []byte(name), Value: v} }

func columnAt1000(name string, v Value) Cell {
	return Cell{Name: []byte(name), Value: v, Timestamp: 1000, HasTimestamp: true}
}

func keyOf(v Value) Row { return Row{Key: []Cell{column("k", v)}} }

// shapes are rows and their bytes. Up to the line, the bytes are those that
// the official Go SDK (v1.7.17) writes for the row; its writers never write
// what comes after.
var shapes = []struct {
	name  string
	row   Row
	bytes string
}{
	{"a key alone", Row{Key: id()}, idKey + `09 82`},
	{"a deleted row", Row{Key: id(), Deleted: true}, idKey + `08 09 85`},
	{"an integer", Row{Key: id(), Columns: []Cell{columnAt1000("v", IntegerValue(-2))}},
		idKey + `02 03 04 01000000 76 05 09000000 00 feffffffffffffff ` + at1000 + `0a63 09 4d`},
	{"a double", Row{Key: id(), Columns: []Cell{columnAt1000("v", DoubleValue(1.5))}},
		idKey + `02 03 04 01000000 76 05 09000000 01 000000000000f83f ` + at1000 + `0a51 09 9e`},
	{"a boolean", Row{Key: id(), Columns: []Cell{columnAt1000("v", BooleanValue(true))}},
		idKey + `02 03 04 01000000 76 05 02000000 02 01 ` + at1000 + `0ad3 09 02`},
	{"a string", Row{Key: id(), Columns: []Cell{columnAt1000("v", StringValue("é"))}},
		idKey + `02 03 04 01000000 76 05 07000000 03 02000000 c3a9 ` + at1000 + `0af9 09 2e`},
	{"a blob", Row{Key: id(), Columns: []Cell{columnAt1000("v", BlobValue([]byte{0, 255}))}},
		idKey + `02 03 04 01000000 76 05 07000000 07 02000000 00ff ` + at1000 + `0adf 09 fe`},
	{"an empty string", Row{Key: id(), Columns: []Cell{columnAt1000("v", StringValue(""))}},
		idKey + `02 03 04 01000000 76 05 05000000 03 00000000 ` + at1000 + `0a79 09 98`},
	{"a put without a timestamp", Row{Key: id(), Columns: []Cell{column("p", BooleanValue(false))}},
		idKey + `02 03 04 01000000 70 05 02000000 02 00 0a4d 09 35`},
	{"a delete of all versions", Row{Key: id(), Columns: []Cell{{Name: []byte("d"), Value: NoValue(), Op: DeleteAllVersions}}},
		idKey + `02 03 04 01000000 64 06 01 0aa6 09 e1`},
	{"a delete of one version", Row{Key: id(), Columns: []Cell{{Name: []byte("d"), Value: NoValue(), Op: DeleteOneVersion, Timestamp: 1000, HasTimestamp: true}}},
		idKey + `02 03 04 01000000 64 06 03 ` + at1000 + `0a1c 09 2c`},
	{"an increment", Row{Key: id(), Columns: []Cell{{Name: []byte("n"), Value: IntegerValue(5), Op: Increment}}},
		idKey + `02 03 04 01000000 6e 05 09000000 00 0500000000000000 06 04 0a00 09 87`},
	{"a string key", keyOf(StringValue("ab")), `75000000 01 03 04 01000000 6b 05 07000000 03 02000000 6162 0ae2 09 69`},
	{"a blob key", keyOf(BlobValue([]byte{1, 2})), `75000000 01 03 04 01000000 6b 05 07000000 07 02000000 0102 0a45 09 1a`},
	{"the bound below", keyOf(BoundValue(InfMin)), `75000000 01 03 04 01000000 6b 05 01000000 09 0a5d 09 e5`},
	{"the bound above", keyOf(BoundValue(InfMax)), `75000000 01 03 04 01000000 6b 05 01000000 0a 0a54 09 58`},
	{"a key for the server to choose", keyOf(BoundValue(AutoIncrement)), `75000000 01 03 04 01000000 6b 05 01000000 0b 0a53 09 33`},

	// ----

	{"no key at all", Row{}, `75000000 01 09 00`},
	{"an empty name", Row{Key: id(), Columns: []Cell{column("", BooleanValue(true))}},
		idKey + `02 03 04 00000000 05 02000000 02 01 0a2d 09 c0`},
	{"a sequence", Row{Key: id(), HasSequence: true, Sequence: Sequence{Epoch: 1, Timestamp: 1_000_000, RowIndex: 2}},
		idKey + `0b 18000000 0c 13000000 0d 01000000 0e 40420f0000000000 0f 02000000 09 82`},
	{"a sequence with negative numbers", Row{Key: id(), HasSequence: true, Sequence: Sequence{Epoch: -1, Timestamp: -1, RowIndex: -1}},
		idKey + `0b 18000000 0c 13000000 0d ffffffff 0e ffffffffffffffff 0f ffffffff 09 82`},
	{"a deleted row with a sequence", Row{Key: id(), Deleted: true, HasSequence: true, Sequence: Sequence{Timestamp: maximum}},
		idKey + `08 0b 18000000 0c 13000000 0d 00000000 0e ffffffffffffff7f 0f 00000000 09 85`},
	{"columns and a delete marker", Row{Key: id(), Columns: []Cell{columnAt1000("v", IntegerValue(-2))}, Deleted: true},
		idKey + `02 03 04 01000000 76 05 09000000 00 feffffffffffffff ` + at1000 + `0a63 08 09 4a`},
}
