package emulator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// TestNoChangeIsLostHoweverClientsComeAndGo plays clients that join, shut
// down, crash, fall silent, lose answers, give back what they were not asked
// for and commit late, while rows are written, channels are moved, the clock
// steps, the base data gives way to the stream, and switches are set. Each
// key's value counts its changes.
func TestNoChangeIsLostHoweverClientsComeAndGo(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		switches := drawSwitches(rt)
		// These need a consumer that knows of them.
		switches.EarlyHeartbeats, switches.ForeignCheckpoint, switches.WrongChecksums = EarlyTaken, false, false
		e := newEmulator(t, Config{PageRecords: rapid.IntRange(1, 4).Draw(rt, "records a page"), Switches: switches})
		newTableOf(t, e, rapid.IntRange(1, 4).Draw(rt, "partitions"))
		p := &play{T: rt, t: t, e: e, written: make(map[string]int64), seen: make(map[string]int64)}
		if rapid.Bool().Draw(rt, "a stream from the start") {
			newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
			must[tunnelpb.DeleteTunnelResponse](t, e, "/tunnel/delete", &tunnelpb.DeleteTunnelRequest{TableName: new("t"), TunnelName: new("feed")})
		}
		for range rapid.IntRange(0, 30).Draw(rt, "writes before the tunnel") {
			p.write(rt)
		}
		p.base = maps.Clone(p.written)
		p.tunnel = newTunnelOf(t, e, tunnelpb.TunnelType_BASE_AND_STREAM, nil)
		rt.Repeat(map[string]func(*rapid.T){
			"write": p.write,
			"join":  func(*rapid.T) { p.join() },
			"shut down": func(rt *rapid.T) {
				c := p.one(rt)
				_, err := call[tunnelpb.ShutdownResponse](t, e, "/tunnel/shutdown", &tunnelpb.ShutdownRequest{TunnelId: &p.tunnel, ClientId: &c.id})
				p.gone(err)
				p.forget(c)
			},
			"crash": func(rt *rapid.T) {
				c := p.one(rt)
				p.silence(c)
				p.forget(c)
			},
			"move": func(rt *rapid.T) {
				c := p.one(rt)
				for _, id := range slices.Sorted(maps.Keys(c.holds)) {
					// One that is no longer OPEN cannot be moved.
					_ = e.MoveChannel("t", "feed", id, p.one(rt).id)
				}
			},
			"clock": func(rt *rapid.T) {
				e.StepClock(time.Duration(rapid.IntRange(-60, 60).Draw(rt, "seconds")) * time.Second)
			},
			"fall silent": func(rt *rapid.T) { p.silence(p.one(rt)) },
			"heartbeat":   func(rt *rapid.T) { p.beat(p.one(rt), rapid.IntRange(0, 4).Draw(rt, "0 loses the answer") == 0) },
			"give back": func(rt *rapid.T) {
				c := p.one(rt)
				for _, id := range slices.Sorted(maps.Keys(c.holds)) {
					if ch := c.holds[id]; ch.status == tunnelpb.ChannelStatus_OPEN && rapid.Bool().Draw(rt, "this one") {
						ch.version, ch.status = ch.version+1, tunnelpb.ChannelStatus_CLOSE
					}
				}
			},
			"read": func(rt *rapid.T) {
				c := p.one(rt)
				for _, id := range slices.Sorted(maps.Keys(c.holds)) {
					p.read(c, id, rapid.Bool().Draw(rt, "commit"))
				}
			},
		})
		// All others fall silent; the one that is left gets and reads it all.
		for _, c := range p.clients {
			p.silence(c)
		}
		last := p.join()
		for left, rounds := int64(1), 0; left > 0; rounds++ {
			if rounds == 1000 {
				rt.Fatalf("%d records remain, and the client holds %v", left, last.holds)
			}
			p.beat(last, false)
			for _, id := range slices.Sorted(maps.Keys(last.holds)) {
				p.read(last, id, true)
			}
			var err error
			if left, err = e.Remaining("t", "feed"); err != nil {
				rt.Fatal(err)
			}
		}
		if !maps.Equal(p.written, p.seen) {
			rt.Fatalf("written %v, delivered %v", p.written, p.seen)
		}
	})
}

// play is a tunnel, its clients, and how far each key has been written and
// delivered.
type play struct {
	*rapid.T
	t             *testing.T
	e             *Emulator
	tunnel        string
	clients       []*consumer
	written, seen map[string]int64
	base          map[string]int64 // what was written when the tunnel was made
}

// consumer is a client as a careful author would write it.
type consumer struct {
	id    string
	holds map[string]*holding // by channel
}

// holding is what a client knows of a channel.
type holding struct {
	version  int64
	status   tunnelpb.ChannelStatus
	at       string // the next token to read
	sequence int64  // of the last commit
}

const playTimeout = 10 // seconds

