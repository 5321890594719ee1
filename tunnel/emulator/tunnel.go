package emulator

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// tunnel is a table's export: channels, and the clients that consume them.
type tunnel struct {
	id      string
	name    string
	kind    tunnelpb.TunnelType
	table   *table
	config  *tunnelpb.StreamTunnelConfig // as it was asked for
	stream  string                       // the table's stream; empty for base data alone
	created time.Time
	logger  *slog.Logger

	until int64 // microseconds: changes from then on are not part of it; 0: all are

	// The table's revision that the base data shows, and its options then.
	revision uint64
	options  options

	mu         keepingMutex
	kept       *keptTunnel // nil: in memory alone
	clients    []*client   // in the order in which they came
	channels   []*channel
	byID       map[string]*channel
	partitions int  // of the table's, which it knows
	expired    bool // for good
}

type client struct {
	id      string
	tag     string
	timeout time.Duration
	seen    time.Time // its last heartbeat

	served bool      // it may get channels: it was not made to wait for its first heartbeat, or that has come
	taken  time.Time // its last heartbeat that was not too early; zero: none was taken yet
	answer *tunnelpb.HeartbeatResponse
}

// channel is a part of a tunnel that is read in order: the stream of a
// partition from some point on, or the rows that the partition had when the
// tunnel was made.
type channel struct {
	id        string
	partition *partition
	parent    *channel // of a stream channel: that of the partition which was split, if it is read
	base      bool
	rows      []*row // of a base channel, in its order; none once it is TERMINATED
	unordered bool   // that order is not the keys'
	start     int    // of a stream channel: its first log entry

	lease
	wanted     string // the client for which it was moved; empty: for none
	answers    int    // that have named it OPEN, or left it out, since it was handed out
	told       string // the client that had it when Schedule ended it, until that has forgotten it; empty: none
	reopened   bool   // it was asked back, and that was called off once
	suspended  bool   // Schedule asked for it: it is not handed out
	checkpoint string
	committed  int // entries or rows before the checkpoint
	sequence   int64

	read   int       // entries or rows before the last token read from
	readAt time.Time // zero: never read

	stop    int // its last log entry and one, once the tunnel's end offset says so; -1 before
	scanned int // entries that lie before the end offset
	skipped int // entries before this one have expired, and the channel went on behind them
	lost    int // entries that expired before they were read
}

// newTunnel makes a tunnel of a table as it stands now: the base rows are
// those of this moment, and the stream begins with the next change, or with an
// earlier one if the configuration asks for it.
func newTunnel(t *table, name string, kind tunnelpb.TunnelType, config *tunnelpb.StreamTunnelConfig, logger *slog.Logger) *tunnel {
	n := &tunnel{
		id:      newID(),
		name:    name,
		kind:    kind,
		table:   t,
		config:  config,
		created: t.clock.now(),
		byID:    make(map[string]*channel),
	}
	n.prepare(logger)

	t.mu.Lock()
	defer t.mu.Unlock()
	if kind != tunnelpb.TunnelType_BASE_DATA {
		t.enableStream(maxStreamHours)
		n.stream = t.streamID
	}
	if kind != tunnelpb.TunnelType_STREAM {
		n.addBaseChannels()
	}
	if kind != tunnelpb.TunnelType_BASE_DATA {
		n.addStreamChannels()
	}
	n.partitions = len(t.partitions)
	return n
}

// prepare sets what follows from the tunnel's name and configuration.
func (n *tunnel) prepare(logger *slog.Logger) {
	n.logger = logger.With("tunnel", n.name, "tunnel_id", n.id)
	n.until = microseconds(n.config.GetEndOffset())
}

// microseconds is the first whole one that is not before an offset, which is
// in nanoseconds.
func microseconds(offset uint64) int64 { return int64(offset/1000 + (offset%1000+999)/1000) }

// addBaseChannels adds a channel for the rows of each partition. The table's
// lock is held.
func (n *tunnel) addBaseChannels() {
	n.revision, n.options = n.table.rows.revision, n.table.options
	n.table.kept.show(n.id)
	rows := make([][]*row, len(n.table.partitions))
	for r := range n.table.scan(n.created) {
		p := n.table.partition(r.key).number
		rows[p] = append(rows[p], r)
	}
	first := n.table.bound(plainbuffer.InfMin)
	for _, p := range n.table.live {
		ch := &channel{
			id:         fmt.Sprintf("BaseData_%04d", p.number),
			partition:  p,
			base:       true,
			rows:       rows[p.number],
			checkpoint: baseToken(first),
			stop:       -1,
		}
		ch.sort(n.table.clock.switches.get().BaseUnordered)
		n.add(ch)
	}
}

// addStreamChannels adds a channel for each partition's log that has changes
// to read, now or later. The table's lock is held.
func (n *tunnel) addStreamChannels() {
	for _, p := range n.table.partitions {
		start := p.log.end()
		switch offset := n.config.GetStartOffset(); {
		case offset > 0:
			start = p.log.since(microseconds(offset))
		case n.config.GetFlag() == tunnelpb.StartOffsetFlag_EARLIEST:
			start = p.log.first
		}
		if !p.ended || start < p.log.end() {
			n.addStreamChannel(p, start)
		}
	}
}

// addStreamChannel adds a channel, the child of its partition's parent's if
// there is one. The table's lock is held.
func (n *tunnel) addStreamChannel(p *partition, start int) {
	ch := &channel{
		id:         streamID(p),
		partition:  p,
		start:      start,
		read:       start,
		committed:  start,
		checkpoint: streamToken(p.number, start, p.log.before(start)),
		stop:       -1,
		scanned:    start,
		skipped:    start,
	}
	if p.parent != nil {
		ch.parent = n.byID[streamID(p.parent)]
	}
	n.add(ch)
}

