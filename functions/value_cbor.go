package functions

import (
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// decodingCBOR reads events and values. Lengths may be indefinite and keys in
// any order, since nobody has captured what the native trigger writes; a key
// that comes twice is refused, since nobody can say which of the two counts.
// A list may be as long as the payload makes it.
var decodingCBOR, _ = cbor.DecOptions{
	DupMapKey:        cbor.DupMapKeyEnforcedAPF,
	MaxArrayElements: 1<<31 - 1,
}.DecMode()

// encodingCBOR writes every double with 64 bits, infinities too.
var encodingCBOR, _ = cbor.EncOptions{NaNConvert: cbor.NaNConvertNone, InfConvert: cbor.InfConvertNone}.EncMode()

// MarshalCBOR writes an integer, a double of 64 bits, a boolean, a text
// string, a byte string, or null. It fails on a string that is not UTF-8,
// which CBOR has no place for.
func (v Value) MarshalCBOR() ([]byte, error) {
	if v.kind == String && !utf8.ValidString(v.data) {
		return nil, &ValueError{Problem: "a string that is not UTF-8 cannot be CBOR text; make it a blob"}
	}
	return encodingCBOR.Marshal(v.Any())
}

// UnmarshalCBOR reads what MarshalCBOR writes, and beyond it doubles of 16
// and 32 bits, strings in pieces, and undefined as null. Every NaN becomes
// [math.NaN], as in JSON. What is none of these, and an integer beyond int64,
// is a [*ValueError].
func (v *Value) UnmarshalCBOR(b []byte) error {
	if err := decodingCBOR.Wellformed(b); err != nil {
		return &ValueError{Literal: hexExcerpt(b), Problem: "not CBOR: " + err.Error()}
	}
	var err error
	switch b[0] >> 5 { // the major type
	case 0, 1:
		var i int64
		if err := decodingCBOR.Unmarshal(b, &i); err != nil {
			return &ValueError{Literal: hexExcerpt(b), Problem: "not an integer of 64 bits"}
		}
		*v = IntegerValue(i)
	case 2:
		var blob []byte
		err = decodingCBOR.Unmarshal(b, &blob)
		*v = BlobValue(blob)
	case 3:
		var s string
		if err := decodingCBOR.Unmarshal(b, &s); err != nil {
			return &ValueError{Literal: hexExcerpt(b), Problem: "text that is not UTF-8"}
		}
		*v = StringValue(s)
	case 4:
		return &ValueError{Literal: hexExcerpt(b), Problem: "a list is no value of a column"}
	case 5:
		return &ValueError{Literal: hexExcerpt(b), Problem: "a map is no value of a column"}
	case 6:
		return &ValueError{Literal: hexExcerpt(b), Problem: "a tag is no part of a column's value"}
	default:
		err = v.unmarshalSimple(b)
	}
	return err
}

// unmarshalSimple reads the major type 7: simple values and floats.
func (v *Value) unmarshalSimple(b []byte) error {
	switch b[0] {
	case 0xf4, 0xf5:
		*v = BooleanValue(b[0] == 0xf5)
	case 0xf6, 0xf7:
		*v = Value{}
	case 0xf9, 0xfa, 0xfb:
		var f float64
		if err := decodingCBOR.Unmarshal(b, &f); err != nil {
			return err
		}
		if math.IsNaN(f) {
			f = math.NaN() // the one that JSON has, so that events are equal in either format
		}
		*v = DoubleValue(f)
	default:
		return &ValueError{Literal: hexExcerpt(b), Problem: "a simple value is false, true, null or undefined"}
	}
	return nil
}

// hexExcerpt is the start of b, short enough for an error.
func hexExcerpt(b []byte) string {
	const most = 32
	if len(b) <= most {
		return fmt.Sprintf("0x%x", b)
	}
	return fmt.Sprintf("0x%x…", b[:most])
}
