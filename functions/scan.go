package functions

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Scan applies the change to the struct that dst points to, whose fields name
// their columns:
//
//	type Order struct {
//		ID     string  `ots:"order_id,key"` // a column of the primary key
//		Amount float64 `ots:"amount"`
//		Note   *string `ots:"note"` // nil: the row has no note
//	}
//
// Fields of the primary key are set, and it is an error if the record has no
// such key column. Any other field is set to the newest value that the change
// puts into its column, see [Record.Column]. If it puts none, the field
// becomes zero, so that a pointer becomes nil, where the column is gone: the
// change deletes all its versions, or writes the whole row without it
// (PutRow), or deletes the row. Otherwise the field is left as it is: an
// UpdateRow that does not mention the column, or deletes single versions of
// it, does not say what the column holds.
//
// So into an empty struct Scan puts what the change brings, and into the row
// before the change (see [Record.ScanOld]) it makes the row after it. To tell
// a deleted column from one that was not mentioned, use [Change].
//
// What fits where:
//
//   - an integer: every int and uint type, and to ±2⁵³ float64, to ±2²⁴
//     float32.
//   - a double: float64, and float32, to which it is rounded.
//   - a boolean: bool.
//   - a string: string types, and what implements encoding.TextUnmarshaler.
//     Among these is time.Time, as RFC 3339 writes it. Tablestore has no
//     type for times: one that is kept as a number is scanned as a number,
//     since only its writer knows the unit.
//   - a blob: []byte types, which are given a copy.
//   - anything: [Value], and any, which gets what [Value.Any] returns.
//   - what fits T: *T and Change[T].
//
// What does not fit is a [*ColumnError], and nothing is cut off: an integer
// beyond its field's type is an error. The fields before it have been set
// then.
//
// Fields without the tag are left alone, and columns without a field are
// ignored. Fields of embedded structs count as the struct's own; among several
// fields for one column the least deeply embedded one is taken. A struct with
// wrong tags, or a dst that is no pointer to a struct, is a [*StructError].
func (r *Record) Scan(dst any) error {
	into, s, err := shapeOf(dst)
	if err != nil {
		return err
	}
	return s.scan(into, r, r.Columns, r.Type == "PutRow" || r.Type == "DeleteRow")
}

// ScanOld sets the struct that dst points to, as [Record.Scan] does, to the
// row as it was before the change; a field whose column the row did not have
// becomes zero. It reports false, and leaves dst alone, if the record does not
// carry that row: there was none, or the tunnel does not tell.
func (r *Record) ScanOld(dst any) (ok bool, err error) {
	into, s, err := shapeOf(dst)
	if err != nil || r.OldColumns == nil {
		return false, err
	}
	if err := s.scan(into, r, r.OldColumns, true); err != nil {
		return false, err
	}
	return true, nil
}

// Change is a field for [Record.Scan] that tells what the change did to its
// column: with neither Put nor Deleted, the change does not mention it. Scan
// sets it anew for every record. It cannot stand for a column of the primary
// key, which does not change.
type Change[T any] struct {
	Value   T    // zero unless Put
	Put     bool // the change puts Value
	Deleted bool // the change deletes all versions of the column, and puts none
}

// The places of Change's fields.
const (
	changeValue = iota
	changePut
	changeDeleted
)

// scan sets the struct's fields. whole says that columns are all that the row
// has.
func (s *shape) scan(into reflect.Value, r *Record, columns []Column, whole bool) error {
	for i := range s.fields {
		f := &s.fields[i]
		field := into.FieldByIndex(f.index)
		if f.key {
			if err := f.setKey(field, r); err != nil {
				return err
			}
			continue
		}
		put, deleted := newest(columns, f.column)
		if f.change {
			field.SetZero()
			field.Field(changePut).SetBool(put != nil)
			field.Field(changeDeleted).SetBool(deleted && put == nil)
			field = field.Field(changeValue)
		}
		if put != nil {
			if err := f.fit(field, r, put.Value); err != nil {
				return err
			}
		} else if whole || deleted {
			field.SetZero()
		}
	}
	return nil
}

var errNoKey = errors.New("the primary key has no such column")

func (f *field) setKey(field reflect.Value, r *Record) error {
	value := r.Key(f.column)
	if value.Kind() == None {
		return &ColumnError{Record: r.ID, Column: f.column, Field: f.name, Type: f.typ, Err: errNoKey}
	}
	return f.fit(field, r, value)
}

func (f *field) fit(field reflect.Value, r *Record, value Value) error {
	if err := f.set(field, value); err != nil {
		return &ColumnError{Record: r.ID, Column: f.column, Kind: value.Kind(), Field: f.name, Type: f.typ, Err: err}
	}
	return nil
}

// ColumnError says why a record does not fit the struct that it is scanned
// into. It does not show the value, unless Err does, which the field's own
// UnmarshalText may have made.
type ColumnError struct {
	Record string // its Id
	Column string
	Kind   Kind         // of the value; None: there is none
	Field  string       // Order.Amount
	Type   reflect.Type // the field's
	Err    error
}

func (e *ColumnError) Error() string {
	return fmt.Sprintf("functions: record %s: column %q (%s) into %s (%s): %v", e.Record, e.Column, e.Kind, e.Field, e.Type, e.Err)
}

func (e *ColumnError) Unwrap() error { return e.Err }

// StructError says why nothing can be scanned into a type: a mistake in the
// program, which no other record makes good.
type StructError struct {
	Type     reflect.Type // nil: dst was nil
	Problems []string     // all of them
}

func (e *StructError) Error() string {
	return fmt.Sprintf("functions: scan into %v: %s", e.Type, strings.Join(e.Problems, "; "))
}
