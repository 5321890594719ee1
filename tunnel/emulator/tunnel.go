package emulator

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
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

	mu       sync.Mutex
	clients  []*client // in the order in which they came
	channels []*channel
	byID     map[string]*channel
}

type client struct {
	id      string
	tag     string
	timeout time.Duration
	seen    time.Time // its last heartbeat
}

// channel is a part of a tunnel that is read in order: the stream of a
// partition from some point on, or the rows that the partition had when the
// tunnel was made.
type channel struct {
	id        string
	partition *partition
	parents   []*channel
	base      bool
	rows      []*row // of a base channel, in key order
	start     int    // of a stream channel: its first log entry

	lease
	ready      bool // every parent is TERMINATED, which is for good
	checkpoint string
	sequence   int64

	read   int       // entries or rows before the last token read from
	readAt time.Time // zero: never read
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
	n.logger = logger.With("tunnel", n.name, "tunnel_id", n.id)

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
	return n
}

// addBaseChannels adds a channel for the rows of each partition. The table's
// lock is held.
func (n *tunnel) addBaseChannels() {
	rows := make([][]*row, len(n.table.partitions))
	for r := range n.table.rows.ascend(nil) {
		p := n.table.partition(r.key).number
		rows[p] = append(rows[p], r)
	}
	first := make([]plainbuffer.Cell, len(n.table.key))
	for i, k := range n.table.key {
		first[i] = plainbuffer.Cell{Name: []byte(k.Name), Value: plainbuffer.BoundValue(plainbuffer.InfMin)}
	}
	for _, p := range n.table.live {
		n.add(&channel{
			id:         fmt.Sprintf("BaseData_%04d", p.number),
			partition:  p,
			base:       true,
			rows:       rows[p.number],
			checkpoint: baseToken(first),
		})
	}
}

// addStreamChannels adds a channel for each partition's log that has changes
// to read, now or later. Each is the child of the channels of its partition's
// parents, or else of all base channels. The table's lock is held.
func (n *tunnel) addStreamChannels() {
	base := slices.Clone(n.channels)
	of := make(map[*partition]*channel)
	for _, p := range n.table.partitions {
		start := p.log.end()
		switch offset := n.config.GetStartOffset(); {
		case offset > 0:
			// The first entry at or after the offset; entries count in
			// microseconds.
			start = p.log.since(int64((offset + 999) / 1000))
		case n.config.GetFlag() == tunnelpb.StartOffsetFlag_EARLIEST:
			start = p.log.first
		}
		if p.ended && start == p.log.end() {
			continue
		}
		parents := base
		for _, parent := range p.parents {
			if ch, ok := of[parent]; ok {
				parents = []*channel{ch}
			}
		}
		of[p] = n.addStreamChannel(p, start, parents)
	}
}

func (n *tunnel) addStreamChannel(p *partition, start int, parents []*channel) *channel {
	ch := &channel{
		id:         fmt.Sprintf("Stream_%04d", p.number),
		partition:  p,
		parents:    parents,
		start:      start,
		read:       start,
		checkpoint: streamToken(p.number, start, p.log.before(start)),
	}
	n.add(ch)
	return ch
}

// followSplit adds the channels of a split partition's children. Both locks
// are held.
func (n *tunnel) followSplit(children []*partition) {
	if n.stream == "" {
		return
	}
	for _, p := range children {
		parents := slices.DeleteFunc(slices.Clone(n.channels), func(ch *channel) bool {
			return ch.base || !slices.Contains(p.parents, ch.partition)
		})
		n.addStreamChannel(p, 0, parents)
	}
	n.assign()
}

func (n *tunnel) add(ch *channel) {
	n.channels = append(n.channels, ch)
	n.byID[ch.id] = ch
}

// expire drops the clients that have been silent for too long. Every call on
// the tunnel begins with it; the lock is held.
func (n *tunnel) expire(now time.Time) {
	dropped := false
	for i := len(n.clients) - 1; i >= 0; i-- {
		if c := n.clients[i]; now.Sub(c.seen) > c.timeout {
			n.logger.Info("client dropped: it was silent", "client", c.id, "timeout", c.timeout)
			n.drop(c)
			dropped = true
		}
	}
	if dropped {
		n.assign()
	}
}

// drop forgets a client, whose channels are free at once.
func (n *tunnel) drop(c *client) {
	n.clients = slices.DeleteFunc(n.clients, func(o *client) bool { return o == c })
	for _, ch := range n.channels {
		if l, changed := ch.left(c.id); changed {
			n.move(ch, l)
		}
	}
}

// assign hands out and asks back, after clients or channels have changed.
func (n *tunnel) assign() {
	clients := make([]string, len(n.clients))
	for i, c := range n.clients {
		clients[i] = c.id
	}
	seats := make([]seat, len(n.channels))
	for i, ch := range n.channels {
		if !ch.ready {
			ch.ready = !slices.ContainsFunc(ch.parents, func(p *channel) bool { return p.state != terminated })
		}
		seats[i] = seat{lease: ch.lease, ready: ch.ready}
	}
	for _, m := range assign(clients, seats) {
		n.move(n.channels[m.channel], m.to)
	}
}

// move gives a channel a new lease.
func (n *tunnel) move(ch *channel, l lease) {
	holder := l.client
	if holder == "" {
		holder = ch.client
	}
	n.logger.Debug("channel moved", "channel", ch.id, "from", ch.state.String(), "to", l.state.String(), "version", l.version, "client", holder)
	ch.lease = l
}

// stage is the tunnel's, as DescribeTunnel tells it. The lock is held.
func (n *tunnel) stage() string {
	if slices.ContainsFunc(n.channels, func(ch *channel) bool { return ch.base && ch.state != terminated }) ||
		n.kind == tunnelpb.TunnelType_BASE_DATA {
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
