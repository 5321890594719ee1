package plainbuffer

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestADecodedRowIsTheEncodedOne(t *testing.T) {
	want := Row{
		Key: []Cell{{Name: []byte("id"), Value: IntegerValue(-7)}, {Name: []byte("name"), Value: StringValue("déjà")}},
		Columns: []Cell{
			{Name: []byte("a"), Value: DoubleValue(1.5), HasTimestamp: true, Timestamp: 1},
			{Name: []byte("b"), Value: BlobValue([]byte{0, 255}), HasTimestamp: true, Timestamp: 2},
			{Name: []byte("c"), Value: NoValue(), Op: DeleteAllVersions},
			{Name: []byte("d"), Value: IntegerValue(1), Op: Increment},
		},
		Sequence: Sequence{Epoch: 1, RowIndex: 2, Timestamp: 3}, HasSequence: true, Deleted: true,
	}
	b := Append(nil, &want)
	var got Row
	if err := got.Decode(b); err != nil {
		t.Fatal(err)
	}
	got.KeyBytes = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
