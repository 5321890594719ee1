package emulator

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// The service's limits of one write.
const (
	maxKeyBytes    = 1 << 10 // of a string or binary key column
	maxColumnBytes = 2 << 20 // of a string or binary attribute column
	maxColumns     = 1024
	maxNameLength  = 255

	endOfVersions = math.MaxInt64 / 1000 // milliseconds
)

// write is a change that has been checked, but for what depends on the table's
// rows. It owns its row.
type write struct {
	action tunnelpb.ActionType
	row    plainbuffer.Row
	size   int // bytes of the encoded row

	expect    tablepb.RowExistenceExpectation
	condition condition // nil: none

	// What the answer says: the key, and the new values of columns.
	returnKey     bool
	returnColumns []string
}

// decodeWrite makes a write of an encoded row, which it keeps, and checks
// everything that can be checked without looking at a table.
func decodeWrite(action tunnelpb.ActionType, encoded []byte) (*write, error) {
	w := &write{action: action, size: len(encoded)}
	if err := w.row.Decode(encoded); err != nil {
		return nil, failf(codeParameterInvalid, "Invalid row: %v.", err)
	}
	var placeholder []plainbuffer.Type
	if action != tunnelpb.ActionType_DELETE_ROW {
		placeholder = []plainbuffer.Type{plainbuffer.AutoIncrement}
	}
	if err := checkKey(w.row.Key, placeholder...); err != nil {
		return nil, err
	}
	if w.row.HasSequence {
		return nil, failf(codeParameterInvalid, "A written row carries no sequence info.")
	}
	if w.row.Deleted && action != tunnelpb.ActionType_DELETE_ROW {
		return nil, failf(codeParameterInvalid, "Only a deleted row carries a delete marker.")
	}
	switch action {
	case tunnelpb.ActionType_PUT_ROW:
	case tunnelpb.ActionType_UPDATE_ROW:
		if len(w.row.Columns) == 0 {
			return nil, failf(codeParameterInvalid, "Attribute column is missing.")
		}
	case tunnelpb.ActionType_DELETE_ROW:
		if len(w.row.Columns) > 0 {
			return nil, failf(codeParameterInvalid, "A row is deleted whole: no attribute column can be specified.")
		}
		w.row.Deleted = true
	default:
		return nil, failf(codeParameterInvalid, "Unknown action: %d.", action)
	}
	if len(w.row.Columns) > maxColumns {
		return nil, failf(codeParameterInvalid, "The number of attribute columns exceeds the limit, limit count: %d, column count: %d.", maxColumns, len(w.row.Columns))
	}
	for i := range w.row.Columns {
		if err := checkColumn(action, &w.row.Columns[i]); err != nil {
			return nil, err
		}
	}
	return w, w.checkIncrements()
}

// fits checks a write against the schema.
func (t *table) fits(w *write) error {
	if err := t.fitsKey(w.row.Key); err != nil {
		return err
	}
	for _, c := range w.row.Columns {
		if slices.ContainsFunc(t.key, func(k KeyColumn) bool { return k.Name == string(c.Name) }) {
			return failf(codeParameterInvalid, "Duplicated attribute column name with primary key column: '%s'.", c.Name)
		}
	}
	return nil
}

// checkKey checks what any key must be. It may hold types without a value only
// if they are named: a bound of a range holds InfMin and InfMax, a row to come
// AutoIncrement.
func checkKey(key []plainbuffer.Cell, valueless ...plainbuffer.Type) error {
	switch {
	case len(key) == 0:
		return failf(codeParameterInvalid, "Cell data broken, empty PK.")
	case len(key) > maxKeyColumns:
		return keyColumnsOutOfRange()
	}
	for _, c := range key {
		switch v := c.Value; {
		case v.Type() == plainbuffer.InfMin || v.Type() == plainbuffer.InfMax || v.Type() == plainbuffer.AutoIncrement:
			if !slices.Contains(valueless, v.Type()) {
				return invalidKeyType(v.Type())
			}
		case len(v.Bytes()) > maxKeyBytes:
			return failf(codeParameterInvalid, "The length of primary key column: '%s' exceeds the MaxLength:%d with CurrentLength:%d.", c.Name, maxKeyBytes, len(v.Bytes()))
		}
	}
	return nil
}

// fitsKey checks a key against the schema.
func (t *table) fitsKey(key []plainbuffer.Cell) error {
	if len(key) != len(t.key) {
		return failf(codeInvalidPK, "Validate PK size fail. Input: %d, Meta: %d.", len(key), len(t.key))
	}
	for i, c := range key {
		k, typ := t.key[i], c.Value.Type()
		if string(c.Name) != k.Name {
			return failf(codeInvalidPK, "Validate PK name fail. Input: %s, Meta: %s.", c.Name, k.Name)
		}
		switch typ {
		case plainbuffer.InfMin, plainbuffer.InfMax, k.Type:
		case plainbuffer.AutoIncrement:
			if !k.AutoIncrement {
				return invalidKeyType(typ)
			}
		default:
			return failf(codeInvalidPK, "Validate PK type fail. Input: %s, Meta: %s.", typeName(typ), typeName(k.Type))
		}
	}
	return nil
}

