package emulator

import (
	"bytes"
	"math"
	"slices"
	"time"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// options are what UpdateTable changes of a table.
type options struct {
	timeToLive  int64 // seconds; forever: for ever
	maxVersions int
	deviation   int64 // seconds that a version may be from the time of its write
	allowUpdate bool  // UpdateRow is allowed
}

const (
	forever          = -1
	minTimeToLive    = 86400
	defaultDeviation = 86400
)

// with are the options after a request that names some of them.
func (o options) with(q *tablepb.TableOptions) (options, error) {
	if q.TimeToLive != nil {
		o.timeToLive = int64(q.GetTimeToLive())
	}
	if q.MaxVersions != nil {
		o.maxVersions = int(q.GetMaxVersions())
	}
	if q.DeviationCellVersionInSec != nil {
		o.deviation = q.GetDeviationCellVersionInSec()
	}
	if q.AllowUpdate != nil {
		o.allowUpdate = q.GetAllowUpdate()
	}
	return o, o.check()
}

func (o options) check() error {
	switch {
	case o.timeToLive != forever && o.timeToLive < minTimeToLive:
		return failf(codeParameterInvalid, "The time to live must be -1 (for ever) or at least %d seconds, not %d.", minTimeToLive, o.timeToLive)
	case o.maxVersions < 1:
		return failf(codeParameterInvalid, "The max versions must be at least 1, not %d.", o.maxVersions)
	case o.deviation < 1:
		return failf(codeParameterInvalid, "The deviation of cell versions must be at least 1 second, not %d.", o.deviation)
	}
	return nil
}

// message is how calls tell the options.
func (o options) message() *tablepb.TableOptions {
	return &tablepb.TableOptions{
		TimeToLive:                new(int32(o.timeToLive)),
		MaxVersions:               new(int32(o.maxVersions)),
		DeviationCellVersionInSec: new(o.deviation),
		AllowUpdate:               new(o.allowUpdate),
		UpdateFullRow:             new(false),
	}
}

// oldest is the oldest version that has not expired, milliseconds.
func (o options) oldest(now time.Time) int64 {
	if o.timeToLive == forever {
		return 0
	}
	return now.UnixMilli() - o.timeToLive*1000
}

// writable is the range of versions that may be written: from first to before
// end, milliseconds.
func (o options) writable(now time.Time) (first, end int64) {
	ms := now.UnixMilli()
	first, end = 0, math.MaxInt64
	if o.deviation < (math.MaxInt64-ms)/1000 {
		first, end = ms-o.deviation*1000, ms+o.deviation*1000
	}
	return max(0, first, o.oldest(now)), end
}

// visible is r, which may be nil, as everybody sees it: without the cells that
// have expired and without the versions beyond the newest ones that the table
// keeps. Nothing is left, nil, of a row all of whose cells have expired. A row
// that was written without any stays. The stream does not tell what expires.
func (o options) visible(r *row, now time.Time) *row {
	if r == nil || o.whole(r, now) {
		return r
	}
	oldest := o.oldest(now)
	columns := slices.DeleteFunc(slices.Clone(r.columns), func(c plainbuffer.Cell) bool { return c.Timestamp < oldest })
	if len(columns) == 0 {
		return nil
	}
	return &row{key: r.key, columns: newest(columns, o.maxVersions)}
}

// whole says whether all of r is visible.
func (o options) whole(r *row, now time.Time) bool {
	oldest, run := o.oldest(now), 0
	for i, c := range r.columns {
		if i > 0 && bytes.Equal(c.Name, r.columns[i-1].Name) {
			run++
		} else {
			run = 0
		}
		if c.Timestamp < oldest || run >= o.maxVersions {
			return false
		}
	}
	return true
}
