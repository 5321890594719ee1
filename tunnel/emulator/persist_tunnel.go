package emulator

import (
	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/emulator/internal/store"
)

// tunnelRecord is what is kept of a tunnel itself.
type tunnelRecord struct {
	Table   uint32
	Name    string
	Kind    int32
	Config  []byte // as it was asked for, encoded; nil: none was
	Stream  string
	Created int64
	// The table's revision that the base data shows, and its options then.
	Revision uint64
	Options  optionsRecord
	tunnelState
}

// tunnelState is the part of it that changes.
type tunnelState struct {
	Expired    bool
	Partitions int
}

// channelRecord is what is kept of a channel. Who holds it is not.
type channelRecord struct {
	ID         string
	Partition  int
	Parent     string `json:",omitempty"`
	Base       bool   `json:",omitempty"`
	Unordered  bool   `json:",omitempty"`
	Start      int
	State      state
	Version    int64
	Suspended  bool `json:",omitempty"`
	Checkpoint string
	Committed  int
	Sequence   int64
	Stop       int
}

// readingRecord is how far a channel has been read. Nobody is promised it: it
// is written when something else is, and at the end.
type readingRecord struct {
	Read    int
	ReadAt  int64 // 0: never
	Skipped int
	Lost    int
}

// keptTunnel is what of a tunnel is on disk, or on its way there. The tunnel's
// lock guards it.
type keptTunnel struct {
	tunnel *tunnel
	store  *store.Store

	state    tunnelState
	channels []keptChannel
	batch    store.Batch
	notes    store.Batch
}

type keptChannel struct {
	channelRecord
	reading readingRecord
}

// watchTunnel has a tunnel kept from now on.
func (k *keeper) watchTunnel(n *tunnel) *keptTunnel {
	n.kept = &keptTunnel{tunnel: n, store: k.store, state: tunnelState{Partitions: -1}}
	n.mu.keep = n.kept.keep
	return n.kept
}

// addTunnel keeps a new tunnel, which nobody knows yet.
func (k *keeper) addTunnel(n *tunnel) {
	if k == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	k.watchTunnel(n)
}

// removeTunnel forgets a tunnel that has been deleted.
func (k *keeper) removeTunnel(n *tunnel) {
	if k == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Mutex.Unlock()
	// Who still has the tunnel changes memory alone.
	n.mu.keep = nil
	b := &n.kept.batch
	b.Delete(store.Tunnels, []byte(n.id))
	for i := range n.channels {
		b.Delete(store.Channels, channelKey(n.id, i))
		b.Delete(store.Readings, channelKey(n.id, i))
	}
	k.store.Add(b)
	n.table.kept.bases.remove(n.id)
}

// keep adds all that has changed to the store.
func (k *keptTunnel) keep() {
	n := k.tunnel
	if s := (tunnelState{n.expired, n.partitions}); s != k.state {
		k.state = s
		k.batch.Put(store.Tunnels, []byte(n.id), encodeRecord(n.snapshot()))
	}
	for i, ch := range n.channels {
		if i == len(k.channels) {
			k.channels = append(k.channels, keptChannel{})
		}
		was := &k.channels[i]
		if now := ch.snapshot(); now != was.channelRecord {
			if now.Base && now.State == terminated && was.State != terminated && !n.readsBase() {
				n.table.kept.bases.remove(n.id)
			}
			was.channelRecord = now
			k.batch.Put(store.Channels, channelKey(n.id, i), encodeRecord(now))
		}
		if now := ch.reading(); now != was.reading {
			was.reading = now
			k.notes.Put(store.Readings, channelKey(n.id, i), encodeRecord(now))
		}
	}
	k.store.Add(&k.batch)
	k.store.Note(&k.notes)
}

// snapshot gives a tunnel's record. The lock is held.
func (n *tunnel) snapshot() tunnelRecord {
	r := tunnelRecord{
		Table:       n.table.kept.number,
		Name:        n.name,
		Kind:        int32(n.kind),
		Stream:      n.stream,
		Created:     nanoseconds(n.created),
		Revision:    n.revision,
		Options:     n.options.snapshot(),
		tunnelState: tunnelState{n.expired, n.partitions},
	}
	if n.config != nil {
		// What was decoded can be encoded.
		r.Config, _ = proto.MarshalOptions{Deterministic: true}.Marshal(n.config)
		if r.Config == nil {
			r.Config = []byte{}
		}
	}
	return r
}

func (ch *channel) snapshot() channelRecord {
	r := channelRecord{
		ID:         ch.id,
		Partition:  ch.partition.number,
		Base:       ch.base,
		Unordered:  ch.unordered,
		Start:      ch.start,
		State:      ch.state,
		Version:    ch.version,
		Suspended:  ch.suspended,
		Checkpoint: ch.checkpoint,
		Committed:  ch.committed,
		Sequence:   ch.sequence,
		Stop:       ch.stop,
	}
	if ch.parent != nil {
		r.Parent = ch.parent.id
	}
	return r
}

func (ch *channel) reading() readingRecord {
	return readingRecord{Read: ch.read, ReadAt: nanoseconds(ch.readAt), Skipped: ch.skipped, Lost: ch.lost}
}
