package emulator

import (
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

const (
	maxKeyColumns  = 4
	maxStreamHours = 168 // also of a stream that a tunnel turns on
	defaultDrift   = 24 * time.Hour
)

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)

// tunnelNameForm is wider: no document says which names of tunnels the
// service refuses, and one that a user has there must not be refused here.
var tunnelNameForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// table is rows, and the log of their changes by partition.
type table struct {
	name        string
	key         []KeyColumn
	maxVersions int
	drift       time.Duration // how far a version may be from the time of its write
	created     time.Time
	clock       *clock

	mu          sync.RWMutex
	rows        index
	partitions  []*partition // all that there have been, by number
	live        []*partition // those that have not been split, by range
	streamID    string       // empty: no stream is kept
	streamHours int
	streamFrom  time.Time
	// originColumns are those whose values before a change its record carries.
	originColumns []string
	splitBytes    int64 // written to a partition, beyond which it is split; 0: none is
}

func newTable(spec TableSpec, clock *clock) (*table, error) {
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
	if spec.SplitBytes < 0 || spec.SplitBytes > maxSplitBytes {
		return nil, failf(codeParameterInvalid, "A partition cannot be split at %d bytes.", spec.SplitBytes)
	}
	if spec.StreamHours < 0 || spec.StreamHours > maxStreamHours {
		return nil, failf(codeParameterInvalid, "The stream's expiration time must be in range: [1, %d] hours, not %d.", maxStreamHours, spec.StreamHours)
	}
	t := &table{
		name:        spec.Name,
		key:         slices.Clone(spec.Key),
		maxVersions: spec.MaxVersions,
		drift:       defaultDrift,
		created:     clock.now(),
		clock:       clock,
		partitions:  newPartitions(spec.Partitions),
		splitBytes:  spec.SplitBytes,
	}
	t.live = slices.Clone(t.partitions)
	if spec.StreamHours > 0 {
		t.enableStream(spec.StreamHours)
		t.originColumns = slices.Clone(spec.OriginColumns)
	}
	return t, nil
}

// write applies one write: the row, and the log if there is a stream.
func (t *table) write(w *write) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.now()
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

	for i := range w.row.Columns {
		if c := &w.row.Columns[i]; c.Op == plainbuffer.Put && !c.HasTimestamp {
			c.HasTimestamp, c.Timestamp = true, now.UnixMilli()
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
	t.record(w.action, &w.row, w.size, old, now)
	return nil
}

// get gives a row, nil if there is none.
func (t *table) get(key []plainbuffer.Cell) *row {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.rows.get(key)
}
