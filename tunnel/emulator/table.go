package emulator

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// The service's limits.
const (
	maxKeyColumns  = 4
	maxKeyBytes    = 1 << 10 // of a string or binary key column
	maxColumnBytes = 2 << 20 // of a string or binary attribute column
	maxColumns     = 1024    // of one write
	maxNameLength  = 255
	maxStreamHours = 168 // also of a stream that a tunnel turns on
	defaultDrift   = 24 * time.Hour
)

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)

// table is rows, and the log of their changes by partition.
type table struct {
	name        string
	key         []KeyColumn
	maxVersions int
	drift       time.Duration // how far a version may be from the time of its write
	created     time.Time

	mu         sync.RWMutex
	rows       index
	partitions []*partition
	clock      int64  // microseconds; the latest write's time, never stepping back
	streamID   string // empty: no stream is kept
	streamHrs  int
	streamFrom time.Time
}

// partition has the rows whose hash falls to it, and the log of their
// changes.
type partition struct {
	number int // in the table, from 0
	log    changeLog
}

func newTable(spec TableSpec) (*table, error) {
	if !nameForm.MatchString(spec.Name) {
		return nil, failf(codeParameterInvalid, "Invalid table name: '%s'.", spec.Name)
	}
	if len(spec.Key) < 1 || len(spec.Key) > maxKeyColumns {
		return nil, failf(codeParameterInvalid, "The number of primary key columns must be in range: [1, %d], not %d.", maxKeyColumns, len(spec.Key))
	}
	for i, k := range spec.Key {
		if !nameForm.MatchString(k.Name) {
			return nil, failf(codeParameterInvalid, "Invalid column name: '%s'.", k.Name)
		}
		if slices.ContainsFunc(spec.Key[:i], func(o KeyColumn) bool { return o.Name == k.Name }) {
			return nil, failf(codeParameterInvalid, "Duplicated primary key name: '%s'.", k.Name)
		}
		switch k.Type {
		case plainbuffer.Integer, plainbuffer.String, plainbuffer.Blob:
		default:
			return nil, failf(codeParameterInvalid, "Invalid type of primary key column '%s': only INTEGER, STRING and BINARY are allowed.", k.Name)
		}
	}
	if spec.MaxVersions < 1 {
		return nil, failf(codeParameterInvalid, "The max versions must be at least 1, not %d.", spec.MaxVersions)
	}
	if spec.Partitions < 1 || spec.Partitions > maxPartitions {
		return nil, failf(codeParameterInvalid, "The number of partitions must be in range: [1, %d], not %d.", maxPartitions, spec.Partitions)
	}
	if spec.StreamHours < 0 || spec.StreamHours > maxStreamHours {
		return nil, failf(codeParameterInvalid, "The stream's expiration time must be in range: [1, %d] hours, not %d.", maxStreamHours, spec.StreamHours)
	}
	t := &table{
		name:        spec.Name,
		key:         slices.Clone(spec.Key),
		maxVersions: spec.MaxVersions,
		drift:       defaultDrift,
		created:     time.Now(),
	}
	for i := range spec.Partitions {
		t.partitions = append(t.partitions, &partition{number: i})
	}
	if spec.StreamHours > 0 {
		t.enableStream(spec.StreamHours)
	}
	return t, nil
}

// enableStream begins to keep changes. The lock is held, or the table is not
// yet known to anybody.
func (t *table) enableStream(hours int) {
	if t.streamID == "" {
		t.streamID, t.streamHrs, t.streamFrom = newID(), hours, time.Now()
	}
}

// partition of a key: by hash of the first key column, in equal ranges of
// hashes, so that it can be split into ranges.
func (t *table) partition(key []plainbuffer.Cell) *partition {
	v := key[0].Value
	var h uint64
	if v.Type() == plainbuffer.Integer {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(v.Integer()))
		h = xxhash.Sum64(b[:])
	} else {
		h = xxhash.Sum64(v.Bytes())
	}
	// The upper 32 bits, scaled to the number of partitions.
	return t.partitions[(h>>32)*uint64(len(t.partitions))>>32]
}

