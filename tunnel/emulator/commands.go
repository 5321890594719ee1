package emulator

import (
	"slices"
	"time"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// The commands by which a test, or the control API, makes happen what the
// service does of its own accord. [Emulator.Split] is one more. Their errors
// are of type *[Error].

// MoveChannel moves a channel of a tunnel to another client: through CLOSING,
// or at once if [Switches].MoveSkipsClosing is set. The channel stays there for
// as long as both clients do and an even spread allows it. client is the id of
// the one to get it; empty, it is the next after the present holder in the
// order in which they connected, or the holder again if there is no other. A
// channel that nobody holds cannot be moved.
func (e *Emulator) MoveChannel(table, name, channel, client string) error {
	return e.command(table, name, func(n *tunnel) error {
		ch, ok := n.byID[channel]
		if !ok {
			return failf(codeParameterInvalid, "The tunnel %s has no channel %s.", n.name, channel)
		}
		if client != "" {
			if _, err := n.client(client); err != nil {
				return err
			}
		}
		if !n.moveAway(ch, client) {
			return failf(codeParameterInvalid, "The channel %s cannot be moved: it is in state %v.", channel, ch.state)
		}
		return nil
	})
}

// ExpireClient drops a client of a tunnel, as the service does with one that
// was silent for its timeout: its channels are free at once, and its calls are
// refused with OTSResourceGone.
func (e *Emulator) ExpireClient(table, name, client string) error {
	return e.command(table, name, func(n *tunnel) error {
		c, err := n.client(client)
		if err != nil {
			return err
		}
		n.expireClient(c)
		return nil
	})
}

// StepClock sets the emulator's clock forward by d, or back if d is negative:
// the clock that stamps changes and says what has expired. Timeouts are not
// measured with it.
func (e *Emulator) StepClock(d time.Duration) {
	e.clock.step(d)
	e.keeper.stepped()
	e.config.Logger.Info("clock stepped", "by", d, "off_by", time.Duration(e.clock.offset.Load()))
}

// SuspendChannel has a channel asked back from its holder and handed out to
// nobody, as a Schedule call does that sets it CLOSING. Errors are of type
// *[Error].
func (e *Emulator) SuspendChannel(table, name, channel string) error {
	return e.scheduleChannel(table, name, channel, tunnelpb.ChannelStatus_CLOSING)
}

// ResumeChannel makes a channel that is suspended available again, as a
// Schedule call does that sets it OPEN. Errors are of type *[Error].
func (e *Emulator) ResumeChannel(table, name, channel string) error {
	return e.scheduleChannel(table, name, channel, tunnelpb.ChannelStatus_OPEN)
}

// Reset sets switches, faults and the clock back to what they were in the
// beginning, and counts faults from 0. Tables and tunnels stay.
func (e *Emulator) Reset() {
	e.clock.switches.set(e.config.Switches)
	e.clock.offset.Store(0)
	e.keeper.stepped()
	e.injector.set(e.config.Faults)
	e.injector.forget()
}

func (e *Emulator) scheduleChannel(table, name, channel string, status tunnelpb.ChannelStatus) (err error) {
	defer e.sync(&err)
	if e.closed.Load() {
		return errClosed()
	}
	n, err := e.findTunnel(table, name, "")
	if err != nil {
		return err
	}
	_, err = e.schedule(&tunnelpb.ScheduleRequest{TunnelId: &n.id, Channels: []*tunnelpb.Channel{
		{ChannelId: &channel, Version: new(int64(0)), Status: &status},
	}})
	return err
}

// command runs f on a tunnel, under its lock.
func (e *Emulator) command(table, name string, f func(*tunnel) error) (err error) {
	defer e.sync(&err)
	if e.closed.Load() {
		return errClosed()
	}
	n, err := e.findTunnel(table, name, "")
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.update(); err != nil {
		return err
	}
	return f(n)
}

// handover is how the tunnel's channels change hands now.
func (n *tunnel) handover() handover {
	s := n.table.clock.switches.get()
	return handover{keepsVersion: s.MoveKeepsVersion, skipsClosing: s.MoveSkipsClosing}
}

// expireClient drops a client as if it had been silent. The lock is held.
func (n *tunnel) expireClient(c *client) {
	n.logger.Info("client dropped on command", "client", c.id)
	n.drop(c)
	n.assign()
}

// moveAway has a channel go from its holder to a client, or to the one after
// the holder if none is named. The lock is held.
func (n *tunnel) moveAway(ch *channel, to string) bool {
	if ch.state != open {
		return false
	}
	at := slices.IndexFunc(n.clients, func(c *client) bool { return c.id == ch.lease.client })
	if to == "" {
		to = n.clients[(at+1)%len(n.clients)].id
	}
	ch.wanted = to
	if h := n.handover(); h.skipsClosing {
		n.move(ch, h.hand(ch.lease, to))
	} else {
		n.move(ch, ch.lease.askedBack())
	}
	n.assign()
	return true
}

// carryOut carries out the command of a fault that hit a call, and says
// whether there was anything to do.
func (e *Emulator) carryOut(c commandFault, body []byte) bool {
	if c.kind == FaultStepClock {
		e.StepClock(c.step)
		return true
	}
	n, err := e.tunnelByID(field(body, 1))
	if err != nil {
		return false
	}
	if c.kind == FaultSplit {
		return e.splitAny(n.table, n.channelOf(field(body, 3)), c.chance)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.update() != nil {
		return false
	}
	switch c.kind {
	case FaultExpireTunnel:
		n.expireNow()
		return true
	case FaultExpireClient:
		c, err := n.client(field(body, 2))
		if err != nil {
			return false
		}
		n.expireClient(c)
		return true
	case FaultMove:
		ch := n.byID[field(body, 3)]
		if ch == nil || ch.state != open {
			var held []*channel
			for _, ch := range n.channels {
				if ch.state == open {
					held = append(held, ch)
				}
			}
			if len(held) == 0 {
				return false
			}
			ch = held[c.chance%uint64(len(held))]
		}
		return n.moveAway(ch, "")
	}
	return false
}

// ExpireTunnel makes a tunnel expire for good, as the service does when the
// table's stream no longer holds what the tunnel has to read: its calls are
// refused with OTSTunnelExpired.
func (e *Emulator) ExpireTunnel(table, name string) error {
	return e.command(table, name, func(n *tunnel) error {
		n.expireNow()
		return nil
	})
}

// expireNow is for good. The lock is held.
func (n *tunnel) expireNow() {
	n.expired = true
	n.logger.Warn("tunnel expired on command")
}

// channelOf is the channel of an id, nil if there is none.
func (n *tunnel) channelOf(id string) *channel {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byID[id]
}

// splitAny splits a channel's partition, or any of the table's if that cannot
// be, and says whether one was split.
func (e *Emulator) splitAny(t *table, ch *channel, chance uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.live[chance%uint64(len(t.live))]
	if ch != nil && !ch.base && !ch.partition.ended {
		p = ch.partition
	}
	_, err := t.split(p)
	return err == nil
}
