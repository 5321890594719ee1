package functions

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// Kind says what a [Value] holds.
type Kind uint8

// The kinds are Tablestore's column types. None is a value that is not there:
// JSON's null, and the zero Value.
const (
	None Kind = iota
	Integer
	Double
	Boolean
	String
	Blob
)

// String is the kind's name, in lower case.
func (k Kind) String() string {
	switch k {
	case None:
		return "none"
	case Integer:
		return "integer"
	case Double:
		return "double"
	case Boolean:
		return "boolean"
	case String:
		return "string"
	case Blob:
		return "blob"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Value is one value of a row, exactly as Tablestore has it: an int64 keeps
// all its digits, a double its bits, a blob its bytes. Values are small, are
// copied and may be compared with ==; doubles then compare by their bits. The
// zero Value is of kind [None].
//
// In JSON an integer is a number with neither point nor exponent, a double
// always has one of them, and the doubles that JSON lacks are
// {"Double":"NaN"}, {"Double":"Infinity"} and {"Double":"-Infinity"}. A blob
// is {"Base64":"…"} in the standard alphabet, with padding.
type Value struct {
	kind Kind
	bits uint64 // of an integer, double or boolean
	data string // of a string or blob
}

// The constructors. StringValue wants UTF-8; anything else cannot be written
// as JSON. BlobValue copies.

func IntegerValue(v int64) Value  { return Value{kind: Integer, bits: uint64(v)} }
func DoubleValue(v float64) Value { return Value{kind: Double, bits: math.Float64bits(v)} }
func StringValue(v string) Value  { return Value{kind: String, data: v} }
func BlobValue(v []byte) Value    { return Value{kind: Blob, data: string(v)} }
func BooleanValue(v bool) Value {
	if v {
		return Value{kind: Boolean, bits: 1}
	}
	return Value{kind: Boolean}
}

// Kind says which accessor has the value.
func (v Value) Kind() Kind { return v.kind }

// The accessors. Each reports false for a value of another kind: nothing is
// converted. Blob returns a copy.

func (v Value) Int64() (int64, bool) {
	if v.kind != Integer {
		return 0, false
	}
	return int64(v.bits), true
}

func (v Value) Float64() (float64, bool) {
	if v.kind != Double {
		return 0, false
	}
	return math.Float64frombits(v.bits), true
}

func (v Value) Bool() (value, ok bool) {
	return v.kind == Boolean && v.bits != 0, v.kind == Boolean
}

func (v Value) Text() (string, bool) {
	if v.kind != String {
		return "", false
	}
	return v.data, true
}

func (v Value) Blob() ([]byte, bool) {
	if v.kind != Blob {
		return nil, false
	}
	return []byte(v.data), true
}

// Any is the value as an int64, float64, bool, string or []byte, nil for
// [None].
func (v Value) Any() any {
	switch v.kind {
	case Integer:
		return int64(v.bits)
	case Double:
		return math.Float64frombits(v.bits)
	case Boolean:
		return v.bits != 0
	case String:
		return v.data
	case Blob:
		return []byte(v.data)
	}
	return nil
}

// String is the value for people: a string as it is, a blob in hex with 0x
// before it, [None] as "none". It does not tell kinds apart.
func (v Value) String() string {
	switch v.kind {
	case Integer:
		return strconv.FormatInt(int64(v.bits), 10)
	case Double:
		return strconv.FormatFloat(math.Float64frombits(v.bits), 'g', -1, 64)
	case Boolean:
		return strconv.FormatBool(v.bits != 0)
	case String:
		return v.data
	case Blob:
		return fmt.Sprintf("0x%x", v.data)
	}
	return "none"
}

// MarshalJSON writes the form that [Value] describes. It fails on a string
// that is not UTF-8, which JSON could only carry changed.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.kind {
	case Integer:
		return strconv.AppendInt(nil, int64(v.bits), 10), nil
	case Double:
		return appendDouble(nil, math.Float64frombits(v.bits)), nil
	case Boolean:
		return strconv.AppendBool(nil, v.bits != 0), nil
	case String:
		if !utf8.ValidString(v.data) {
			return nil, &ValueError{Problem: "a string that is not UTF-8 cannot be JSON; make it a blob"}
		}
		return json.Marshal(v.data)
	case Blob:
		b := append([]byte(nil), `{"Base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, []byte(v.data))
		return append(b, `"}`...), nil
	}
	return []byte("null"), nil
}

// appendDouble writes the shortest text that reads back to the same double.
func appendDouble(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `{"Double":"NaN"}`...)
	case math.IsInf(f, 1):
		return append(b, `{"Double":"Infinity"}`...)
	case math.IsInf(f, -1):
		return append(b, `{"Double":"-Infinity"}`...)
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, 'g', -1, 64)
	if !bytes.ContainsAny(b[start:], ".e") {
		b = append(b, ".0"...)
	}
	return b
}

