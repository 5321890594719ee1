package emulator

import (
	"iter"
	"math"
	"slices"
	"sort"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// row is a row as it stands. It never changes: a write puts another in its
// place, so that a snapshot of rows is a list of pointers.
type row struct {
	key []plainbuffer.Cell
	// columns are sorted by name, the versions of one column newest first.
	columns []plainbuffer.Cell
	// revision of the table that the row came with. The index sets it.
	revision uint64
}

// compareKeys orders keys of one table, or bounds with InfMin and InfMax in
// place of values.
func compareKeys(a, b []plainbuffer.Cell) int {
	for i := range min(len(a), len(b)) {
		if c := plainbuffer.Compare(a[i].Value, b[i].Value); c != 0 {
			return c
		}
	}
	return len(a) - len(b)
}

// index holds a table's rows in key order, as a list of short sorted blocks:
// a write moves a block's pointers and no more. No block is empty.
type index struct {
	blocks   [][]*row
	size     int
	revision uint64              // rises with every change
	changed  func(old, new *row) // called after every change, if set; nil rows: there is none
}

const blockRows = 256

// find gives the place of the first row whose key is not below key, and says
// whether it is key's own. The place may be one past a block's end.
func (x *index) find(key []plainbuffer.Cell) (block, i int, found bool) {
	// The last block that begins at or below key.
	block = sort.Search(len(x.blocks), func(i int) bool {
		return compareKeys(x.blocks[i][0].key, key) > 0
	}) - 1
	if block < 0 {
		return 0, 0, false
	}
	i, found = slices.BinarySearchFunc(x.blocks[block], key, func(r *row, key []plainbuffer.Cell) int {
		return compareKeys(r.key, key)
	})
	return block, i, found
}

// get gives the row of a key, nil if there is none.
func (x *index) get(key []plainbuffer.Cell) *row {
	block, i, found := x.find(key)
	if !found {
		return nil
	}
	return x.blocks[block][i]
}

// put adds r, in place of the row of its key if there is one.
func (x *index) put(r *row) {
	x.revision++
	r.revision = x.revision
	x.note(x.insert(r), r)
}

// note tells of a change.
func (x *index) note(old, new *row) {
	if x.changed != nil {
		x.changed(old, new)
	}
}

// insert gives the row that r takes the place of.
func (x *index) insert(r *row) (old *row) {
	block, i, found := x.find(r.key)
	if found {
		old, x.blocks[block][i] = x.blocks[block][i], r
		return old
	}
	x.size++
	if len(x.blocks) == 0 {
		x.blocks = [][]*row{{r}}
		return nil
	}
	b := slices.Insert(x.blocks[block], i, r)
	x.blocks[block] = b
	if len(b) > blockRows {
		half := slices.Clone(b[len(b)/2:])
		clear(b[len(b)/2:])
		x.blocks[block] = b[:len(b)/2]
		x.blocks = slices.Insert(x.blocks, block+1, half)
	}
	return nil
}

// remove takes the row of a key out, if there is one.
func (x *index) remove(key []plainbuffer.Cell) {
	block, i, found := x.find(key)
	if !found {
		return
	}
	x.size--
	x.revision++
	old := x.blocks[block][i]
	x.blocks[block] = slices.Delete(x.blocks[block], i, i+1)
	if len(x.blocks[block]) == 0 {
		x.blocks = slices.Delete(x.blocks, block, block+1)
	}
	x.note(old, nil)
}

// ascend gives the rows from start on, in key order. All of them: nil.
func (x *index) ascend(start []plainbuffer.Cell) iter.Seq[*row] {
	return func(yield func(*row) bool) {
		block, i, _ := x.find(start)
		for ; block < len(x.blocks); block, i = block+1, 0 {
			for _, r := range x.blocks[block][i:] {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// descend gives the rows from start on, in reverse order.
func (x *index) descend(start []plainbuffer.Cell) iter.Seq[*row] {
	return func(yield func(*row) bool) {
		block, i, found := x.find(start)
		if found {
			i++
		}
		for ; block >= 0 && block < len(x.blocks); block-- {
			for j := min(i, len(x.blocks[block])) - 1; j >= 0; j-- {
				if !yield(x.blocks[block][j]) {
					return
				}
			}
			i = math.MaxInt
		}
	}
}
