package tunnel

import (
	"errors"
	"fmt"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// DecodedRecord is a record as a [Process] gets it.
type DecodedRecord struct {
	Action Action

	// Key is the primary key.
	Key []plainbuffer.Cell

	// Columns is what the change did: a PutRow has the whole row, an
	// UpdateRow the columns that it touched, a DeleteRow none. A column of
	// which several versions changed is there several times.
	Columns []plainbuffer.Cell

	// OldColumns are the columns as they were before the change, where the
	// tunnel carries them; else it is empty.
	OldColumns []plainbuffer.Cell

	// Sequence says where the record stands in its channel's log. Only if
	// HasSequence: base data has none.
	Sequence    plainbuffer.Sequence
	HasSequence bool

	// Record is the record as it came. Its bytes are never used again: they
	// may be kept.
	Record Record

	row, old plainbuffer.Row // their slices are used again
}

// KeyColumn returns the value of a column of the primary key; false if there
// is none of that name.
func (r *DecodedRecord) KeyColumn(name string) (plainbuffer.Value, bool) {
	return put(r.Key, name)
}

// Column returns the value that the change puts into a column: of several
// versions, the first that the record lists. It is false if the change puts
// nothing there; Columns tells whether it deleted the column instead.
func (r *DecodedRecord) Column(name string) (plainbuffer.Value, bool) {
	return put(r.Columns, name)
}

// OldColumn returns the value that a column had before the change, where the
// tunnel carries it.
func (r *DecodedRecord) OldColumn(name string) (plainbuffer.Value, bool) {
	return put(r.OldColumns, name)
}

func put(cells []plainbuffer.Cell, name string) (plainbuffer.Value, bool) {
	for i := range cells {
		if c := &cells[i]; c.Op == plainbuffer.Put && string(c.Name) == name {
			return c.Value, true
		}
	}
	return plainbuffer.NoValue(), false
}

// decode decodes rec into r, all of which it overwrites. On
// [plainbuffer.ErrChecksum] r is complete and usable.
func (r *DecodedRecord) decode(rec Record) error {
	err := rec.Decode(&r.row)
	r.Action = rec.Action
	r.Key, r.Columns, r.OldColumns = r.row.Key, r.row.Columns, nil
	r.Sequence, r.HasSequence = r.row.Sequence, r.row.HasSequence
	r.Record = rec
	if err != nil && !errors.Is(err, plainbuffer.ErrChecksum) || rec.Origin == nil {
		return err
	}
	old := r.old.Decode(rec.Origin)
	r.OldColumns = r.old.Columns
	if old == nil || errors.Is(old, plainbuffer.ErrChecksum) && err != nil {
		return err
	}
	return fmt.Errorf("the row before the change: %w", old)
}

// forget drops all that r has of its page, but for the slices' own memory:
// a record that waits for its next use must not keep a page alive.
func (r *DecodedRecord) forget() {
	*r = DecodedRecord{row: forgotten(r.row), old: forgotten(r.old)}
}

func forgotten(row plainbuffer.Row) plainbuffer.Row {
	clear(row.Key)
	clear(row.Columns)
	return plainbuffer.Row{Key: row.Key[:0], Columns: row.Columns[:0]}
}