// UnmarshalJSON reads the form that [Value] describes. What does not fit
// exactly is a [*ValueError]: an integer beyond int64, a double beyond
// float64, an object that is neither a blob nor a double.
func (v *Value) UnmarshalJSON(b []byte) error {
	b = bytes.Trim(b, jsonSpace)
	if len(b) == 0 {
		return &ValueError{Problem: "no value"}
	}
	switch b[0] {
	case 'n':
		if string(b) != "null" {
			return &ValueError{Literal: excerpt(b), Problem: "not JSON"}
		}
		*v = Value{}
		return nil
	case 't', 'f':
		var t bool
		if err := json.Unmarshal(b, &t); err != nil {
			return err
		}
		*v = BooleanValue(t)
		return nil
	case '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*v = StringValue(s)
		return nil
	case '{':
		return v.unmarshalObject(b)
	case '[':
		return &ValueError{Literal: excerpt(b), Problem: "a list is no value of a column"}
	}
	return v.unmarshalNumber(b)
}

func (v *Value) unmarshalNumber(b []byte) error {
	if !json.Valid(b) { // strconv reads more forms of a number than JSON has
		return &ValueError{Literal: excerpt(b), Problem: "not JSON"}
	}
	if bytes.ContainsAny(b, ".eE") {
		f, err := strconv.ParseFloat(string(b), 64)
		if err != nil {
			return &ValueError{Literal: excerpt(b), Problem: "not a double of 64 bits"}
		}
		*v = DoubleValue(f)
		return nil
	}
	i, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return &ValueError{Literal: excerpt(b), Problem: "not an integer of 64 bits; a double has a point or an exponent"}
	}
	*v = IntegerValue(i)
	return nil
}

func (v *Value) unmarshalObject(b []byte) error {
	var object map[string]string
	if err := json.Unmarshal(b, &object); err != nil || len(object) != 1 {
		return &ValueError{Literal: excerpt(b), Problem: `an object must be {"Base64":"…"} or {"Double":"…"}`}
	}
	if text, ok := object["Base64"]; ok {
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return &ValueError{Literal: excerpt(b), Problem: "not base64 in the standard alphabet with padding"}
		}
		*v = BlobValue(data)
		return nil
	}
	switch object["Double"] {
	case "NaN":
		*v = DoubleValue(math.NaN())
	case "Infinity":
		*v = DoubleValue(math.Inf(1))
	case "-Infinity":
		*v = DoubleValue(math.Inf(-1))
	default:
		return &ValueError{Literal: excerpt(b), Problem: "as an object, a double is NaN, Infinity or -Infinity; a blob is in Base64"}
	}
	return nil
}

// ValueError says why some JSON is no [Value], or a Value no JSON.
type ValueError struct {
	Literal string // the start of the JSON; empty when a Value was being written
	Problem string
}

func (e *ValueError) Error() string {
	if e.Literal == "" {
		return "functions: " + e.Problem
	}
	return fmt.Sprintf("functions: value %s: %s", e.Literal, e.Problem)
}

// excerpt is the start of b, short enough for an error.
func excerpt(b []byte) string {
	const most = 64
	if len(b) <= most {
		return string(bytes.ToValidUTF8(b, []byte("?")))
	}
	return string(bytes.ToValidUTF8(b[:most], []byte("?"))) + "…"
}
