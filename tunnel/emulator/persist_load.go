package emulator

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/emulator/internal/store"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// loading brings an instance's memory to what its store holds.
type loading struct {
	*Emulator
	store *store.Store

	tables  map[uint32]*table
	tunnels map[string]*tunnel

	done, total int64 // bytes
	told        int64 // of done, when progress was told last
}

// load opens the data directory and loads it. It owns the store if it fails.
func (e *Emulator) load() error {
	began := time.Now()
	s, err := store.Open(e.config.Data, store.Options{NoSync: e.config.NoSync})
	if err != nil {
		return fmt.Errorf("emulator: the data directory %s cannot be used: %w", e.config.Data, err)
	}
	l := &loading{
		Emulator: e,
		store:    s,
		tables:   make(map[uint32]*table),
		tunnels:  make(map[string]*tunnel),
		total:    s.Size(),
	}
	e.keeper = &keeper{store: s, clock: &e.clock}
	if err := l.all(); err != nil {
		return errors.Join(fmt.Errorf("emulator: the data directory %s cannot be used: %w", e.config.Data, err), s.Close())
	}
	l.tell(l.total)
	rows := 0
	for _, t := range l.tables {
		rows += t.rows.size
	}
	e.config.Logger.Info("data loaded", "directory", e.config.Data,
		"tables", len(l.tables), "rows", rows, "tunnels", len(l.tunnels), "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// all loads every bucket, those that others depend on first, and then has
// everything kept.
func (l *loading) all() error {
	for _, step := range []struct {
		bucket store.Bucket
		load   func(key, value []byte) error
	}{
		{store.Instance, l.instance},
		{store.Tables, l.table},
		{store.Partitions, l.partition},
		{store.Rows, l.row},
		{store.Log, l.entry},
		{store.Tunnels, l.tunnel},
		{store.Channels, l.channel},
		{store.Readings, l.reading},
	} {
		if err := l.bucket(step.bucket, step.load); err != nil {
			return err
		}
	}
	for _, t := range l.tables {
		l.finishTable(t)
	}
	if err := l.baseRows(); err != nil {
		return err
	}
	for _, n := range l.tunnels {
		l.finishTunnel(n)
	}
	return nil
}

// errUnknown is of a key that belongs to nothing that is there.
var errUnknown = errors.New("it belongs to nothing")

func (l *loading) bucket(b store.Bucket, load func(key, value []byte) error) error {
	return l.store.Load(b, func(key, value []byte) error {
		if err := load(key, value); err != nil {
			return l.store.Corrupt(fmt.Sprintf("bucket %v, key %x: %v", b, key, err))
		}
		l.tell(l.done + int64(len(key)+len(value)))
		return nil
	})
}

// progressBytes is how often progress is told.
const progressBytes = 1 << 20

func (l *loading) tell(done int64) {
	l.done = min(done, l.total)
	if f := l.config.OnLoad; f != nil && (l.done-l.told >= progressBytes || done == l.total) {
		l.told = l.done
		f(l.done, l.total)
	}
}

func (l *loading) instance(_, value []byte) error {
	var r instanceRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return err
	}
	l.keeper.tables = r.Tables
	l.clock.offset.Store(r.Offset)
	l.clock.steps.Store(r.Steps)
	return nil
}

func (l *loading) table(key, value []byte) error {
	var r tableRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return err
	}
	number := binary.BigEndian.Uint32(key)
	if number >= l.keeper.tables {
		return fmt.Errorf("the table %d of %d", number, l.keeper.tables)
	}
	t := r.table(&l.clock)
	l.tables[number], l.Emulator.tables[t.name] = t, t
	k := l.keeper.watch(t, number)
	// Nothing is kept while it is loaded.
	t.mu.keep, t.rows.changed = nil, nil
	k.record, k.former = r, r.Former
	return nil
}

// of finds the table that a key begins with, and gives the rest of the key.
func (l *loading) of(key []byte) (*table, []byte, error) {
	t, ok := l.tables[binary.BigEndian.Uint32(key)]
	if !ok {
		return nil, nil, errUnknown
	}
	return t, key[4:], nil
}

