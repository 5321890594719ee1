package emulator

import (
	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// What calls consume: a unit for each 4 KiB begun.

func capacityUnit(read, write int32) *tablepb.CapacityUnit {
	return &tablepb.CapacityUnit{Read: &read, Write: &write}
}

// consumedReading is what reading so many bytes consumes, at least one unit.
func consumedReading(bytes int) *tablepb.ConsumedCapacity {
	return &tablepb.ConsumedCapacity{CapacityUnit: capacityUnit(units(bytes), 0)}
}

// consumed is what a write consumes: units of writing for the row, and of
// reading for the key if the row had to be looked at.
func (w *write) consumed() *tablepb.ConsumedCapacity {
	var read int32
	if w.expect != tablepb.RowExistenceExpectation_IGNORE || w.condition != nil || w.increments(nil) {
		read = units(dataSize(w.row.Key))
	}
	return &tablepb.ConsumedCapacity{CapacityUnit: capacityUnit(read, units(dataSize(w.row.Key)+dataSize(w.row.Columns)))}
}

func units(bytes int) int32 { return int32(max(1, (bytes+4095)/4096)) }

// dataSize is how many bytes of a batch the write is: those of names and values,
// and 8 for each version that is named.
func (w *write) dataSize() int {
	n := dataSize(w.row.Key) + dataSize(w.row.Columns)
	for _, c := range w.row.Columns {
		if c.HasTimestamp {
			n += 8
		}
	}
	return n
}

// dataSize is how many bytes the service counts for cells: of names and
// values. It counts the versions too where there are many; that is left out.
func dataSize(cells []plainbuffer.Cell) int {
	n := 0
	for _, c := range cells {
		n += len(c.Name)
		switch c.Value.Type() {
		case plainbuffer.Integer, plainbuffer.Double, plainbuffer.AutoIncrement:
			n += 8
		case plainbuffer.Boolean:
			n++
		default:
			n += len(c.Value.Bytes())
		}
	}
	return n
}