func keyColumnsOutOfRange() *Error {
	return failf(codeParameterInvalid, "The number of primary key columns must be in range: [1, %d].", maxKeyColumns)
}

func invalidKeyType(t plainbuffer.Type) *Error {
	return failf(codeParameterInvalid, "%s is an invalid type for the primary key.", typeName(t))
}

// checkColumn checks one column of a put or an update.
func checkColumn(action tunnelpb.ActionType, c *plainbuffer.Cell) error {
	if err := checkColumnName(string(c.Name)); err != nil {
		return err
	}
	if c.HasTimestamp && (c.Timestamp < 0 || c.Timestamp >= endOfVersions) {
		return failf(codeParameterInvalid, "Timestamp must be in range [0, INT64_MAX/1000).")
	}
	if c.Op != plainbuffer.Put && action != tunnelpb.ActionType_UPDATE_ROW {
		return failf(codeParameterInvalid, "Only an update deletes or increments columns: '%s'.", c.Name)
	}
	switch c.Op {
	case plainbuffer.DeleteAllVersions, plainbuffer.DeleteOneVersion:
		if c.Value.Type() != plainbuffer.None {
			return failf(codeParameterInvalid, "A deleted column has no value: '%s'.", c.Name)
		}
		if c.Op == plainbuffer.DeleteOneVersion && !c.HasTimestamp {
			return failf(codeParameterInvalid, "The version of column '%s' to delete is not specified.", c.Name)
		}
		return nil
	case plainbuffer.Increment:
		if c.Value.Type() != plainbuffer.Integer {
			return failf(codeParameterInvalid, "Only integers are incremented, not %s: column '%s'.", typeName(c.Value.Type()), c.Name)
		}
		if c.HasTimestamp {
			return failf(codeParameterInvalid, "An increment has no version of its own: column '%s'.", c.Name)
		}
	}
	return checkValue(c.Name, c.Value)
}

func checkValue(name []byte, v plainbuffer.Value) error {
	switch v.Type() {
	case plainbuffer.Integer, plainbuffer.Double, plainbuffer.Boolean, plainbuffer.String, plainbuffer.Blob:
	default:
		return failf(codeParameterInvalid, "%s is an invalid type for the attribute column.", typeName(v.Type()))
	}
	if len(v.Bytes()) > maxColumnBytes {
		return failf(codeParameterInvalid, "The length of attribute column: '%s' exceeds the MaxLength:%d with CurrentLength:%d.", name, maxColumnBytes, len(v.Bytes()))
	}
	return nil
}

// checkColumnName checks the name of an attribute column. It may hold nearly
// anything: what the tests of the service's SDKs find refused begins with #.
func checkColumnName(name string) error {
	if len(name) == 0 || len(name) > maxNameLength || name[0] == '#' {
		return invalidColumnName(name)
	}
	return nil
}

func invalidColumnName(name string) *Error {
	return failf(codeParameterInvalid, "Invalid column name: '%s'.", name)
}

// checkIncrements refuses a row that changes a column in another way too when
// it increments it.
func (w *write) checkIncrements() error {
	if !w.increments(nil) {
		return nil
	}
	changed := make(map[string]bool) // and whether one of the changes is an increment
	for _, c := range w.row.Columns {
		increment, again := changed[string(c.Name)]
		if again && (increment || c.Op == plainbuffer.Increment) {
			return failf(codeParameterInvalid, "A column that is incremented can be changed once in an update: '%s'.", c.Name)
		}
		changed[string(c.Name)] = increment || c.Op == plainbuffer.Increment
	}
	return nil
}

// increments says whether the write increments the column, and any if name is
// nil.
func (w *write) increments(name []byte) bool {
	return slices.ContainsFunc(w.row.Columns, func(c plainbuffer.Cell) bool {
		return c.Op == plainbuffer.Increment && (name == nil || bytes.Equal(c.Name, name))
	})
}

// placeholder says whether the server is to choose a value of the key.
func (w *write) placeholder() bool {
	return slices.ContainsFunc(w.row.Key, func(c plainbuffer.Cell) bool { return c.Value.Type() == plainbuffer.AutoIncrement })
}

// typeName is a type as the service's errors write it.
func typeName(t plainbuffer.Type) string {
	switch t {
	case plainbuffer.Integer:
		return "VT_INTEGER"
	case plainbuffer.Double:
		return "VT_DOUBLE"
	case plainbuffer.Boolean:
		return "VT_BOOLEAN"
	case plainbuffer.String:
		return "VT_STRING"
	case plainbuffer.Blob:
		return "VT_BLOB"
	case plainbuffer.InfMin:
		return "VT_INF_MIN"
	case plainbuffer.InfMax:
		return "VT_INF_MAX"
	case plainbuffer.AutoIncrement:
		return "VT_AUTO_INCREMENT"
	case plainbuffer.None:
		return "VT_NULL"
	}
	return fmt.Sprintf("%#x", uint8(t))
}