// streamID is the id of a partition's stream channel, and of its shard.
func streamID(p *partition) string { return fmt.Sprintf("Stream_%04d", p.number) }

func (n *tunnel) add(ch *channel) {
	n.channels = append(n.channels, ch)
	n.byID[ch.id] = ch
}

// update does what is due: clients that have been silent for too long are
// dropped, changes that have expired too, and partitions that have been split
// since the last call get their channels. Every call on the tunnel begins with
// it; the lock is held. The error is of a tunnel that has expired.
func (n *tunnel) update() error {
	now, changed := time.Now(), false
	for i := len(n.clients) - 1; i >= 0; i-- {
		if c := n.clients[i]; now.Sub(c.seen) > c.timeout {
			n.logger.Info("client dropped: it was silent", "client", c.id, "timeout", c.timeout)
			n.drop(c)
			changed = true
		}
	}
	if n.kind != tunnelpb.TunnelType_BASE_DATA && n.followStream() {
		changed = true
	}
	if changed {
		n.assign()
	}
	if n.expired {
		return failf(codeTunnelExpired, "The tunnel %s has expired: the table's stream no longer holds the changes that it has to read.", n.id)
	}
	return nil
}

// followStream brings the tunnel up to date with the table's stream and says
// whether that added channels. The lock is held.
func (n *tunnel) followStream() bool {
	now := n.table.clock.now()
	n.table.trim(now)
	n.table.mu.RLock()
	defer n.table.mu.RUnlock()
	// The base data must be read while the stream still holds what has changed
	// since the tunnel was made.
	late := n.created.UnixMicro() < n.table.expiredAt(now) && n.readsBase()
	if gone := n.table.streamID != n.stream; (gone || late) && !n.expired {
		n.expired = true
		n.logger.Warn("tunnel expired", "stream_disabled", gone, "base_data_unfinished", late)
	}
	added := n.table.partitions[n.partitions:]
	if n.expired || len(added) == 0 {
		return false
	}
	for _, p := range added {
		n.addStreamChannel(p, 0)
		n.logger.Info("channel added: a partition was split", "channel", streamID(p))
	}
	n.partitions = len(n.table.partitions)
	return true
}

// readsBase says whether base data is still to be read. The lock is held.
func (n *tunnel) readsBase() bool {
	return slices.ContainsFunc(n.channels, func(ch *channel) bool { return ch.base && ch.state != terminated })
}

// drop forgets a client, whose channels are free at once.
func (n *tunnel) drop(c *client) {
	n.clients = slices.DeleteFunc(n.clients, func(o *client) bool { return o == c })
	for _, ch := range n.channels {
		if l, changed := n.handover().left(ch.lease, c.id); changed {
			n.move(ch, l)
		}
	}
}

// assign hands out and asks back, after clients or channels have changed.
func (n *tunnel) assign() {
	var clients []string
	for _, c := range n.clients {
		if c.served {
			clients = append(clients, c.id)
		}
	}
	base := n.readsBase()
	seats := make([]seat, len(n.channels))
	for i, ch := range n.channels {
		seats[i] = seat{lease: ch.lease, ready: !ch.suspended && ch.opens(base), wanted: ch.wanted}
	}
	for _, m := range n.handover().assign(clients, seats) {
		ch := n.channels[m.channel]
		if m.to.state == closing || m.to.client != ch.wanted {
			ch.wanted = ""
		}
		n.move(ch, m.to)
	}
}

// opens says whether a channel may be read: a stream's after all base data and
// after its parent.
func (ch *channel) opens(readsBase bool) bool {
	return ch.base || !readsBase && (ch.parent == nil || ch.parent.state == terminated)
}

// move gives a channel a new lease.
func (n *tunnel) move(ch *channel, l lease) {
	holder := l.client
	if holder == "" {
		holder = ch.client
	}
	n.logger.Debug("channel moved", "channel", ch.id, "from", ch.state.String(), "to", l.state.String(), "version", l.version, "client", holder)
	if l.client != ch.lease.client {
		ch.answers = 0
	}
	ch.lease = l
	if l.state != open && l.state != closing {
		ch.reopened = false
	}
	if l.state == terminated {
		ch.rows = nil
	}
}

// stage is the tunnel's, as DescribeTunnel tells it. The lock is held.
func (n *tunnel) stage() string {
	if n.readsBase() || n.kind == tunnelpb.TunnelType_BASE_DATA {
		return "ProcessBaseData"
	}
	return "ProcessStream"
}

// client finds a live client. The lock is held.
func (n *tunnel) client(id string) (*client, error) {
	for _, c := range n.clients {
		if c.id == id {
			return c, nil
		}
	}
	return nil, failf(codeResourceGone, "The client %s of tunnel %s is gone: it shut down, was silent for its timeout, or never connected.", id, n.id)
}

// held finds a channel that a client holds. The lock is held.
func (n *tunnel) held(clientID, channelID string) (*channel, error) {
	if _, err := n.client(clientID); err != nil {
		return nil, err
	}
	ch, ok := n.byID[channelID]
	if !ok {
		return nil, failf(codeParameterInvalid, "The tunnel %s has no channel %s.", n.id, channelID)
	}
	if !ch.lease.held(clientID) {
		return nil, failf(codeResourceGone, "The channel %s is not held by client %s: it is in state %v.", channelID, clientID, ch.state)
	}
	return ch, nil
}
