package emulator

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// The calls that make, describe and delete tunnels.

// tunnelTypes are the types as text.
var tunnelTypes = map[tunnelpb.TunnelType]string{
	tunnelpb.TunnelType_BASE_DATA:       "BaseData",
	tunnelpb.TunnelType_STREAM:          "Stream",
	tunnelpb.TunnelType_BASE_AND_STREAM: "BaseAndStream",
}

func (e *Emulator) createTunnel(q *tunnelpb.CreateTunnelRequest) (*tunnelpb.CreateTunnelResponse, error) {
	in := q.GetTunnel()
	config := in.GetStreamTunnelConfig()
	if in.GetNeedAllTimeSeriesColumns() {
		return nil, unsupported("tunnels of time series tables")
	}
	if !tunnelNameForm.MatchString(in.GetTunnelName()) {
		return nil, failf(codeParameterInvalid, "Invalid tunnel name: '%s'.", in.GetTunnelName())
	}

	e.mu.Lock()
	defer e.mu.Unlock()
	t, ok := e.tables[in.GetTableName()]
	if !ok {
		return nil, noTable(in.GetTableName())
	}
	for _, n := range e.tunnels {
		if n.table == t && n.name == in.GetTunnelName() {
			return nil, failf(codeTunnelExist, "The table %s has a tunnel %s already.", t.name, n.name)
		}
	}
	// The stream's configuration has no effect on base data alone.
	if in.GetTunnelType() != tunnelpb.TunnelType_BASE_DATA {
		if err := t.checkOffsets(config); err != nil {
			return nil, err
		}
	}
	n := newTunnel(t, in.GetTunnelName(), in.GetTunnelType(), config, e.config.Logger)
	e.tunnels[n.id] = n
	e.keeper.addTunnel(n)
	n.logger.Info("tunnel created", "table", t.name, "type", tunnelTypes[n.kind], "channels", len(n.channels))
	return &tunnelpb.CreateTunnelResponse{TunnelId: &n.id}, nil
}

// earliestStart is how long before its changes expire a tunnel may still begin
// to read them.
const earliestStart = 5 * time.Minute

// checkOffsets checks where a tunnel asks its stream to begin and to end.
func (t *table) checkOffsets(c *tunnelpb.StreamTunnelConfig) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	now := t.clock.now()
	hours := t.streamHours
	if t.streamID == "" {
		hours = maxStreamHours
	}
	start, end := c.GetStartOffset(), c.GetEndOffset()
	least := now.Add(earliestStart - time.Duration(hours)*time.Hour).UnixNano()
	switch {
	case start > uint64(now.UnixNano()):
		return failf(codeParameterInvalid, "The start offset %d is in the future: it is %d (both nanoseconds).", start, now.UnixNano())
	case start > 0 && start < uint64(least):
		return failf(codeParameterInvalid, "The start offset %d is too long ago: the stream keeps %d hours, so that it must be at least %d (both nanoseconds).", start, hours, least)
	case end > 0 && end <= start:
		return failf(codeParameterInvalid, "The end offset %d is not after the start offset %d.", end, start)
	}
	return nil
}

// noTable is the tunnel API's error for a table that is not there. It has no
// code of its own for it.
func noTable(name string) *Error {
	return failf(codeParameterInvalid, "The table %s does not exist.", name)
}

func noTunnel(what string) *Error {
	return failf(codeParameterInvalid, "The tunnel %s does not exist.", what)
}

// tunnelByID finds a tunnel for the calls of its clients.
func (e *Emulator) tunnelByID(id string) (*tunnel, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	n, ok := e.tunnels[id]
	if !ok {
		return nil, noTunnel(id)
	}
	return n, nil
}

// tunnelByName finds a tunnel for DescribeTunnel and DeleteTunnel. An id, if
// given, must be the tunnel's too. The lock is held.
func (e *Emulator) tunnelByName(table, name, id string) (*tunnel, error) {
	if _, ok := e.tables[table]; !ok {
		return nil, noTable(table)
	}
	for _, n := range e.tunnels {
		if n.table.name == table && n.name == name && (id == "" || id == n.id) {
			return n, nil
		}
	}
	return nil, noTunnel(name + " of table " + table)
}

