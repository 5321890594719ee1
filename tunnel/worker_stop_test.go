package tunnel_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertio/culvert/tunnel"
)

func TestASoftStopDrainsThenGivesBackThenShutsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.lists(open("a", 1), open("b", 4), open("c", 9))
		c := newConsumer(t, func(ctx context.Context, ch *tunnel.Channel) (tunnel.End, error) {
			switch ch.ID() {
			case "a":
				return drains(12*time.Second)(ctx, ch)
			case "b":
				return drains(time.Second)(ctx, ch)
			}
			return drains(time.Hour)(ctx, ch)
		})
		j := begin(t, client, c)
		time.Sleep(25 * time.Second)
		j.end()

		var after []seen
		for _, call := range s.calls("") {
			if call.At > 25*time.Second {
				after = append(after, call)
			}
		}
		equal(t, "calls after the stop", []seen{
			{Path: heartbeat, At: 30 * time.Second, Client: "client-1", Channels: []tunnel.HeartbeatChannel{open("a", 1), closed("b", 5), open("c", 9)}},
			{Path: heartbeat, At: 55 * time.Second, Client: "client-1", Channels: []tunnel.HeartbeatChannel{closed("a", 2), closed("b", 5), closed("c", 10)}},
			{Path: shutdown, At: 55 * time.Second, Client: "client-1"},
		}, after)
		equal(t, "runs", []string{
			"0s a v1 begins", "0s b v4 begins", "0s c v9 begins",
			"26s b ends drained", "37s a ends drained", "55s c ends lost",
		}, c.notes())
	})
}

func TestASoftStopTellsTheServiceAtOnceWhenAllHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.lists(open("a", 1))
		j := begin(t, client, newConsumer(t, drains(time.Second)))
		time.Sleep(2 * time.Second)
		j.end()

		// The gap after the first heartbeat is waited for.
		calls := s.calls("")
		equal(t, "the last calls", []seen{
			{Path: heartbeat, At: 5 * time.Second, Client: "client-1", Channels: []tunnel.HeartbeatChannel{closed("a", 2)}},
			{Path: shutdown, At: 5 * time.Second, Client: "client-1"},
		}, calls[len(calls)-2:])
	})
}

func TestASoftStopEndsThoughTheServiceIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.lists(open("a", 1))
		j := begin(t, client, newConsumer(t, drains(time.Second)))
		time.Sleep(10 * time.Second)
		for _, path := range []string{heartbeat, shutdown} {
			s.fails(path, slices.Repeat([]fault{{slow: time.Hour}}, 100)...)
		}
		began := time.Now()
		j.end()
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("the stop took %v", took)
		}
	})
}

func TestAStopDuringConnectWaitsForTheAnswerAndShutsTheClientDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.fails(connect, fault{slow: 3 * time.Second})
		j := begin(t, client, newConsumer(t, nil))
		time.Sleep(time.Second)
		j.end()
		calls := s.calls("")
		equal(t, "calls", []seen{
			{Path: connect, At: 3 * time.Second},
			{Path: shutdown, At: 3 * time.Second, Client: "client-1"},
		}, calls)
	})
}

func TestAStopWhileNothingAnswersConnectReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.fails(connect, slices.Repeat([]fault{{code: tunnel.CodeServerUnavailable}}, 1000)...)
		j := begin(t, client, newConsumer(t, nil))
		time.Sleep(3 * time.Minute)
		j.end()
		equal(t, "clients", 0, s.clients)
	})
}
