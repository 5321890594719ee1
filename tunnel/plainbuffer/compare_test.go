package plainbuffer

import (
	"bytes"
	"cmp"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestKeyValuesAreOrderedAsTheServiceOrdersThem(t *testing.T) {
	ascending := []Value{
		BoundValue(InfMin),
		IntegerValue(math.MinInt64),
		IntegerValue(-1),
		IntegerValue(0),
		IntegerValue(256), // its first byte is lower than that of 1
		IntegerValue(math.MaxInt64),
		DoubleValue(-1), // no key has one; different types are ordered by type
		DoubleValue(0.5),
		StringValue(""),
		StringValue("B"),
		StringValue("a"),
		StringValue("a\x00"),
		StringValue("b"),
		StringValue("é"),
		BlobValue([]byte{}),
		BlobValue([]byte{0}),
		BlobValue([]byte{0, 1}),
		BlobValue([]byte{127}),
		BlobValue([]byte{255}),
		BoundValue(InfMax),
	}
	for i, a := range ascending {
		for j, b := range ascending {
			if got := Compare(a, b); got != cmp.Compare(i, j) {
				t.Errorf("Compare of values %d and %d is %d", i, j, got)
			}
			if a.Equal(b) != (i == j) {
				t.Errorf("Equal of values %d and %d is %v", i, j, a.Equal(b))
			}
		}
	}
}

func TestComparingIsAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := keyValueGen.Draw(t, "a"), keyValueGen.Draw(t, "b"), keyValueGen.Draw(t, "c")
		if Compare(a, b) != -Compare(b, a) {
			t.Error("it depends on which side a value stands")
		}
		if Compare(a, b) <= 0 && Compare(b, c) <= 0 && Compare(a, c) > 0 {
			t.Error("a ≤ b ≤ c, but a > c")
		}
		if (Compare(a, b) == 0) != a.Equal(b) {
			t.Error("Compare and Equal disagree")
		}
	})
}

func TestValuesHoldWhatTheyWereMadeOf(t *testing.T) {
	if v := IntegerValue(math.MinInt64); v.Type() != Integer || v.Integer() != math.MinInt64 || v.Bytes() != nil {
		t.Error("integer")
	}
	if v := DoubleValue(math.Inf(-1)); v.Type() != Double || v.Double() != math.Inf(-1) {
		t.Error("double")
	}
	if v := BooleanValue(true); v.Type() != Boolean || !v.Boolean() || BooleanValue(false).Boolean() {
		t.Error("boolean")
	}
	if v := StringValue("é"); v.Type() != String || string(v.Bytes()) != "é" {
		t.Error("string")
	}
	if v := BlobValue([]byte{0}); v.Type() != Blob || !bytes.Equal(v.Bytes(), []byte{0}) {
		t.Error("blob")
	}
	if v := NoValue(); v.Type() != None {
		t.Error("none")
	}
	if v := (Value{}); v.Type() != Integer || v.Integer() != 0 {
		t.Error("zero")
	}
}