// findTunnel is tunnelByName for who does not hold the lock.
func (e *Emulator) findTunnel(table, name, id string) (*tunnel, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.tunnelByName(table, name, id)
}

func (e *Emulator) deleteTunnel(q *tunnelpb.DeleteTunnelRequest) (*tunnelpb.DeleteTunnelResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, err := e.tunnelByName(q.GetTableName(), q.GetTunnelName(), q.GetTunnelId())
	if err != nil {
		return nil, err
	}
	delete(e.tunnels, n.id)
	e.keeper.removeTunnel(n)
	n.logger.Info("tunnel deleted")
	return &tunnelpb.DeleteTunnelResponse{}, nil
}

// listTunnel lists the tunnels of a table, or of all when none is named,
// oldest first.
func (e *Emulator) listTunnel(q *tunnelpb.ListTunnelRequest) (*tunnelpb.ListTunnelResponse, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if _, ok := e.tables[q.GetTableName()]; !ok && q.GetTableName() != "" {
		return nil, noTable(q.GetTableName())
	}
	answer := &tunnelpb.ListTunnelResponse{}
	for _, n := range e.tunnels {
		if q.GetTableName() == "" || n.table.name == q.GetTableName() {
			n.mu.Lock()
			_ = n.update()
			answer.Tunnels = append(answer.Tunnels, e.info(n))
			n.mu.Unlock()
		}
	}
	slices.SortFunc(answer.Tunnels, func(a, b *tunnelpb.TunnelInfo) int {
		return cmp.Or(cmp.Compare(a.GetCreateTime(), b.GetCreateTime()), cmp.Compare(a.GetTunnelName(), b.GetTunnelName()))
	})
	return answer, nil
}

func (e *Emulator) describeTunnel(q *tunnelpb.DescribeTunnelRequest) (*tunnelpb.DescribeTunnelResponse, error) {
	n, err := e.findTunnel(q.GetTableName(), q.GetTunnelName(), q.GetTunnelId())
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	// That it has expired is in the answer.
	_ = n.update()
	answer := &tunnelpb.DescribeTunnelResponse{Tunnel: e.info(n)}
	for _, r := range n.rpos((*channel).consumed) {
		c := &tunnelpb.ChannelInfo{
			ChannelId:     &r.channel.id,
			ChannelType:   new(r.channel.kind()),
			ChannelStatus: new(r.channel.state.String()),
			ClientId:      new(r.channel.client),
			ChannelRpo:    new(r.RpoTime),
			ChannelCount:  new(r.TotalCount),
		}
		answer.Channels = append(answer.Channels, c)
		if !r.channel.base && r.channel.state != terminated && (answer.TunnelRpo == nil || r.RpoTime < *answer.TunnelRpo) {
			answer.TunnelRpo = new(r.RpoTime)
		}
	}
	return answer, nil
}

// info describes a tunnel, whose lock is held.
func (e *Emulator) info(n *tunnel) *tunnelpb.TunnelInfo {
	return &tunnelpb.TunnelInfo{
		TunnelId:           &n.id,
		TunnelType:         new(tunnelTypes[n.kind]),
		TableName:          &n.table.name,
		InstanceName:       &e.config.Instance,
		StreamId:           &n.stream,
		Stage:              new(n.stage()),
		Expired:            new(n.expired),
		TunnelName:         &n.name,
		Public:             new(true),
		StreamTunnelConfig: n.config,
		CreateTime:         new(n.created.UnixNano()),
	}
}

// rpo is how far a channel, or all of one type, has been consumed. The names
// are those of GetRpo's JSON. Times are nanoseconds since the epoch.
type rpo struct {
	ChannelTyp string `json:",omitempty"`
	Status     string
	TotalCount int64 // records consumed
	AccessTime int64 // of the last ReadRecords; 0: none yet
	RpoTime    int64 // all changes before it are consumed; 0: base data

	channel *channel
}

