package emulator

import (
	"iter"
	"regexp"
	"slices"
	"time"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

const (
	maxKeyColumns  = 4
	maxStreamHours = 168 // also of a stream that a tunnel turns on
)

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)

// tunnelNameForm is wider: no document says which names of tunnels the
// service refuses, and one that a user has there must not be refused here.
var tunnelNameForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// table is rows, and the log of their changes by partition.
type table struct {
	name    string
	key     []KeyColumn
	created time.Time
	clock   *clock

	mu   keepingRWMutex
	kept *keptTable // nil: in memory alone
	options
	reserved    throughput
	defined     []definedColumn
	rows        index
	lastAuto    int64        // the last value given to an auto-increment column
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
		return nil, invalidTableName(spec.Name)
	}
	if len(spec.Key) < 1 || len(spec.Key) > maxKeyColumns {
		return nil, keyColumnsOutOfRange()
	}
	for i, k := range spec.Key {
		if !nameForm.MatchString(k.Name) {
			return nil, invalidColumnName(k.Name)
		}
		if slices.ContainsFunc(spec.Key[:i], func(o KeyColumn) bool { return o.Name == k.Name }) {
			return nil, failf(codeParameterInvalid, "Duplicated primary key name: '%s'.", k.Name)
		}
		switch k.Type {
		case plainbuffer.Integer, plainbuffer.String, plainbuffer.Blob:
		default:
			return nil, failf(codeParameterInvalid, "Invalid type of primary key column '%s': only INTEGER, STRING and BINARY are allowed.", k.Name)
		}
		switch {
		case !k.AutoIncrement:
		case i == 0:
			return nil, failf(codeParameterInvalid, "first primary key can't be AUTO_INCREMENT.")
		case k.Type != plainbuffer.Integer:
			return nil, failf(codeParameterInvalid, "Only an INTEGER primary key column can be auto-increment: '%s'.", k.Name)
		case slices.ContainsFunc(spec.Key[:i], func(o KeyColumn) bool { return o.AutoIncrement }):
			return nil, failf(codeParameterInvalid, "Only one primary key column can be auto-increment: '%s' is another.", k.Name)
		}
	}
	o := options{timeToLive: forever, maxVersions: spec.MaxVersions, deviation: defaultDeviation, allowUpdate: true}
	if spec.TimeToLive != 0 {
		if o.timeToLive = int64(spec.TimeToLive / time.Second); spec.TimeToLive%time.Second != 0 || o.timeToLive < minTimeToLive {
			return nil, failf(codeParameterInvalid, "The time to live must be 0 (for ever) or whole seconds, at least %d, not %v.", minTimeToLive, spec.TimeToLive)
		}
	}
	if err := o.check(); err != nil {
		return nil, err
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
	now := clock.now()
	t := &table{
		name:       spec.Name,
		key:        slices.Clone(spec.Key),
		options:    o,
		reserved:   throughput{raised: now},
		created:    now,
		clock:      clock,
		partitions: newPartitions(spec.Partitions),
		splitBytes: spec.SplitBytes,
	}
	t.live = slices.Clone(t.partitions)
	if spec.StreamHours > 0 {
		t.enableStream(spec.StreamHours)
		t.originColumns = slices.Clone(spec.OriginColumns)
	}
	return t, nil
}

// get gives a row as it is visible, nil if there is none.
func (t *table) get(key []plainbuffer.Cell) *row {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.visible(t.rows.get(key), t.clock.now())
}

// scan gives the rows as they are visible at now, in key order. The lock is
// held.
func (t *table) scan(now time.Time) iter.Seq[*row] {
	return func(yield func(*row) bool) {
		for r := range t.rows.ascend(nil) {
			if r = t.visible(r, now); r != nil && !yield(r) {
				return
			}
		}
	}
}