func (p *play) write(rt *rapid.T) {
	k := fmt.Sprint(rapid.IntRange(0, 9).Draw(rt, "key"))
	p.written[k]++
	mustWrite(p.t, p.e, putOf(k, p.written[k]))
}

func (p *play) join() *consumer {
	c := &consumer{connect(p.t, p.e, p.tunnel, playTimeout), make(map[string]*holding)}
	p.clients = append(p.clients, c)
	return c
}

func (p *play) one(rt *rapid.T) *consumer {
	if len(p.clients) == 0 {
		rt.Skip()
	}
	return rapid.SampledFrom(p.clients).Draw(rt, "client")
}

func (p *play) forget(c *consumer) {
	p.clients = slices.DeleteFunc(p.clients, func(o *consumer) bool { return o == c })
}

// silence lets a client's timeout pass, and no other's.
func (p *play) silence(c *consumer) {
	n, err := p.e.tunnelByID(p.tunnel)
	if err != nil {
		p.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if known, err := n.client(c.id); err == nil {
		known.seen = known.seen.Add(-(playTimeout + 1) * time.Second)
	}
}

// gone says whether a call failed because its client, or the client's hold on
// the channel, has ended. Nothing else may fail.
func (p *play) gone(err error) bool {
	if err == nil {
		return false
	}
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != codeResourceGone {
		p.Fatal(err)
	}
	return true
}

// beat tells the server what c holds, and c what it should hold, unless the
// answer is lost.
func (p *play) beat(c *consumer, lost bool) {
	q := &tunnelpb.HeartbeatRequest{TunnelId: &p.tunnel, ClientId: &c.id}
	for id, ch := range c.holds {
		q.Channels = append(q.Channels, &tunnelpb.Channel{ChannelId: &id, Version: &ch.version, Status: &ch.status})
	}
	a, err := call[tunnelpb.HeartbeatResponse](p.t, p.e, "/tunnel/heartbeat", q)
	if p.gone(err) {
		p.forget(c)
		return
	}
	if lost {
		return
	}
	holds := make(map[string]*holding)
	for _, told := range a.GetChannels() {
		id := told.GetChannelId()
		ch := c.holds[id]
		if ch != nil && told.GetVersion() < ch.version {
			p.Fatalf("channel %s went back from version %d to %d", id, ch.version, told.GetVersion())
		}
		// What was given back and comes again is read from its checkpoint.
		if ch == nil || !ch.readable() {
			ch = new(holding)
			ch.at, ch.sequence = token(p.t, p.e, p.tunnel, c.id, id)
		}
		ch.version, ch.status = told.GetVersion(), told.GetStatus()
		holds[id] = ch
	}
	c.holds = holds
}

func (h *holding) readable() bool {
	return h.status == tunnelpb.ChannelStatus_OPEN || h.status == tunnelpb.ChannelStatus_CLOSING
}

// read reads a page of a channel, commits it if asked to or at the end, and
// makes the next heartbeat report what has come to its end or is asked back.
func (p *play) read(c *consumer, id string, commits bool) {
	ch := c.holds[id]
	if !ch.readable() {
		return
	}
	q := &tunnelpb.ReadRecordsRequest{TunnelId: &p.tunnel, ClientId: &c.id, ChannelId: &id, Token: &ch.at}
	a, err := call[tunnelpb.ReadRecordsResponse](p.t, p.e, "/tunnel/readrecords", q)
	if p.gone(err) {
		delete(c.holds, id)
		return
	}
	again, err := call[tunnelpb.ReadRecordsResponse](p.t, p.e, "/tunnel/readrecords", q)
	if err != nil || !proto.Equal(a, again) {
		p.Fatalf("token %q of channel %s gives another page, %v", ch.at, id, err)
	}
	for _, r := range a.GetRecords() {
		row := decodeRow(p.t, r)
		k, n := string(row.Key[0].Value.Bytes()), row.Columns[0].Value.Integer()
		switch {
		case !row.HasSequence && n != p.base[k]:
			p.Fatalf("key %s was %d when the tunnel was made, its base record is %d", k, p.base[k], n)
		case row.HasSequence && n <= p.base[k]:
			p.Fatalf("key %s: change %d is repeated by the stream, the base record was %d", k, n, p.base[k])
		case row.HasSequence && n > p.seen[k]+1:
			p.Fatalf("key %s: change %d came after %d", k, n, p.seen[k])
		}
		p.seen[k] = max(p.seen[k], n)
	}
	ch.at = a.GetNextToken()
	if commits || ch.at == finished {
		if p.gone(commit(p.t, p.e, p.tunnel, c.id, id, ch.at, ch.sequence+1)) {
			delete(c.holds, id)
			return
		}
		ch.sequence++
	}
	switch {
	case ch.at == finished:
		ch.version, ch.status = ch.version+1, tunnelpb.ChannelStatus_TERMINATED
	case ch.status == tunnelpb.ChannelStatus_CLOSING:
		ch.version, ch.status = ch.version+1, tunnelpb.ChannelStatus_CLOSE
	}
}
