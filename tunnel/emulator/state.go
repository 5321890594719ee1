package emulator

import (
	"cmp"
	"slices"
	"time"
)

// State is what an emulator holds at a moment: each table and each tunnel is
// of one moment, two of them need not be.
type State struct {
	Instance string              `json:"instance"`
	Now      time.Time           `json:"now"` // by the emulator's clock
	Tables   []TableState        `json:"tables"`
	Tunnels  []TunnelState       `json:"tunnels"`
	Switches Switches            `json:"switches"`
	Faults   Faults              `json:"faults"`
	Counts   map[FaultKind]int64 `json:"fault_counts"` // how often each kind has happened
}

// TableState is a table.
type TableState struct {
	Name        string           `json:"name"`
	Rows        int              `json:"rows"`
	StreamHours int              `json:"stream_hours"` // 0: no stream is kept
	Partitions  []PartitionState `json:"partitions"`
}

// PartitionState is a partition and its log.
type PartitionState struct {
	Number  int  `json:"number"`
	Parent  int  `json:"parent"` // -1: it came with the table
	Split   bool `json:"split"`
	Expired int  `json:"expired"` // records that were dropped from the log
	Records int  `json:"records"` // that the log holds
}

// TunnelState is a tunnel.
type TunnelState struct {
	Table     string         `json:"table"`
	Name      string         `json:"name"`
	ID        string         `json:"id"`
	Type      string         `json:"type"`
	Stage     string         `json:"stage"`
	Expired   bool           `json:"expired"`
	Remaining int64          `json:"remaining"` // see [Emulator.Remaining]
	Clients   []ClientState  `json:"clients"`
	Channels  []ChannelState `json:"channels"`
}

// ClientState is a client that is alive.
type ClientState struct {
	ID      string  `json:"id"`
	Tag     string  `json:"tag"`
	Timeout float64 `json:"timeout"` // seconds
	Silent  float64 `json:"silent"`  // seconds since its last heartbeat
}

// ChannelState is a channel.
type ChannelState struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Status    string `json:"status"` // WAIT, OPEN, CLOSING, CLOSE, TERMINATED
	Version   int64  `json:"version"`
	Client    string `json:"client"` // its holder; empty: nobody
	Suspended bool   `json:"suspended"`
	Records   int    `json:"records"`   // rows or log entries that it has so far
	Read      int    `json:"read"`      // those before the last token that was read from
	Committed int    `json:"committed"` // those that the checkpoint covers
	Sequence  int64  `json:"sequence"`  // of the checkpoint
}

// State describes all there is, in order of names.
func (e *Emulator) State() State {
	// If it cannot be kept, it is told all the same.
	defer func() { _ = e.kept(nil, codeServerUnavailable) }()
	s := State{
		Instance: e.config.Instance,
		Now:      e.clock.now(),
		Tables:   []TableState{},
		Tunnels:  []TunnelState{},
		Switches: e.Switches(),
		Faults:   e.Faults(),
		Counts:   e.FaultCounts(),
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, t := range e.tables {
		s.Tables = append(s.Tables, t.view())
	}
	for _, n := range e.tunnels {
		s.Tunnels = append(s.Tunnels, n.view())
	}
	slices.SortFunc(s.Tables, func(a, b TableState) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Tunnels, func(a, b TunnelState) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Name, b.Name))
	})
	return s
}

func (t *table) view() TableState {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := TableState{Name: t.name, Rows: t.rows.size, Partitions: []PartitionState{}}
	if t.streamID != "" {
		s.StreamHours = t.streamHours
	}
	for _, p := range t.partitions {
		state := PartitionState{Number: p.number, Parent: -1, Split: p.ended, Expired: p.log.first, Records: p.log.end() - p.log.first}
		if p.parent != nil {
			state.Parent = p.parent.number
		}
		s.Partitions = append(s.Partitions, state)
	}
	return s
}

func (n *tunnel) view() TunnelState {
	n.mu.Lock()
	defer n.mu.Unlock()
	// What an expired tunnel holds is told like any other's.
	_ = n.update()
	n.table.mu.RLock()
	defer n.table.mu.RUnlock()
	s := TunnelState{
		Table: n.table.name, Name: n.name, ID: n.id, Type: tunnelTypes[n.kind], Stage: n.stage(), Expired: n.expired,
		Clients: []ClientState{}, Channels: []ChannelState{},
	}
	for _, c := range n.clients {
		s.Clients = append(s.Clients, ClientState{
			ID: c.id, Tag: c.tag, Timeout: c.timeout.Seconds(), Silent: time.Since(c.seen).Seconds(),
		})
	}
	for _, ch := range n.channels {
		length := n.length(ch) - ch.start
		c := ChannelState{
			ID: ch.id, Type: ch.kind(), Status: ch.state.String(), Version: ch.version, Client: ch.lease.client,
			Suspended: ch.suspended, Records: length, Read: ch.read - ch.start, Committed: ch.committed - ch.start, Sequence: ch.sequence,
		}
		s.Remaining += n.remaining(ch)
		s.Channels = append(s.Channels, c)
	}
	return s
}