func (l *loading) partition(key, value []byte) error {
	t, rest, err := l.of(key)
	if err != nil {
		return err
	}
	var r partitionRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return err
	}
	number := int(binary.BigEndian.Uint32(rest))
	if number != len(t.partitions) || r.Parent >= number {
		return fmt.Errorf("a partition is missing")
	}
	p := &partition{
		number: number, from: r.From, to: r.To, ended: r.Ended, forgotten: r.Forgotten, written: r.Written,
		log: changeLog{first: r.First, trimmed: r.Trimmed, last: r.Last, newest: r.Newest},
	}
	if r.Parent >= 0 {
		p.parent = t.partitions[r.Parent]
	}
	t.partitions = append(t.partitions, p)
	if !p.ended {
		t.live = append(t.live, p)
	}
	t.kept.partitions = append(t.kept.partitions, keptPartition{partitionState: r.partitionState})
	return nil
}

// parseRow decodes a row of the store, which it copies.
func parseRow(value []byte) (*row, error) {
	var r plainbuffer.Row
	if err := r.Decode(bytes.Clone(value[8:])); err != nil {
		return nil, err
	}
	return &row{key: r.Key, columns: r.Columns, revision: binary.BigEndian.Uint64(value)}, nil
}

func (l *loading) row(key, value []byte) error {
	t, _, err := l.of(key)
	if err != nil {
		return err
	}
	r, err := parseRow(value)
	if err != nil {
		return err
	}
	revision, newest := r.revision, t.rows.revision
	t.rows.put(r)
	r.revision, t.rows.revision = revision, max(newest, revision)
	return nil
}

func (l *loading) entry(key, value []byte) error {
	t, rest, err := l.of(key)
	if err != nil {
		return err
	}
	number, at := binary.BigEndian.Uint32(rest), binary.BigEndian.Uint64(rest[4:])
	if int(number) >= len(t.partitions) {
		return errUnknown
	}
	log := &t.partitions[number].log
	if at != uint64(log.end()) {
		return fmt.Errorf("the entry %d follows", log.end())
	}
	log.restore(value[entryHead:], parseSequence(value))
	return nil
}

// restore appends an entry as it was. It copies it.
func (l *changeLog) restore(record []byte, at plainbuffer.Sequence) {
	l.last, l.newest = at, max(l.newest, at.Timestamp)
	last := l.room(len(record))
	l.chunks[last] = append(l.chunks[last], record...)
	l.added(last)
}

// finishTable sets right what follows from all that was loaded of a table, and
// has it kept.
func (l *loading) finishTable(t *table) {
	slices.SortFunc(t.live, func(a, b *partition) int {
		if a.from < b.from {
			return -1
		}
		return 1
	})
	if t.kept.former > 0 {
		t.rows.revision = max(t.rows.revision, t.kept.former-1)
	}
	for i, p := range t.partitions {
		t.kept.partitions[i].end = p.log.end()
	}
	t.mu.keep, t.rows.changed = t.kept.keep, t.kept.rowChanged
}

func (l *loading) tunnel(key, value []byte) error {
	var r tunnelRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return err
	}
	t, ok := l.tables[r.Table]
	if !ok {
		return errUnknown
	}
	n := &tunnel{
		id:         string(key),
		name:       r.Name,
		kind:       tunnelpb.TunnelType(r.Kind),
		table:      t,
		stream:     r.Stream,
		created:    moment(r.Created),
		revision:   r.Revision,
		options:    r.Options.options(),
		byID:       make(map[string]*channel),
		partitions: r.Partitions,
		expired:    r.Expired,
	}
	if r.Config != nil {
		n.config = &tunnelpb.StreamTunnelConfig{}
		if err := proto.Unmarshal(r.Config, n.config); err != nil {
			return err
		}
	}
	n.prepare(l.config.Logger)
	l.tunnels[n.id], l.Emulator.tunnels[n.id] = n, n
	k := l.keeper.watchTunnel(n)
	n.mu.keep = nil
	k.state = r.tunnelState
	t.rows.revision = max(t.rows.revision, r.Revision)
	return nil
}

