package emulator

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvertio/culvert/tunnel/emulator/internal/store"
	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// tableRecord is what is kept of a table itself. Times are nanoseconds since
// the epoch, 0 for none.
type tableRecord struct {
	tableState
	Key           []KeyColumn
	Defined       []definedRecord `json:",omitempty"`
	OriginColumns []string        `json:",omitempty"`
}

// tableState is the part of it that == compares.
type tableState struct {
	Name        string
	Created     int64
	Options     optionsRecord
	Reserved    throughputRecord
	LastAuto    int64  `json:",omitempty"`
	StreamID    string `json:",omitempty"`
	StreamHours int    `json:",omitempty"`
	StreamFrom  int64  `json:",omitempty"`
	SplitBytes  int64  `json:",omitempty"`
	Former      uint64 // as keptTable has it
}

type optionsRecord struct {
	TimeToLive  int64
	MaxVersions int
	Deviation   int64
	AllowUpdate bool
}

type throughputRecord struct {
	Read, Write     int32
	Raised, Lowered int64
}

type definedRecord struct {
	Name string
	Type tablepb.DefinedColumnType
}

func (r tableRecord) equal(o tableRecord) bool {
	return r.tableState == o.tableState && slices.Equal(r.Key, o.Key) &&
		slices.Equal(r.Defined, o.Defined) && slices.Equal(r.OriginColumns, o.OriginColumns)
}

// partitionRecord is what is kept of a partition, but for its log's entries.
type partitionRecord struct {
	partitionState
	// What the log's next position depends on, if no entry is left to tell.
	Last   plainbuffer.Sequence
	Newest int64
}

// partitionState is the part of it that a record is written for.
type partitionState struct {
	From, To  uint64
	Parent    int // -1: none
	Ended     bool
	Forgotten bool
	Written   int64 // 0 while nothing depends on it
	First     int
	Trimmed   int64
}

// keptTable is what of a table is on disk, or on its way there. The table's
// lock guards it, but for bases.
type keptTable struct {
	table  *table
	number uint32
	store  *store.Store

	record     tableRecord
	former     uint64 // the revision below which rows as they stood have been dropped
	partitions []keptPartition
	batch      store.Batch // what has changed since the lock was taken
	key, value []byte      // scratch

	bases bases
}

type keptPartition struct {
	partitionState
	end int // of the log
}

// bases are the table's revisions that the base data of tunnels shows. A row of
// one of them is kept when it changes, so that a tunnel is made without
// writing down the rows that it begins with.
type bases struct {
	changed atomic.Bool // some are no longer needed

	mu        sync.Mutex
	revisions map[string]uint64 // by tunnel id
	newest    uint64            // 0: none
}

func (b *bases) add(tunnel string, revision uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.revisions[tunnel] = revision
	b.newest = max(b.newest, revision)
}

func (b *bases) remove(tunnel string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.revisions[tunnel]; !ok {
		return
	}
	delete(b.revisions, tunnel)
	b.newest = 0
	for _, r := range b.revisions {
		b.newest = max(b.newest, r)
	}
	b.changed.Store(true)
}

// show says whether any of them has a row of a revision.
func (b *bases) show(revision uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return revision <= b.newest
}

// oldest is the first one, or otherwise if there is none.
func (b *bases) oldest(otherwise uint64) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.revisions {
		otherwise = min(otherwise, r)
	}
	return otherwise
}

// show has the base data of a tunnel show the table as it stands now. The lock
// is held.
func (k *keptTable) show(tunnel string) {
	if k != nil {
		k.bases.add(tunnel, k.table.rows.revision)
	}
}

// watch has a table kept from now on, as the table number.
func (k *keeper) watch(t *table, number uint32) *keptTable {
	t.kept = &keptTable{table: t, number: number, store: k.store}
	t.kept.bases.revisions = make(map[string]uint64)
	t.mu.keep, t.rows.changed = t.kept.keep, t.kept.rowChanged
	return t.kept
}

// addTable keeps a new table, which nobody knows yet.
func (k *keeper) addTable(t *table) {
	if k == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.watch(t, k.tables)
	k.tables++
	// A table whose number is not known to be taken must not be there.
	k.record()
}

// removeTable forgets a table that has been deleted. Its tunnels have been
// forgotten before.
func (k *keeper) removeTable(t *table) {
	if k == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.RWMutex.Unlock()
	// Who still has the table writes to memory alone.
	t.mu.keep, t.rows.changed = nil, nil
	from, to := appendTable(nil, t.kept.number), appendTable(nil, t.kept.number+1)
	b := &t.kept.batch
	b.Delete(store.Tables, from)
	for _, bucket := range []store.Bucket{store.Partitions, store.Rows, store.Former, store.Log} {
		b.Drop(bucket, from, to)
	}
	k.store.Add(b)
}

// rowChanged notes that a row has come (old is nil), changed, or gone (new is
// nil).
func (k *keptTable) rowChanged(old, new *row) {
	if old != nil && k.bases.show(old.revision) {
		k.key = formerKey(k.key[:0], k.number, k.table.rows.revision, old.key)
		k.putRow(store.Former, old)
	}
	if new == nil {
		k.key = rowKey(k.key[:0], k.number, old.key)
		k.batch.Delete(store.Rows, k.key)
		return
	}
	k.key = rowKey(k.key[:0], k.number, new.key)
	k.putRow(store.Rows, new)
}

