package emulator

import (
	"cmp"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// The order in which a base channel gives its rows: that of their keys, or one
// of its own, by a hash of the keys. Either way a token names a row by its key
// alone.

// sort brings the rows of a new base channel into its order. They are in key
// order.
func (ch *channel) sort(unordered bool) {
	if ch.unordered = unordered; unordered {
		ch.rows = slices.Clone(ch.rows)
		slices.SortFunc(ch.rows, func(a, b *row) int { return compareScattered(a.key, b.key) })
	}
}

// seek gives the place of the first row that is not ahead of a key, or of a
// bound.
func (ch *channel) seek(key []plainbuffer.Cell) int {
	compare := compareKeys
	if ch.unordered {
		compare = compareScattered
	}
	at, _ := slices.BinarySearchFunc(ch.rows, key, func(r *row, key []plainbuffer.Cell) int { return compare(r.key, key) })
	return at
}

// compareScattered orders keys in no order that anybody would guess. Bounds are
// before and behind all keys.
func compareScattered(a, b []plainbuffer.Cell) int {
	return cmp.Or(cmp.Compare(side(a), side(b)), cmp.Compare(scatter(a), scatter(b)), compareKeys(a, b))
}

func side(key []plainbuffer.Cell) int {
	switch key[0].Value.Type() {
	case plainbuffer.InfMin:
		return -1
	case plainbuffer.InfMax:
		return 1
	}
	return 0
}

func scatter(key []plainbuffer.Cell) uint64 {
	return xxhash.Sum64(plainbuffer.Append(nil, &plainbuffer.Row{Key: key}))
}

// bound is a key that is below or above all others.
func (t *table) bound(infinity plainbuffer.Type) []plainbuffer.Cell {
	key := make([]plainbuffer.Cell, len(t.key))
	for i, k := range t.key {
		key[i] = plainbuffer.Cell{Name: []byte(k.Name), Value: plainbuffer.BoundValue(infinity)}
	}
	return key
}