// channelOf finds the tunnel that a channel's key begins with, and gives the
// channel's index.
func (l *loading) channelOf(key []byte) (*tunnel, int, error) {
	id, i := key[:len(key)-4], binary.BigEndian.Uint32(key[len(key)-4:])
	n, ok := l.tunnels[string(id)]
	if !ok {
		return nil, 0, errUnknown
	}
	return n, int(i), nil
}

func (l *loading) channel(key, value []byte) error {
	n, i, err := l.channelOf(key)
	if err != nil {
		return err
	}
	var r channelRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return err
	}
	if i != len(n.channels) || r.Partition >= len(n.table.partitions) {
		return errUnknown
	}
	p := n.table.partitions[r.Partition]
	ch := &channel{
		id:         r.ID,
		partition:  p,
		base:       r.Base,
		unordered:  r.Unordered,
		start:      r.Start,
		lease:      lease{state: r.State, version: r.Version}.restarted(),
		suspended:  r.Suspended,
		checkpoint: r.Checkpoint,
		committed:  r.Committed,
		sequence:   r.Sequence,
		read:       r.Start,
		stop:       r.Stop,
		scanned:    r.Start,
		skipped:    r.Start,
	}
	n.add(ch)
	n.kept.channels = append(n.kept.channels, keptChannel{channelRecord: r})
	return nil
}

// restarted gives the lease after a restart of the server: nobody holds it.
func (l lease) restarted() lease {
	if l.state == open || l.state == closing {
		return lease{state: closed, version: l.version + 1}
	}
	return l
}

func (l *loading) reading(key, value []byte) error {
	n, i, err := l.channelOf(key)
	if err != nil {
		return err
	}
	if i >= len(n.channels) {
		return errUnknown
	}
	ch := n.channels[i]
	var r readingRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return err
	}
	ch.read, ch.readAt, ch.skipped, ch.lost = r.Read, moment(r.ReadAt), r.Skipped, r.Lost
	return nil
}

// baseRows gives each base channel that is still to be read its rows, as they
// stood when its tunnel was made.
func (l *loading) baseRows() error {
	of := make(map[uint32][]*tunnel)
	for _, n := range l.tunnels {
		if n.readsBase() {
			of[n.table.kept.number] = append(of[n.table.kept.number], n)
			n.table.kept.bases.add(n.id, n.revision)
		}
	}
	for number, tunnels := range of {
		for r := range l.tables[number].rows.ascend(nil) {
			for _, n := range tunnels {
				if r.revision <= n.revision {
					n.addBaseRow(r)
				}
			}
		}
	}
	err := l.bucket(store.Former, func(key, value []byte) error {
		t, rest, err := l.of(key)
		if err != nil {
			return err
		}
		r, err := parseRow(value)
		if err != nil {
			return err
		}
		until := binary.BigEndian.Uint64(rest)
		t.rows.revision = max(t.rows.revision, until)
		shown := false
		for _, n := range of[t.kept.number] {
			if r.revision <= n.revision && n.revision < until {
				n.addBaseRow(r)
				shown = true
			}
		}
		if !shown {
			t.kept.bases.changed.Store(true)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, tunnels := range of {
		for _, n := range tunnels {
			for _, ch := range n.channels {
				slices.SortFunc(ch.rows, func(a, b *row) int { return compareKeys(a.key, b.key) })
				ch.sort(ch.unordered)
			}
		}
	}
	return nil
}

// addBaseRow gives a row, as it was visible then, to the base channel whose
// partition had it.
func (n *tunnel) addBaseRow(r *row) {
	if r = n.options.visible(r, n.created); r == nil {
		return
	}
	h := hashOf(r.key)
	for _, ch := range n.channels {
		if ch.base && ch.partition.from <= h && h < ch.partition.to {
			if ch.state != terminated {
				ch.rows = append(ch.rows, r)
			}
			return
		}
	}
}

// finishTunnel sets right what follows from all that was loaded of a tunnel,
// and has it kept.
func (l *loading) finishTunnel(n *tunnel) {
	for i, ch := range n.channels {
		if id := n.kept.channels[i].Parent; id != "" {
			ch.parent = n.byID[id]
		}
	}
	n.mu.keep = n.kept.keep
}
