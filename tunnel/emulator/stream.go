package emulator

import (
	"slices"
	"time"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// A table's stream: the logs of its partitions.

// record notes a write that has been applied: in the log, if a stream is kept,
// and in how much has been written to the row's partition, which may split it.
// size is the encoded row's, in bytes; old is the row as it was, nil if there
// was none. The lock is held.
func (t *table) record(action tunnelpb.ActionType, r *plainbuffer.Row, size int, old *row, now time.Time) {
	p := t.partition(r.Key)
	if t.streamID != "" {
		p.log.trim(t.expiredAt(now))
		p.log.append(action, r, t.origin(old), t.clock.stamp(now, p.splits()))
	}
	p.written += int64(size)
	if t.splitBytes > 0 && p.written >= t.splitBytes {
		// One that cannot be split goes on as it is.
		_, _ = t.split(p)
	}
}

// origin is what records carry of the row as it was: its key and the columns
// that the stream is asked to carry. nil: nothing.
func (t *table) origin(old *row) *plainbuffer.Row {
	if old == nil || len(t.originColumns) == 0 {
		return nil
	}
	r := &plainbuffer.Row{Key: old.key}
	for _, c := range old.columns {
		if slices.Contains(t.originColumns, string(c.Name)) {
			r.Columns = append(r.Columns, c)
		}
	}
	return r
}

// enableStream begins to keep changes. The lock is held, or the table is not
// yet known to anybody.
func (t *table) enableStream(hours int) {
	if t.streamID == "" {
		t.streamID, t.streamHours, t.streamFrom = newID(), hours, t.clock.now()
		for _, p := range t.partitions {
			p.forgotten = p.ended
		}
	}
}

// disableStream forgets the changes and keeps no more. Tunnels that read them
// have expired. The lock is held.
func (t *table) disableStream() {
	t.streamID, t.streamHours, t.originColumns = "", 0, nil
	for _, p := range t.partitions {
		p.log.drop(len(p.log.entries))
	}
}

// expiredAt is the time before which changes have expired at now,
// microseconds.
func (t *table) expiredAt(now time.Time) int64 {
	return now.Add(-time.Duration(t.streamHours) * time.Hour).UnixMicro()
}

// trim drops the changes that have expired.
func (t *table) trim(now time.Time) {
	due := func(p *partition) bool {
		return len(p.log.entries) > 0 && p.log.entries[0].timestamp < t.expiredAt(now)
	}
	t.mu.RLock()
	some := slices.ContainsFunc(t.partitions, due)
	t.mu.RUnlock()
	if !some {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.partitions {
		if due(p) {
			p.log.trim(t.expiredAt(now))
		}
	}
}
