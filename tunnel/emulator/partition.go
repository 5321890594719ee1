package emulator

import (
	"encoding/binary"
	"slices"
	"sort"

	"github.com/cespare/xxhash/v2"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// partition has the rows whose hash falls into its range, and the log of their
// changes. Once it is split its log has ended, and later changes go to the
// logs of its children.
type partition struct {
	number int    // in the table, from 0, in the order in which they were made
	from   uint64 // the range of hashes: from inclusive, to exclusive
	to     uint64
	parent *partition // the one that was split; nil: it came with the table

	// The table's lock guards the rest.
	ended     bool  // split
	forgotten bool  // ended before the stream was turned on
	written   int64 // bytes of the rows written since it began
	log       changeLog
}

// hashes is the end of the range of hashes that rows fall into.
const hashes = 1 << 32

// newPartitions makes the partitions of a new table: equal ranges.
func newPartitions(n int) []*partition {
	all := make([]*partition, n)
	for i := range all {
		all[i] = &partition{number: i, from: share(i, n), to: share(i+1, n)}
	}
	return all
}

// share is where the i-th of n equal ranges begins.
func share(i, n int) uint64 { return (uint64(i)*hashes + uint64(n) - 1) / uint64(n) }

// splits is how many splits lie between the table's first partitions and this
// one.
func (p *partition) splits() int32 {
	n := int32(0)
	for ; p.parent != nil; p = p.parent {
		n++
	}
	return n
}

// hashOf a key: of the first key column alone, so that rows which share it
// share a partition.
func hashOf(key []plainbuffer.Cell) uint64 {
	v := key[0].Value
	if v.Type() == plainbuffer.Integer {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(v.Integer()))
		return xxhash.Sum64(b[:]) >> 32
	}
	return xxhash.Sum64(v.Bytes()) >> 32
}

// partition of a key. The lock is held.
func (t *table) partition(key []plainbuffer.Cell) *partition {
	h := hashOf(key)
	return t.live[sort.Search(len(t.live), func(i int) bool { return t.live[i].to > h })]
}

// split ends a partition's log and begins those of its two children, each with
// a half of its hashes. The table's tunnels learn of it at their next call. The
// lock is held.
func (t *table) split(p *partition) ([]*partition, error) {
	switch {
	case p.ended:
		return nil, failf(codeParameterInvalid, "The partition %d of table %s has been split already.", p.number, t.name)
	case p.to-p.from < 2:
		return nil, failf(codeParameterInvalid, "The partition %d of table %s has a single hash: it cannot be split.", p.number, t.name)
	case len(t.live) == maxPartitions:
		return nil, failf(codeParameterInvalid, "The table %s has %d partitions, the most that are allowed.", t.name, maxPartitions)
	}
	middle := p.from + (p.to-p.from)/2
	children := []*partition{
		{number: len(t.partitions), from: p.from, to: middle, parent: p},
		{number: len(t.partitions) + 1, from: middle, to: p.to, parent: p},
	}
	p.ended = true
	t.partitions = append(t.partitions, children...)
	at := slices.Index(t.live, p)
	t.live = slices.Replace(t.live, at, at+1, children...)
	return children, nil
}

// Split splits a partition of a table, as the service does with one that has
// grown: its log ends, its two children begin logs of their own, and in every
// tunnel that reads the table's stream a channel for each child opens once the
// parent's channel is TERMINATED. partition is the number in the parent's
// channel id (2 for Stream_0002). Errors are of type *[Error].
func (e *Emulator) Split(table string, partition int) (err error) {
	defer e.sync(&err)
	if e.closed.Load() {
		return errClosed()
	}
	t, err := e.table(table)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if partition < 0 || partition >= len(t.partitions) {
		return failf(codeParameterInvalid, "The table %s has no partition %d.", table, partition)
	}
	children, err := t.split(t.partitions[partition])
	if err != nil {
		return err
	}
	e.config.Logger.Info("partition split", "table", table, "partition", partition, "children", []int{children[0].number, children[1].number})
	return nil
}
