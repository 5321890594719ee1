package emulator

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

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
	return cmp.Or(bytes.Compare(a.Name, b.Name), cmp.Compare(b.Timestamp, a.Timestamp))
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
