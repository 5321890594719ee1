package emulator

import (
	"slices"
	"time"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
)

// throughput is what is reserved for a table. It is kept and told; nothing is
// throttled.
type throughput struct {
	read, write     int32
	raised, lowered time.Time // lowered is zero if it never was
}

// with is the throughput after a request for another one at now.
func (r throughput) with(q *tablepb.ReservedThroughput, now time.Time) (throughput, error) {
	unit := q.GetCapacityUnit()
	next := r
	if unit.Read != nil {
		next.read = unit.GetRead()
	}
	if unit.Write != nil {
		next.write = unit.GetWrite()
	}
	if next.read < 0 || next.write < 0 {
		return r, failf(codeParameterInvalid, "The reserved throughput must not be negative: %d for reading, %d for writing.", next.read, next.write)
	}
	if next.read > r.read || next.write > r.write {
		next.raised = now
	}
	if next.read < r.read || next.write < r.write {
		next.lowered = now
	}
	return next, nil
}

func (r throughput) message() *tablepb.ReservedThroughputDetails {
	m := &tablepb.ReservedThroughputDetails{
		CapacityUnit:     capacityUnit(r.read, r.write),
		LastIncreaseTime: new(r.raised.Unix()),
	}
	if !r.lowered.IsZero() {
		m.LastDecreaseTime = new(r.lowered.Unix())
	}
	return m
}

// updateTable changes a table's options, its throughput and its stream, all
// that are named or nothing. What it changes holds for the next call. The
// service asks for two minutes between updates of one table; the emulator does
// not.
func (e *Emulator) updateTable(q *tablepb.UpdateTableRequest) (*tablepb.UpdateTableResponse, error) {
	t, err := e.table(q.GetTableName())
	if err != nil {
		return nil, err
	}
	if q.TableOptions == nil && q.ReservedThroughput == nil && q.StreamSpec == nil {
		return nil, failf(codeParameterInvalid, "Neither table options nor reserved throughput nor a stream is specified to update the table.")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	o, reserved := t.options, t.reserved
	if q.TableOptions != nil {
		if q.TableOptions.UpdateFullRow != nil {
			return nil, failf(codeParameterInvalid, "The table options to update cannot contain updateFullRow.")
		}
		if o, err = o.with(q.TableOptions); err != nil {
			return nil, err
		}
	}
	if q.ReservedThroughput != nil {
		if reserved, err = reserved.with(q.ReservedThroughput, t.clock.now()); err != nil {
			return nil, err
		}
	}
	if q.StreamSpec != nil {
		if err := t.updateStream(q.StreamSpec); err != nil {
			return nil, err
		}
	}
	t.options, t.reserved = o, reserved
	return &tablepb.UpdateTableResponse{
		ReservedThroughputDetails: t.reserved.message(),
		TableOptions:              t.options.message(),
		StreamDetails:             t.streamDetails(),
	}, nil
}

// updateStream turns the table's stream on or off. The lock is held. Of one
// that is on, the columns that records carry as they were can change, but not
// how long it keeps its changes: so says the service's document.
func (t *table) updateStream(q *tablepb.StreamSpecification) error {
	if !q.GetEnableStream() {
		if t.streamID != "" {
			t.disableStream()
		}
		return nil
	}
	hours, err := streamHours(q)
	if err != nil {
		return err
	}
	if t.streamID != "" && t.streamHours != hours {
		return failf(codeParameterInvalid, "The stream's expiration time is %d hours and cannot be changed to %d: turn the stream off first.", t.streamHours, hours)
	}
	t.enableStream(hours)
	t.originColumns = slices.Clone(q.GetColumnsToGet())
	return nil
}

// streamHours is how long a stream that is turned on keeps its changes.
func streamHours(q *tablepb.StreamSpecification) (int, error) {
	hours := int(q.GetExpirationTime())
	if hours < 1 || hours > maxStreamHours {
		return 0, failf(codeParameterInvalid, "The stream's expiration time must be in range: [1, %d] hours, not %d.", maxStreamHours, hours)
	}
	return hours, nil
}

// streamDetails is how calls tell the stream. The lock is held.
func (t *table) streamDetails() *tablepb.StreamDetails {
	if t.streamID == "" {
		return &tablepb.StreamDetails{EnableStream: new(false)}
	}
	return &tablepb.StreamDetails{
		EnableStream:   new(true),
		StreamId:       new(t.streamID),
		ExpirationTime: new(int32(t.streamHours)),
		LastEnableTime: new(t.streamFrom.UnixMicro()),
		ColumnsToGet:   t.originColumns,
	}
}
