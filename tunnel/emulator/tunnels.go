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
	if config.GetEndOffset() != 0 {
		return nil, unsupported("end offsets of streams")
	}
	if in.GetTunnelType() == tunnelpb.TunnelType_BASE_DATA &&
		(config.GetStartOffset() != 0 || config.GetFlag() != tunnelpb.StartOffsetFlag_LATEST) {
		return nil, failf(codeParameterInvalid, "A BaseData tunnel has no stream that could start at an offset.")
	}
	if now := e.clock.now().UnixNano(); config.GetStartOffset() > uint64(now) {
		return nil, failf(codeParameterInvalid, "The start offset %d is in the future: it is %d (both nanoseconds).", config.GetStartOffset(), now)
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
	n := newTunnel(t, in.GetTunnelName(), in.GetTunnelType(), config, e.config.Logger)
	e.tunnels[n.id] = n
	n.logger.Info("tunnel created", "table", t.name, "type", tunnelTypes[n.kind], "channels", len(n.channels))
	return &tunnelpb.CreateTunnelResponse{TunnelId: &n.id}, nil
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

func (e *Emulator) deleteTunnel(q *tunnelpb.DeleteTunnelRequest) (*tunnelpb.DeleteTunnelResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, err := e.tunnelByName(q.GetTableName(), q.GetTunnelName(), q.GetTunnelId())
	if err != nil {
		return nil, err
	}
	delete(e.tunnels, n.id)
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
	e.mu.RLock()
	n, err := e.tunnelByName(q.GetTableName(), q.GetTunnelName(), q.GetTunnelId())
	e.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	n.expire(now)
	answer := &tunnelpb.DescribeTunnelResponse{Tunnel: e.info(n)}
	for _, r := range n.rpos(now) {
		c := &tunnelpb.ChannelInfo{
			ChannelId:     &r.channel.id,
			ChannelType:   new(r.channel.kind()),
			ChannelStatus: new(r.channel.state.String()),
			ClientId:      new(r.channel.client),
			ChannelRpo:    new(r.RpoTime),
			ChannelCount:  new(r.TotalCount),
		}
		answer.Channels = append(answer.Channels, c)
		if !r.channel.base && (answer.TunnelRpo == nil || r.RpoTime < *answer.TunnelRpo) {
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
		Expired:            new(false),
		TunnelName:         &n.name,
		Public:             new(true),
		StreamTunnelConfig: n.config,
		CreateTime:         new(n.created.UnixNano()),
	}
}

// rpo is how far a channel, or all of one type, has been consumed. The names
// are those of GetRpo's JSON. Times are nanoseconds since the epoch; what has
// been asked for counts as consumed.
type rpo struct {
	ChannelTyp string `json:",omitempty"`
	Status     string
	TotalCount int64 // records consumed
	AccessTime int64 // of the last ReadRecords; 0: none yet
	RpoTime    int64 // all changes before it are consumed; 0: base data

	channel *channel
}

// rpos gives each channel's. The tunnel's lock is held, the table's is not.
func (n *tunnel) rpos(now time.Time) []rpo {
	n.table.mu.RLock()
	defer n.table.mu.RUnlock()
	all := make([]rpo, len(n.channels))
	for i, ch := range n.channels {
		r := rpo{ChannelTyp: ch.kind(), Status: ch.state.String(), TotalCount: int64(ch.read - ch.start), channel: ch}
		if !ch.readAt.IsZero() {
			r.AccessTime = ch.readAt.UnixNano()
		}
		if !ch.base {
			r.RpoTime = now.UnixNano()
			if log := &ch.partition.log; ch.read < log.end() {
				r.RpoTime = log.from(ch.read)[0].timestamp * 1000
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

// getRpo answers GetRpo and GetRpoByOffset, which here are the same: both
// count from the offsets that were read.
func (e *Emulator) getRpo(q *tunnelpb.GetRpoRequest) (*tunnelpb.GetRpoResponse, error) {
	if q.Limit != nil {
		return nil, unsupported("a limit on rpo infos")
	}
	n, err := e.tunnelByID(q.GetTunnelId())
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	n.expire(now)
	clients := make(map[string]map[string]rpo)
	types := make(map[string]rpo)
	for _, r := range n.rpos(now) {
		if c := r.channel.client; c != "" {
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
