package emulator

import (
	"bytes"
	"math"
	"slices"
	"time"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// How writes become rows and records: each is judged by the row as it stands,
// which gives a change; changes are committed together, in one place.

// change is what a write makes of a row.
type change struct {
	action tunnelpb.ActionType
	// record is what the stream tells: the key that the server chose, every
	// version that is put, and for an increment a put of its result. That a
	// record looks so is a guess: no document shows one.
	record plainbuffer.Row
	size   int // bytes of the write as it was sent

	before, after *row // the row as it was visible, and as it is now; nil: none
}

// write judges writes, each as those before it leave the rows, and makes them
// all, or none if one of them may not be made.
func (t *table) write(writes ...*write) ([]change, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.now()
	changes := make([]change, 0, len(writes))
	for _, w := range writes {
		key := t.keyOf(w, now)
		c, err := t.judge(w, key, t.rowAfter(changes, key, now), now)
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	t.commit(changes, now)
	return changes, nil
}

// rowAfter is the visible row of a key after changes that are yet to be
// committed, nil if there is none.
func (t *table) rowAfter(changes []change, key []plainbuffer.Cell, now time.Time) *row {
	for _, c := range slices.Backward(changes) {
		if compareKeys(c.record.Key, key) == 0 {
			return c.after
		}
	}
	return t.visible(t.rows.get(key), now)
}

// keyOf is the key of the row that is written. A placeholder gets its value:
// it rises strictly in the whole table, which is more than the service says,
// and looks like a time in microseconds, which is a guess.
func (t *table) keyOf(w *write, now time.Time) []plainbuffer.Cell {
	key := w.row.Key
	for i, c := range key {
		if c.Value.Type() == plainbuffer.AutoIncrement {
			t.lastAuto = max(t.lastAuto+1, now.UnixMicro())
			key = slices.Clone(key)
			key[i].Value = plainbuffer.IntegerValue(t.lastAuto)
		}
	}
	return key
}

// judge says what a write makes of the row that is there before it, nil if
// there is none.
func (t *table) judge(w *write, key []plainbuffer.Cell, before *row, now time.Time) (change, error) {
	if w.action == tunnelpb.ActionType_UPDATE_ROW && !t.allowUpdate {
		return change{}, failf(codeParameterInvalid, "Update operation is not allowed in this table")
	}
	if err := w.judgeExpectation(t); err != nil {
		return change{}, err
	}
	if err := w.judgeVersions(t.writable(now)); err != nil {
		return change{}, err
	}
	if !w.accepts(key, before) {
		return change{}, failf(codeConditionCheckFail, "Condition check failed.")
	}
	columns, err := w.columnsAt(before, now)
	if err != nil {
		return change{}, err
	}
	c := change{action: w.action, record: w.row, size: w.size, before: before}
	c.record.Key, c.record.Columns = key, columns
	switch w.action {
	case tunnelpb.ActionType_PUT_ROW:
		c.after = &row{key: key, columns: applyColumns(nil, columns, t.maxVersions)}
	case tunnelpb.ActionType_UPDATE_ROW:
		var old []plainbuffer.Cell
		if before != nil {
			old = before.columns
		}
		old = applyColumns(old, columns, t.maxVersions)
		// Deleting columns of a row that is not there does not make it.
		if before != nil || len(old) > 0 {
			c.after = &row{key: key, columns: old}
		}
	}
	return c, nil
}

// commit puts changes into the rows and the stream. Nothing else does. The
// lock is held.
func (t *table) commit(changes []change, now time.Time) {
	for i := range changes {
		c := &changes[i]
		if c.after != nil {
			t.rows.put(c.after)
		} else {
			t.rows.remove(c.record.Key)
		}
		t.record(c.action, &c.record, c.size, c.before, now)
	}
}

// judgeExpectation refuses what a table does not accept whose server gives
// values of the key: a placeholder makes a row and expects nothing, a value
// names a row that must be there, and no row can be expected to be missing. So
// says the service's document of the feature, but for deletions, where it
// contradicts itself: any row can be deleted here.
func (w *write) judgeExpectation(t *table) error {
	auto := slices.IndexFunc(t.key, func(k KeyColumn) bool { return k.AutoIncrement })
	if auto < 0 {
		return nil
	}
	var ok bool
	switch w.expect {
	case tablepb.RowExistenceExpectation_IGNORE:
		ok = w.action == tunnelpb.ActionType_DELETE_ROW || w.row.Key[auto].Value.Type() == plainbuffer.AutoIncrement
	case tablepb.RowExistenceExpectation_EXPECT_EXIST:
		ok = w.row.Key[auto].Value.Type() != plainbuffer.AutoIncrement
	}
	if !ok {
		return failf(codeParameterInvalid, "Invalid expect:%v when modify row with pk auto increment", w.expect)
	}
	return nil
}

// judgeVersions refuses versions that are not from first to before end.
func (w *write) judgeVersions(first, end int64) error {
	for _, c := range w.row.Columns {
		if c.Op == plainbuffer.Put && c.HasTimestamp && (c.Timestamp < first || c.Timestamp >= end) {
			return failf(codeParameterInvalid, "Invalid timestamp. Cell:%s. Timestamp:%d. MinTimestamp:%d. MaxTimestamp:%d.", c.Name, c.Timestamp, first, end)
		}
	}
	return nil
}

// accepts says whether the row, nil if there is none, is as the write expects
// it.
func (w *write) accepts(key []plainbuffer.Cell, before *row) bool {
	switch w.expect {
	case tablepb.RowExistenceExpectation_EXPECT_EXIST:
		if before == nil {
			return false
		}
	case tablepb.RowExistenceExpectation_EXPECT_NOT_EXIST:
		if before != nil {
			return false
		}
	}
	if w.condition == nil {
		return true
	}
	r := plainbuffer.Row{Key: key}
	if before != nil {
		r.Columns = before.columns
	}
	return w.condition.holds(&r)
}

// columnsAt are the columns of a write at now: with a version for each that is
// put, and puts for increments.
func (w *write) columnsAt(before *row, now time.Time) ([]plainbuffer.Cell, error) {
	columns := slices.Clone(w.row.Columns)
	for i := range columns {
		c := &columns[i]
		switch {
		case c.Op == plainbuffer.Put && !c.HasTimestamp:
			c.HasTimestamp, c.Timestamp = true, now.UnixMilli()
		case c.Op == plainbuffer.Increment:
			if err := increment(c, before, now); err != nil {
				return nil, err
			}
		}
	}
	return columns, nil
}

// increment makes a put of an increment: of the newest version's value, 0 if
// there is none. The result is a new version, or replaces one that is as new
// as now or newer: else the next increment would not see this one.
func increment(c *plainbuffer.Cell, before *row, now time.Time) error {
	base, version := int64(0), now.UnixMilli()
	if before != nil {
		at, _ := slices.BinarySearchFunc(before.columns, plainbuffer.Cell{Name: c.Name, Timestamp: math.MaxInt64}, compareVersions)
		if at < len(before.columns) && bytes.Equal(before.columns[at].Name, c.Name) {
			old := before.columns[at]
			if old.Value.Type() != plainbuffer.Integer {
				return failf(codeParameterInvalid, "Only integers are incremented: column '%s' holds a %s.", c.Name, typeName(old.Value.Type()))
			}
			base, version = old.Value.Integer(), max(version, old.Timestamp)
		}
	}
	by := c.Value.Integer()
	if sum := base + by; (sum > base) == (by > 0) {
		c.Op, c.Value, c.HasTimestamp, c.Timestamp = plainbuffer.Put, plainbuffer.IntegerValue(sum), true, version
		return nil
	}
	return failf(codeParameterInvalid, "Column '%s' cannot be incremented by %d: the sum is not an integer of 64 bits.", c.Name, by)
}
