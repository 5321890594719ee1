package functions

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// anyValue draws values of every kind, the ends of their ranges included.
func anyValue() *rapid.Generator[Value] {
	return rapid.Custom(func(t *rapid.T) Value {
		switch Kind(rapid.IntRange(0, 5).Draw(t, "kind")) {
		case Integer:
			return IntegerValue(rapid.Int64().Draw(t, "integer"))
		case Double: // from bits, so that every NaN, zero and denormal comes
			f := math.Float64frombits(rapid.Uint64().Draw(t, "bits"))
			if math.IsNaN(f) {
				f = math.NaN() // JSON has one NaN
			}
			return DoubleValue(f)
		case Boolean:
			return BooleanValue(rapid.Bool().Draw(t, "boolean"))
		case String:
			return StringValue(rapid.String().Draw(t, "string"))
		case Blob:
			return BlobValue(rapid.SliceOf(rapid.Byte()).Draw(t, "blob"))
		}
		return Value{}
	})
}

func TestEveryValueComesBackFromJSONAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := anyValue().Draw(t, "value")
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var back Value
		if err := json.Unmarshal(b, &back); err != nil || back != v {
			t.Fatalf("%#v became %s became %#v, %v", v, b, back, err)
		}
	})
}

func TestValuesHaveOneFormInJSON(t *testing.T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, c := range []struct {
		v    Value
		want string
	}{
		{Value{}, `null`},
		{IntegerValue(0), `0`},
		{IntegerValue(math.MaxInt64), `9223372036854775807`},
		{IntegerValue(math.MinInt64), `-9223372036854775808`},
		{DoubleValue(0), `0.0`},
		{DoubleValue(math.Copysign(0, -1)), `-0.0`},
		{DoubleValue(1), `1.0`},
		{DoubleValue(0.1), `0.1`},
		{DoubleValue(1e6), `1e+06`},
		{DoubleValue(math.MaxFloat64), `1.7976931348623157e+308`},
		{DoubleValue(math.SmallestNonzeroFloat64), `5e-324`},
		{DoubleValue(math.NaN()), `{"Double":"NaN"}`},
		{DoubleValue(math.Inf(1)), `{"Double":"Infinity"}`},
		{DoubleValue(math.Inf(-1)), `{"Double":"-Infinity"}`},
		{BooleanValue(true), `true`},
		{BooleanValue(false), `false`},
		{StringValue(""), `""`},
		{StringValue("größer 🚰 \x00\"\\"), `"größer 🚰 \u0000\"\\"`},
		{BlobValue(nil), `{"Base64":""}`},
		{BlobValue([]byte{0xff, 0xfe, 0x00}), `{"Base64":"//4A"}`},
	} {
		got, err := json.Marshal(c.v)
		if err != nil || string(got) != c.want {
			t.Errorf("%v: %s, %v; want %s", c.v, got, err, c.want)
		}
		var back Value
		if err := json.Unmarshal([]byte(c.want), &back); err != nil || back != c.v {
			t.Errorf("%s: %#v, %v; want %#v", c.want, back, err, c.v)
		}
	}
}

func TestANumbersFormTellsIntegersFromDoubles(t *testing.T) {
	for literal, want := range map[string]Value{
		"1": IntegerValue(1), "-0": IntegerValue(0),
		"1.0": DoubleValue(1), "1e0": DoubleValue(1), "1E+2": DoubleValue(100), "9007199254740993.0": DoubleValue(9007199254740992),
	} {
		var v Value
		if err := json.Unmarshal([]byte(literal), &v); err != nil || v != want {
			t.Errorf("%s: %#v, %v; want %#v", literal, v, err, want)
		}
	}
}

func TestWhatDoesNotFitExactlyIsRefused(t *testing.T) {
	for _, literal := range []string{
		`9223372036854775808`, `-9223372036854775809`, `1e999`, `[1]`, `{}`, `{"Base64":"!"}`, `{"Base64":"AA"}`, `{"Base64":"","Double":"NaN"}`,
		`{"base64":""}`, `{"Double":"1.5"}`, `{"Double":1}`, `{"Blob":"AA=="}`,
	} {
		v := IntegerValue(1)
		err := json.Unmarshal([]byte(literal), &v)
		if _, ok := errors.AsType[*ValueError](err); !ok {
			t.Errorf("%s: %v, %v", literal, v, err)
		}
	}
	if b, err := json.Marshal(StringValue("\xff")); err == nil {
		t.Errorf("not UTF-8: %s", b)
	}
}

func TestAccessorsConvertNothing(t *testing.T) {
	for _, v := range []Value{{}, IntegerValue(7), DoubleValue(7), BooleanValue(true), StringValue("7"), BlobValue([]byte("7"))} {
		_, i := v.Int64()
		_, f := v.Float64()
		_, b := v.Bool()
		_, s := v.Text()
		_, bl := v.Blob()
		for kind, ok := range map[Kind]bool{Integer: i, Double: f, Boolean: b, String: s, Blob: bl} {
			if ok != (v.Kind() == kind) {
				t.Errorf("a value of kind %v is said to be a %v: %v", v.Kind(), kind, ok)
			}
		}
	}
	if got := fmt.Sprint(Value{}, IntegerValue(-7), DoubleValue(0.5), BooleanValue(true), StringValue("x"), BlobValue([]byte{0xab})); got != "none -7 0.5 true x 0xab" {
		t.Error(got)
	}
	if a, ok := BlobValue([]byte("ab")).Any().([]byte); !ok || string(a) != "ab" {
		t.Error(a)
	}
}

// FuzzValue: what is read is written so that it reads the same, and what is
// read at all is JSON.
func FuzzValue(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		var v Value
		if err := v.UnmarshalJSON(b); err != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("%q was read as %#v", b, v)
		}
		text, err := v.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var back Value
		if err := back.UnmarshalJSON(text); err != nil || back != v {
			t.Fatalf("%q: %#v became %s became %#v, %v", b, v, text, back, err)
		}
	})
}
