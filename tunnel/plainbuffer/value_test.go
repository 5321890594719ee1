package plainbuffer

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestAValueThatStandsAloneComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := columnGen.Draw(t, "column").Value
		b := AppendValue([]byte("before"), want)[len("before"):]
		got, err := DecodeValue(b)
		if want.Type() == None {
			if err == nil {
				t.Fatal("no value is decoded")
			}
			return
		}
		if err != nil || !got.Equal(want) {
			t.Fatalf("%#v, %v, want %#v", got, err, want)
		}
		n := rapid.IntRange(0, len(b)-1).Draw(t, "cut at")
		if _, err := DecodeValue(b[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d of %d bytes: %v", n, len(b), err)
		}
		if _, err := DecodeValue(append(b, 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("a byte too many: %v", err)
		}
	})
}

func TestAValueThatStandsAloneHasTheBytesThatTheOfficialClientWrites(t *testing.T) {
	for _, tt := range []struct {
		value Value
		bytes string
	}{
		{IntegerValue(-2), "00 feffffffffffffff"},
		{DoubleValue(1.5), "01 000000000000f83f"},
		{BooleanValue(true), "02 01"},
		{StringValue("é"), "03 02000000 c3a9"},
		{BlobValue([]byte{0, 255}), "07 02000000 00ff"},
	} {
		if got, want := string(AppendValue(nil, tt.value)), string(unhex(t, tt.bytes)); got != want {
			t.Errorf("%#v: % x, want % x", tt.value, got, want)
		}
	}
}

func TestAValuePrintsAsPeopleReadIt(t *testing.T) {
	for want, v := range map[string]Value{
		"-2": IntegerValue(-2), "1.5": DoubleValue(1.5), "NaN": DoubleValue(math.NaN()), "true": BooleanValue(true), "false": BooleanValue(false),
		"é": StringValue("é"), "00ff": BlobValue([]byte{0, 255}),
		"InfMin": BoundValue(InfMin), "InfMax": BoundValue(InfMax), "AutoIncrement": BoundValue(AutoIncrement),
		"None": NoValue(), "Type(0x55)": {typ: 0x55},
	} {
		if got := fmt.Sprint(v); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
