package emulator

import (
	"strings"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// The units of split sizes.
const (
	splitUnit    = 100 << 20
	minSplitUnit = 1 << 20
)

// locationLength is the length of the name of a machine.
const locationLength = 32

// computeSplitPointsBySize cuts the table's rows into parts of about one size.
// All of them lie on one machine.
func (e *Emulator) computeSplitPointsBySize(q *tablepb.ComputeSplitPointsBySizeRequest) (*tablepb.ComputeSplitPointsBySizeResponse, error) {
	t, err := e.table(q.GetTableName())
	if err != nil {
		return nil, err
	}
	unit := int64(splitUnit)
	if q.SplitSizeUnitInByte != nil {
		unit = q.GetSplitSizeUnitInByte()
	}
	switch {
	case q.GetSplitSize() < 1:
		return nil, failf(codeParameterInvalid, "The split_size should be greater than 0.")
	case unit < minSplitUnit:
		return nil, failf(codeParameterInvalid, "The split_size_unit_in_byte should be greater equal than: %d", minSplitUnit)
	case q.SplitPointLimit != nil && q.GetSplitPointLimit() < 1:
		return nil, failf(codeParameterInvalid, "The split_point_limit should be greater than 0.")
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	answer := &tablepb.ComputeSplitPointsBySizeResponse{Schema: t.schema()}
	size, points := int64(0), 0
	for r := range t.scan(t.clock.now()) {
		if q.SplitPointLimit != nil && points == int(q.GetSplitPointLimit()) {
			break
		}
		if size/unit >= q.GetSplitSize() {
			answer.SplitPoints = append(answer.SplitPoints, plainbuffer.Append(nil, &plainbuffer.Row{Key: r.key}))
			size, points = 0, points+1
		}
		size += int64(dataSize(r.key) + dataSize(r.columns))
	}
	answer.Locations = []*tablepb.ComputeSplitPointsBySizeResponse_SplitLocation{
		{Location: new(strings.Repeat("0", locationLength)), Repeat: new(int64(points + 1))},
	}
	// A unit for each part: a guess.
	answer.Consumed = &tablepb.ConsumedCapacity{CapacityUnit: capacityUnit(int32(points+1), 0)}
	return answer, nil
}