func (k *keptTable) putRow(b store.Bucket, r *row) {
	k.value = binary.BigEndian.AppendUint64(k.value[:0], r.revision)
	k.value = plainbuffer.Append(k.value, &plainbuffer.Row{Key: r.key, Columns: r.columns})
	k.batch.Put(b, k.key, k.value)
}

// keep adds all that has changed to the store.
func (k *keptTable) keep() {
	if k.bases.changed.Swap(false) {
		k.dropFormer()
	}
	if r := k.table.snapshot(k.former); !r.equal(k.record) {
		r.Key, r.OriginColumns = slices.Clone(r.Key), slices.Clone(r.OriginColumns)
		k.record = r
		k.batch.Put(store.Tables, appendTable(nil, k.number), encodeRecord(r))
	}
	for i, p := range k.table.partitions {
		if i == len(k.partitions) {
			k.partitions = append(k.partitions, keptPartition{})
		}
		k.keepPartition(p, &k.partitions[i])
	}
	k.store.Add(&k.batch)
}

// dropFormer drops the rows as they stood that no base data shows any more.
func (k *keptTable) dropFormer() {
	from, to := k.former, k.bases.oldest(k.table.rows.revision)+1
	if from >= to {
		return
	}
	k.former = to
	k.batch.Drop(store.Former, formerKey(nil, k.number, from, nil), formerKey(nil, k.number, to, nil))
}

// keepPartition adds what has changed of a partition.
func (k *keptTable) keepPartition(p *partition, was *keptPartition) {
	log := &p.log
	end := log.end()
	for i := max(was.end, log.first); i < end; i++ {
		at := plainbuffer.Sequence{Timestamp: log.timestamp(i)}
		if i == end-1 {
			at = log.last
		}
		var head [entryHead]byte
		k.key = entryKey(k.key[:0], k.number, p.number, i)
		k.batch.Put(store.Log, k.key, appendSequence(head[:0], at), log.pieces(i, i+1)[0])
	}
	if log.first > was.First {
		k.batch.Drop(store.Log, entryKey(nil, k.number, p.number, was.First), entryKey(nil, k.number, p.number, log.first))
	}
	was.end = end
	if now := p.snapshot(k.table.splitBytes > 0); now != was.partitionState {
		was.partitionState = now
		k.batch.Put(store.Partitions, partitionKey(nil, k.number, p.number),
			encodeRecord(partitionRecord{now, log.last, log.newest}))
	}
}

// entryHead is the bytes of a log entry's value before its record: its epoch,
// its timestamp and its row index. Of entries that were kept together, only the
// last one's are whole.
const entryHead = 4 + 8 + 4

func appendSequence(dst []byte, s plainbuffer.Sequence) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(s.Epoch))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.Timestamp))
	return binary.BigEndian.AppendUint32(dst, uint32(s.RowIndex))
}

func parseSequence(b []byte) plainbuffer.Sequence {
	return plainbuffer.Sequence{
		Epoch:     int32(binary.BigEndian.Uint32(b)),
		Timestamp: int64(binary.BigEndian.Uint64(b[4:])),
		RowIndex:  int32(binary.BigEndian.Uint32(b[12:])),
	}
}

// snapshot gives a table's record, which aliases its slices. The lock is held.
func (t *table) snapshot(former uint64) tableRecord {
	r := tableRecord{
		tableState: tableState{
			Name:        t.name,
			Created:     nanoseconds(t.created),
			Options:     t.options.snapshot(),
			Reserved:    throughputRecord{t.reserved.read, t.reserved.write, nanoseconds(t.reserved.raised), nanoseconds(t.reserved.lowered)},
			LastAuto:    t.lastAuto,
			StreamID:    t.streamID,
			StreamHours: t.streamHours,
			StreamFrom:  nanoseconds(t.streamFrom),
			SplitBytes:  t.splitBytes,
			Former:      former,
		},
		Key:           t.key,
		OriginColumns: t.originColumns,
	}
	for _, d := range t.defined {
		r.Defined = append(r.Defined, definedRecord{d.name, d.typ})
	}
	return r
}

// table makes a table of its record, without partitions and rows.
func (r tableRecord) table(clock *clock) *table {
	t := &table{
		name:          r.Name,
		key:           r.Key,
		created:       moment(r.Created),
		clock:         clock,
		options:       r.Options.options(),
		reserved:      throughput{r.Reserved.Read, r.Reserved.Write, moment(r.Reserved.Raised), moment(r.Reserved.Lowered)},
		lastAuto:      r.LastAuto,
		streamID:      r.StreamID,
		streamHours:   r.StreamHours,
		streamFrom:    moment(r.StreamFrom),
		originColumns: r.OriginColumns,
		splitBytes:    r.SplitBytes,
	}
	for _, d := range r.Defined {
		t.defined = append(t.defined, definedColumn{d.Name, d.Type})
	}
	return t
}

func (o options) snapshot() optionsRecord {
	return optionsRecord{o.timeToLive, o.maxVersions, o.deviation, o.allowUpdate}
}

func (r optionsRecord) options() options {
	return options{r.TimeToLive, r.MaxVersions, r.Deviation, r.AllowUpdate}
}

// nanoseconds is a time in a record.
func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// moment is the time that a record tells.
func moment(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds)
}

func (p *partition) snapshot(counted bool) partitionState {
	s := partitionState{
		From: p.from, To: p.to, Parent: -1, Ended: p.ended, Forgotten: p.forgotten,
		First: p.log.first, Trimmed: p.log.trimmed,
	}
	if p.parent != nil {
		s.Parent = p.parent.number
	}
	if counted {
		s.Written = p.written
	}
	return s
}