// write is a change that has been checked. It owns its row.
type write struct {
	action tunnelpb.ActionType
	row    plainbuffer.Row
	expect tablepb.RowExistenceExpectation
	size   int // bytes of the encoded row
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

// write applies one write: the row, and the log if there is a stream.
func (t *table) write(w *write) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for i := range w.row.Columns {
		c := &w.row.Columns[i]
		if c.Op == plainbuffer.Put && c.HasTimestamp {
			if d := now.Sub(time.UnixMilli(c.Timestamp)); d.Abs() > t.drift {
				return failf(codeParameterInvalid, "The version of column '%s' is %d, more than %v from the time of the write.", c.Name, c.Timestamp, t.drift)
			}
		}
	}
	old := t.rows.get(w.row.Key)
	switch {
	case w.expect == tablepb.RowExistenceExpectation_EXPECT_EXIST && old == nil,
		w.expect == tablepb.RowExistenceExpectation_EXPECT_NOT_EXIST && old != nil:
		return failf(codeConditionCheckFail, "Condition check failed.")
	}

	t.clock = max(t.clock, now.UnixMicro())
	for i := range w.row.Columns {
		if c := &w.row.Columns[i]; c.Op == plainbuffer.Put && !c.HasTimestamp {
			c.HasTimestamp, c.Timestamp = true, t.clock/1000
		}
	}
	switch w.action {
	case tunnelpb.ActionType_PUT_ROW:
		t.rows.put(&row{key: w.row.Key, columns: applyColumns(nil, w.row.Columns, t.maxVersions)})
	case tunnelpb.ActionType_UPDATE_ROW:
		var columns []plainbuffer.Cell
		if old != nil {
			columns = old.columns
		}
		columns = applyColumns(columns, w.row.Columns, t.maxVersions)
		// Deleting columns of a row that is not there does not make it.
		if old != nil || len(columns) > 0 {
			t.rows.put(&row{key: w.row.Key, columns: columns})
		}
	case tunnelpb.ActionType_DELETE_ROW:
		t.rows.remove(w.row.Key)
	}
	if t.streamID != "" {
		t.partition(w.row.Key).log.append(w.action, &w.row, t.clock)
	}
	return nil
}

// get gives a row, nil if there is none.
func (t *table) get(key []plainbuffer.Cell) *row {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.rows.get(key)
}

// applyColumns gives the columns that changes, in their order, make of old,
// which it leaves alone.
func applyColumns(old, changes []plainbuffer.Cell, maxVersions int) []plainbuffer.Cell {
	columns := make([]plainbuffer.Cell, len(old), len(old)+len(changes))
	copy(columns, old)
	for _, c := range changes {
		at, found := slices.BinarySearchFunc(columns, c, compareVersions)
		switch c.Op {
		case plainbuffer.Put:
			if found {
				columns[at] = c
			} else {
				columns = slices.Insert(columns, at, c)
			}
		case plainbuffer.DeleteOneVersion:
			if found {
				columns = slices.Delete(columns, at, at+1)
			}
		case plainbuffer.DeleteAllVersions:
			columns = slices.DeleteFunc(columns, func(o plainbuffer.Cell) bool { return bytes.Equal(o.Name, c.Name) })
		}
	}
	return newest(columns, maxVersions)
}

// compareVersions orders cells by name, then newest first.
func compareVersions(a, b plainbuffer.Cell) int {
	if c := bytes.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	switch {
	case a.Timestamp > b.Timestamp:
		return -1
	case a.Timestamp < b.Timestamp:
		return 1
	}
	return 0
}

// newest keeps the first n versions of each column, in place.
func newest(columns []plainbuffer.Cell, n int) []plainbuffer.Cell {
	kept, run := columns[:0], 0
	for i, c := range columns {
		if i > 0 && bytes.Equal(c.Name, columns[i-1].Name) {
			run++
		} else {
			run = 0
		}
		if run < n {
			kept = append(kept, c)
		}
	}
	return kept
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