// consumed is how far a channel has been read: what is before the last token
// asked for, or before the checkpoint.
func (ch *channel) consumed() int { return max(ch.read, ch.committed) }

// acknowledged is how far a channel's checkpoint has come.
func (ch *channel) acknowledged() int { return ch.committed }

// rpos gives each channel's, of how far of it counts. The tunnel's lock is
// held, the table's is not.
func (n *tunnel) rpos(far func(*channel) int) []rpo {
	n.table.mu.RLock()
	defer n.table.mu.RUnlock()
	now := n.table.clock.now().UnixNano()
	all := make([]rpo, len(n.channels))
	for i, ch := range n.channels {
		at := max(far(ch), ch.first())
		r := rpo{
			ChannelTyp: ch.kind(),
			Status:     ch.state.String(),
			TotalCount: int64(max(0, far(ch)-ch.start-ch.lost)),
			channel:    ch,
		}
		if !ch.readAt.IsZero() {
			r.AccessTime = ch.readAt.UnixNano()
		}
		if !ch.base {
			r.RpoTime = now
			if at < n.length(ch) {
				r.RpoTime = ch.partition.log.timestamp(at) * 1000
			}
		}
		all[i] = r
	}
	return all
}

func (ch *channel) kind() string {
	if ch.base {
		return "BaseData"
	}
	return "Stream"
}

// getRpo tells how far the tunnel has been read.
func (e *Emulator) getRpo(q *tunnelpb.GetRpoRequest) (*tunnelpb.GetRpoResponse, error) {
	return e.rpo(q, (*channel).consumed)
}

// getRpoByOffset tells how far the tunnel's checkpoints have come. That it is
// this, and that GetRpo counts what was read, is a guess by the names: no
// document says how they differ.
func (e *Emulator) getRpoByOffset(q *tunnelpb.GetRpoRequest) (*tunnelpb.GetRpoResponse, error) {
	return e.rpo(q, (*channel).acknowledged)
}

func (e *Emulator) rpo(q *tunnelpb.GetRpoRequest, far func(*channel) int) (*tunnelpb.GetRpoResponse, error) {
	if q.Limit != nil && q.GetLimit() < 1 {
		return nil, failf(codeParameterInvalid, "The limit must be greater than 0, not %d.", q.GetLimit())
	}
	n, err := e.tunnelByID(q.GetTunnelId())
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	_ = n.update()
	clients := make(map[string]map[string]rpo)
	types := make(map[string]rpo)
	listed := int32(0)
	for _, r := range n.rpos(far) {
		// A limit bounds the channels that are listed, which is a guess. The sums
		// are of all.
		if c := r.channel.client; c != "" && (q.Limit == nil || listed < q.GetLimit()) {
			listed++
			if clients[c] == nil {
				clients[c] = make(map[string]rpo)
			}
			clients[c][r.channel.id] = r
		}
		sum, ok := types[r.ChannelTyp]
		if !ok {
			sum = rpo{Status: r.Status, RpoTime: r.RpoTime}
		}
		// The type is where the channel is that is least far.
		if r.channel.state < stateOf(sum.Status) {
			sum.Status = r.Status
		}
		sum.TotalCount += r.TotalCount
		sum.AccessTime = max(sum.AccessTime, r.AccessTime)
		sum.RpoTime = min(sum.RpoTime, r.RpoTime)
		types[r.ChannelTyp] = sum
	}
	byClient, err := json.Marshal(clients)
	if err != nil {
		return nil, failf(codeInternal, "%v", err)
	}
	byType, err := json.Marshal(types)
	if err != nil {
		return nil, failf(codeInternal, "%v", err)
	}
	return &tunnelpb.GetRpoResponse{RpoInfos: byClient, TunnelRpoInfos: byType, TunnelId: &n.id}, nil
}

// stateOf reads a state's text.
func stateOf(text string) state {
	for s := wait; s < terminated; s++ {
		if s.String() == text {
			return s
		}
	}
	return terminated
}
