package emulator

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

func TestOnlyTheHoldersHigherVersionMovesAChannel(t *testing.T) {
	held := lease{state: open, version: 5, client: "a"}
	asked := lease{state: closing, version: 6, client: "a"}
	for _, tt := range []struct {
		name    string
		from    lease
		client  string
		version int64
		status  tunnelpb.ChannelStatus
		to      lease
	}{
		{"given back", asked, "a", 7, tunnelpb.ChannelStatus_CLOSE, lease{state: closed, version: 7}},
		{"given back unasked", held, "a", 6, tunnelpb.ChannelStatus_CLOSE, lease{state: closed, version: 6}},
		{"read to its end", held, "a", 6, tunnelpb.ChannelStatus_TERMINATED, lease{state: terminated, version: 6}},
		{"read to its end while asked back", asked, "a", 7, tunnelpb.ChannelStatus_TERMINATED, lease{state: terminated, version: 7}},
		{"given back before it heard that it is asked back", asked, "a", 6, tunnelpb.ChannelStatus_CLOSE, asked},
		{"an old report", held, "a", 4, tunnelpb.ChannelStatus_CLOSE, held},
		{"still held", held, "a", 5, tunnelpb.ChannelStatus_OPEN, held},
		{"a client cannot open", asked, "a", 9, tunnelpb.ChannelStatus_OPEN, asked},
		{"another client", held, "b", 9, tunnelpb.ChannelStatus_CLOSE, held},
		{"nobody's channel", lease{state: closed, version: 7}, "a", 9, tunnelpb.ChannelStatus_TERMINATED, lease{state: closed, version: 7}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, changed := tt.from.reported(tt.client, tt.version, tt.status)
			if got != tt.to || changed != (tt.from != tt.to) {
				t.Errorf("%+v, changed %v; want %+v", got, changed, tt.to)
			}
		})
	}
}

func TestAGoneClientsChannelsAreFreeAtOnce(t *testing.T) {
	for _, s := range []state{open, closing} {
		l, changed := handover{}.left(lease{state: s, version: 5, client: "a"}, "a")
		if want := (lease{state: closed, version: 6}); l != want || !changed {
			t.Errorf("from %v: %+v", s, l)
		}
	}
	other := lease{state: open, version: 5, client: "b"}
	if l, changed := (handover{}).left(other, "a"); l != other || changed {
		t.Errorf("another client's channel became %+v", l)
	}
}

// TestChannelsAreSpreadAndNeverHeldTwice plays clients that come, go, give
// back, finish and lag behind what the server has decided.
func TestChannelsAreSpreadAndNeverHeldTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		channels := make([]lease, rapid.IntRange(1, 12).Draw(t, "channels"))
		base := rapid.IntRange(0, len(channels)).Draw(t, "base channels")
		ready := func(i int) bool {
			return i < base || !slices.ContainsFunc(channels[:base], func(l lease) bool { return l.state != terminated })
		}
		set := func(i int, l lease) {
			if l.version != channels[i].version+1 {
				t.Fatalf("channel %d went from version %d to %d", i, channels[i].version, l.version)
			}
			if (l.state == open || l.state == closing) != (l.client != "") {
				t.Fatalf("channel %d in %v is held by %q", i, l.state, l.client)
			}
			if l.state == closing && (channels[i].state != open || channels[i].client != l.client) {
				t.Fatalf("channel %d was asked back in %+v", i, channels[i])
			}
			if l.state == open && (channels[i].state == open || channels[i].state == closing || channels[i].state == terminated || !ready(i)) {
				t.Fatalf("channel %d was handed out in %+v", i, channels[i])
			}
			channels[i] = l
		}
		var clients []string
		settle := func() {
			seats := make([]seat, len(channels))
			for i, l := range channels {
				seats[i] = seat{lease: l, ready: ready(i)}
			}
			for _, m := range (handover{}).assign(clients, seats) {
				set(m.channel, m.to)
			}
		}
		giveBack := func() {
			for i, l := range channels {
				if l.state == closing {
					next, _ := l.reported(l.client, l.version+1, tunnelpb.ChannelStatus_CLOSE)
					set(i, next)
				}
			}
		}
		next := 0
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				next++
				clients = append(clients, fmt.Sprint("client", next))
			},
			"leave": func(t *rapid.T) {
				if len(clients) == 0 {
					t.Skip()
				}
				gone := rapid.SampledFrom(clients).Draw(t, "client")
				clients = slices.DeleteFunc(clients, func(c string) bool { return c == gone })
				for i, l := range channels {
					if next, changed := (handover{}).left(l, gone); changed {
						set(i, next)
					}
				}
			},
			"report": func(t *rapid.T) {
				i := rapid.IntRange(0, len(channels)-1).Draw(t, "channel")
				status := rapid.SampledFrom([]tunnelpb.ChannelStatus{tunnelpb.ChannelStatus_CLOSE, tunnelpb.ChannelStatus_TERMINATED}).Draw(t, "status")
				// The client may not have heard of the last move.
				version := channels[i].version + rapid.Int64Range(0, 1).Draw(t, "ahead")
				if l, changed := channels[i].reported(channels[i].client, version, status); changed {
					set(i, l)
				}
			},
			"settle": func(*rapid.T) { settle() },
			"": func(t *rapid.T) {
				if len(clients) == 0 {
					return
				}
				// Left alone, everything that can be consumed is soon held, and
				// evenly.
				settle()
				giveBack()
				settle()
				holds := make(map[string]int)
				for i, l := range channels {
					if l.state == open {
						holds[l.client]++
					} else if l.state != terminated && ready(i) {
						t.Fatalf("channel %d stays in %v with %d clients", i, l.state, len(clients))
					}
				}
				least, most := len(channels), 0
				for _, c := range clients {
					least, most = min(least, holds[c]), max(most, holds[c])
				}
				if most-least > 1 {
					t.Fatalf("clients hold %v", holds)
				}
			},
		})
	})
}

func TestAJoiningClientMovesNoMoreChannelsThanItGets(t *testing.T) {
	var seats []seat
	for i := range 7 {
		seats = append(seats, seat{lease: lease{state: open, version: 1, client: []string{"a", "a", "a", "a", "b", "b", "b"}[i]}, ready: true})
	}
	moves := handover{}.assign([]string{"a", "b", "c"}, seats)
	var back []string
	for _, m := range moves {
		back = append(back, fmt.Sprint(m.to.state, m.to.client))
	}
	if want := []string{"CLOSINGa", "CLOSINGb"}; !slices.Equal(back, want) {
		t.Errorf("moves %v, want %v", back, want)
	}
}
