package emulator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

func TestAMovedChannelGoesToTheClientThatIsNamed(t *testing.T) {
	for _, skips := range []bool{false, true} {
		t.Run(fmt.Sprint("skipping CLOSING: ", skips), func(t *testing.T) {
			e := newEmulator(t, Config{Switches: Switches{MoveSkipsClosing: skips}})
			s := newStream(t, e, 4)
			g := &group{t: t, e: e, tunnel: s.tunnel, holds: map[string][]*tunnelpb.Channel{s.client: nil}}
			g.holds[connect(t, e, s.tunnel, 10)] = nil
			g.settle()
			for range 3 {
				before := g.holder("Stream_0000")
				to := slices.DeleteFunc(slices.Sorted(maps.Keys(g.holds)), func(c string) bool { return c == before })[0]
				if err := e.MoveChannel("t", "feed", "Stream_0000", to); err != nil {
					t.Fatal(err)
				}
				g.settle()
				if got := g.holder("Stream_0000"); got != to {
					t.Errorf("the channel went from %s to %s, want %s", before, got, to)
				}
				for c, held := range g.holds {
					if len(held) != 2 {
						t.Errorf("client %s holds %d channels of 4", c, len(held))
					}
				}
			}
		})
	}
}

func TestAChannelMovedWithoutAnotherClientComesBack(t *testing.T) {
	e := newEmulator(t, Config{})
	s := newStream(t, e, 1)
	g := &group{t: t, e: e, tunnel: s.tunnel, holds: map[string][]*tunnelpb.Channel{s.client: nil}}
	g.settle()
	if err := e.MoveChannel("t", "feed", "Stream_0000", ""); err != nil {
		t.Fatal(err)
	}
	err := e.MoveChannel("t", "feed", "Stream_0000", "")
	if fail, ok := errors.AsType[*Error](err); !ok || !strings.Contains(fail.Message, "CLOSING") {
		t.Errorf("a channel in CLOSING is moved: %v", err)
	}
	g.settle()
	if g.holder("Stream_0000") != s.client {
		t.Error("the channel is gone")
	}
}

// However channels are moved, the spread comes to rest, evenly.
func TestMovedChannelsComeToRest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := newEmulator(t, Config{Switches: Switches{
			MoveSkipsClosing: rapid.Bool().Draw(rt, "skips"), MoveKeepsVersion: rapid.Bool().Draw(rt, "keeps"),
			ClosingReopens: rapid.Bool().Draw(rt, "reopens"),
		}})
		channels := rapid.IntRange(1, 6).Draw(rt, "channels")
		s := newStream(t, e, channels)
		g := &group{t: t, e: e, tunnel: s.tunnel, holds: map[string][]*tunnelpb.Channel{s.client: nil}}
		for range rapid.IntRange(0, 3).Draw(rt, "more clients") {
			g.holds[connect(t, e, s.tunnel, 10)] = nil
		}
		for range rapid.IntRange(1, 8).Draw(rt, "rounds") {
			for range rapid.IntRange(0, 3).Draw(rt, "moves") {
				id := fmt.Sprintf("Stream_%04d", rapid.IntRange(0, channels-1).Draw(rt, "channel"))
				to := rapid.SampledFrom(append(slices.Sorted(maps.Keys(g.holds)), "")).Draw(rt, "to")
				_ = e.MoveChannel("t", "feed", id, to) // one that is not OPEN cannot be moved
			}
			g.round()
		}
		g.settle()
		least, most := channels, 0
		for _, held := range g.holds {
			least, most = min(least, len(held)), max(most, len(held))
		}
		if most-least > 1 {
			rt.Errorf("clients hold %d to %d channels", least, most)
		}
	})
}

// group is clients that give back at once what they are asked for.
type group struct {
	t      *testing.T
	e      *Emulator
	tunnel string
	holds  map[string][]*tunnelpb.Channel
}

// round lets each client send a heartbeat.
func (g *group) round() {
	for _, c := range slices.Sorted(maps.Keys(g.holds)) {
		for i, ch := range g.holds[c] {
			if ch.GetStatus() == tunnelpb.ChannelStatus_CLOSING {
				g.holds[c][i] = report(ch, tunnelpb.ChannelStatus_CLOSE)
			}
		}
		g.holds[c] = beat(g.t, g.e, g.tunnel, c, g.holds[c]...)
	}
}

// settle lets heartbeats pass until they change nothing, and all is OPEN.
func (g *group) settle() {
	g.t.Helper()
	for range 20 {
		g.round()
	}
	before := g.listing()
	g.round()
	if after := g.listing(); after != before || strings.Contains(after, "CLOS") {
		g.t.Fatalf("channels still move: %s, then %s", before, after)
	}
}

func (g *group) listing() string {
	var all []string
	for _, c := range slices.Sorted(maps.Keys(g.holds)) {
		all = append(all, listing(g.holds[c]))
	}
	return strings.Join(all, "; ")
}

func (g *group) holder(channel string) string {
	for c, held := range g.holds {
		if slices.ContainsFunc(held, func(ch *tunnelpb.Channel) bool { return ch.GetChannelId() == channel }) {
			return c
		}
	}
	return ""
}
