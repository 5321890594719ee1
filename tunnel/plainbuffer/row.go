// Package plainbuffer decodes and encodes rows in PlainBuffer, the format in
// which Tablestore's table and tunnel APIs carry rows.
//
// Decoded rows alias the input: names, strings and blobs are slices of it,
// each with its capacity cut to its length, and stay valid as long as the
// input is left alone. A [Row] that is decoded into again and again allocates
// nothing once its slices have grown to the widest row seen.
package plainbuffer

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
)

// Type says what a [Value] holds. The numbers are the format's variant types.
type Type uint8

const (
	Integer       Type = 0x0
	Double        Type = 0x1
	Boolean       Type = 0x2
	String        Type = 0x3
	Blob          Type = 0x7
	InfMin        Type = 0x9  // below every key: the open start of a range
	InfMax        Type = 0xA  // above every key: the open end of a range
	AutoIncrement Type = 0xB  // a key column whose value the server chooses
	None          Type = 0xFF // no value: a cell that deletes; never on the wire
)

// Value is one typed value. Its zero value is the integer 0. Values are
// small and copied; the bytes of a string or blob are shared.
type Value struct {
	data []byte
	bits uint64
	typ  Type
}

// The constructors. BytesValue and StringBytesValue keep the slice they are
// given.

func IntegerValue(v int64) Value  { return Value{typ: Integer, bits: uint64(v)} }
func DoubleValue(v float64) Value { return Value{typ: Double, bits: math.Float64bits(v)} }
func BooleanValue(v bool) Value {
	if v {
		return Value{typ: Boolean, bits: 1}
	}
	return Value{typ: Boolean}
}
func StringValue(v string) Value      { return Value{typ: String, data: []byte(v)} }
func StringBytesValue(v []byte) Value { return Value{typ: String, data: v} }
func BlobValue(v []byte) Value        { return Value{typ: Blob, data: v} }
func NoValue() Value                  { return Value{typ: None} }

// BoundValue makes the valueless InfMin, InfMax or AutoIncrement.
func BoundValue(t Type) Value { return Value{typ: t} }

// Type says which accessor has the value.
func (v Value) Type() Type { return v.typ }

// Integer is the value of an Integer; its bits' meaning is unspecified for
// other types. Likewise Double and Boolean.
func (v Value) Integer() int64  { return int64(v.bits) }
func (v Value) Double() float64 { return math.Float64frombits(v.bits) }
func (v Value) Boolean() bool   { return v.bits != 0 }

// Bytes is the content of a String (UTF-8) or Blob, nil for other types. It
// aliases what was decoded.
func (v Value) Bytes() []byte { return v.data }

// String is the value as people read it: a String as it is, a Blob in
// hexadecimal digits, what has no value by its type.
func (v Value) String() string {
	switch v.typ {
	case Integer:
		return strconv.FormatInt(v.Integer(), 10)
	case Double:
		return strconv.FormatFloat(v.Double(), 'g', -1, 64)
	case Boolean:
		return strconv.FormatBool(v.Boolean())
	case String:
		return string(v.data)
	case Blob:
		return hex.EncodeToString(v.data)
	case InfMin:
		return "InfMin"
	case InfMax:
		return "InfMax"
	case AutoIncrement:
		return "AutoIncrement"
	case None:
		return "None"
	}
	return fmt.Sprintf("Type(%#x)", uint8(v.typ))
}

// Op says what a cell does to its column. The numbers are the format's cell
// types, but for Put, which the format leaves out.
type Op uint8

const (
	Put               Op = 0x0
	DeleteAllVersions Op = 0x1
	DeleteOneVersion  Op = 0x3
	Increment         Op = 0x4
)

// Cell is a key column or one change of a column.
type Cell struct {
	Name         []byte
	Value        Value // of type None when the cell carries none
	Timestamp    int64 // the version, in milliseconds; only if HasTimestamp
	Op           Op
	HasTimestamp bool
}

// Sequence says where a stream record stands in its channel's log. Records
// of base data carry none.
type Sequence struct {
	Epoch     int32
	RowIndex  int32
	Timestamp int64 // microseconds since the epoch
}

// Row is one row, or one change of a row.
type Row struct {
	Key         []Cell
	Columns     []Cell
	Sequence    Sequence // only if HasSequence
	HasSequence bool
	Deleted     bool // the delete-row marker

	// KeyBytes is the encoded primary key: the bytes of the key's cells, first
	// cell tag to last checksum. Decoding sets it, aliasing the input;
	// encoding ignores it. Equal keys have equal bytes, as long as no checksum
	// of theirs differs from its content.
	KeyBytes []byte
}
