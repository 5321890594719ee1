package batch

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// LaneHashVersion is the version of [LaneOf]. It is part of a trigger's
// layout: a change of the function would move keys to other lanes, past
// their own earlier records.
const LaneHashVersion = 1

// LaneOf says which of a trigger's lanes a record belongs to, 0 to parallel,
// exclusive. keyBytes is the record's encoded primary key
// (plainbuffer.Row.KeyBytes), parallel at least 1.
//
// It is the high 64 bits of the 128-bit product of parallel and the
// xxhash64, seed 0, of the key.
func LaneOf(keyBytes []byte, parallel int) int {
	if parallel <= 1 {
		return 0
	}
	lane, _ := bits.Mul64(xxhash.Sum64(keyBytes), uint64(parallel))
	return int(lane)
}
