package emulator

import (
	"fmt"
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
)

// write is a change that has been checked. It owns its row.
type write struct {
	action tunnelpb.ActionType
	row    plainbuffer.Row
	expect tablepb.RowExistenceExpectation
	size   int // bytes of the encoded row

	returnKey bool // the answer says the key
}

// decode makes a write of an encoded row, which it keeps, and checks
// everything that can be checked without looking at the table's rows.
func (t *table) decode(action tunnelpb.ActionType, encoded []byte) (*write, error) {
	w := &write{action: action, size: len(encoded)}
	if err := w.row.Decode(encoded); err != nil {
		return nil, failf(codeParameterInvalid, "Invalid row: %v.", err)
	}
	if err := t.checkKey(w.row.Key, false); err != nil {
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
			return nil, failf(codeParameterInvalid, "No attribute column is specified to update the row.")
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
		return nil, failf(codeParameterInvalid, "The number of attribute columns exceeds the limit: %d, limit count: %d.", len(w.row.Columns), maxColumns)
	}
	for i := range w.row.Columns {
		if err := t.checkColumn(action, &w.row.Columns[i]); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// checkKey checks a key against the schema. A bound may hold InfMin and
// InfMax.
func (t *table) checkKey(key []plainbuffer.Cell, bound bool) error {
	if len(key) != len(t.key) {
		return failf(codeInvalidPK, "Validate PK size fail. Input: %d, Meta: %d.", len(key), len(t.key))
	}
	for i, c := range key {
		k := t.key[i]
		if string(c.Name) != k.Name {
			return failf(codeInvalidPK, "Validate PK name fail. Input: %s, Meta: %s.", c.Name, k.Name)
		}
		switch v := c.Value; {
		case v.Type() == plainbuffer.AutoIncrement:
			return unsupported("auto-increment key columns")
		case v.Type() == plainbuffer.InfMin || v.Type() == plainbuffer.InfMax:
			if !bound {
				return failf(codeParameterInvalid, "%s is an invalid type for the primary key.", typeName(v.Type()))
			}
		case v.Type() != k.Type:
			return failf(codeInvalidPK, "Validate PK type fail. Input: %s, Meta: %s.", typeName(v.Type()), typeName(k.Type))
		case len(v.Bytes()) > maxKeyBytes:
			return failf(codeParameterInvalid, "The length of primary key column '%s' exceeds the limit: %d, limit size: %d.", k.Name, len(v.Bytes()), maxKeyBytes)
		}
	}
	return nil
}

// checkColumn checks one column of a put or an update.
func (t *table) checkColumn(action tunnelpb.ActionType, c *plainbuffer.Cell) error {
	if len(c.Name) == 0 || len(c.Name) > maxNameLength {
		return failf(codeParameterInvalid, "Invalid column name: '%s' has %d bytes, must have 1 to %d.", c.Name, len(c.Name), maxNameLength)
	}
	if slices.ContainsFunc(t.key, func(k KeyColumn) bool { return k.Name == string(c.Name) }) {
		return failf(codeParameterInvalid, "Duplicated attribute column name with primary key column: '%s'.", c.Name)
	}
	if c.Op != plainbuffer.Put && action != tunnelpb.ActionType_UPDATE_ROW {
		return failf(codeParameterInvalid, "Only an update deletes columns: '%s'.", c.Name)
	}
	value := c.Value.Type()
	switch c.Op {
	case plainbuffer.Increment:
		return unsupported("atomic increments (column '" + string(c.Name) + "')")
	case plainbuffer.DeleteAllVersions, plainbuffer.DeleteOneVersion:
		if value != plainbuffer.None {
			return failf(codeParameterInvalid, "A deleted column has no value: '%s'.", c.Name)
		}
		if c.Op == plainbuffer.DeleteOneVersion && !c.HasTimestamp {
			return failf(codeParameterInvalid, "The version of column '%s' to delete is not specified.", c.Name)
		}
		return nil
	}
	switch value {
	case plainbuffer.Integer, plainbuffer.Double, plainbuffer.Boolean, plainbuffer.String, plainbuffer.Blob:
	default:
		return failf(codeParameterInvalid, "%s is an invalid type for the attribute column.", typeName(value))
	}
	if len(c.Value.Bytes()) > maxColumnBytes {
		return failf(codeParameterInvalid, "The length of attribute column '%s' exceeds the limit: %d, limit size: %d.", c.Name, len(c.Value.Bytes()), maxColumnBytes)
	}
	return nil
}

// typeName is a type as the service's errors write it.
func typeName(t plainbuffer.Type) string {
	switch t {
	case plainbuffer.Integer:
		return "INTEGER"
	case plainbuffer.Double:
		return "DOUBLE"
	case plainbuffer.Boolean:
		return "BOOLEAN"
	case plainbuffer.String:
		return "STRING"
	case plainbuffer.Blob:
		return "BINARY"
	case plainbuffer.InfMin:
		return "INF_MIN"
	case plainbuffer.InfMax:
		return "INF_MAX"
	case plainbuffer.AutoIncrement:
		return "AUTO_INCREMENT"
	case plainbuffer.None:
		return "NULL"
	}
	return fmt.Sprintf("%#x", uint8(t))
}
