package main

import (
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/dispatcher"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestTheViewShowsHowARunStands(t *testing.T) {
	t.Parallel()
	running := view{
		table: "orders", handler: "python3 handler.py", running: true, elapsed: 75 * time.Second, now: noon,
		counts: counts{written: 1234, read: 1230, settled: 1200, invocations: 130, failed: 2, inFlight: 2, faults: 17},
		rates:  rates{written: 12.4, settled: 11.6, invocations: 1.26},
		faulty: true, news: "handler rebuilt in 0.8 s",
		channels: []dispatcher.ChannelStats{
			{ID: "Stream_0000", State: dispatcher.Reading, Read: 30, Settled: 30},
			{ID: "Stream_0001", State: dispatcher.Draining, Read: 1200, Settled: 1170, InFlight: 2, Oldest: noon.Add(-1500 * time.Millisecond)},
			{ID: "Stream_0002", State: dispatcher.Starting},
		},
	}
	for _, c := range []struct {
		name          string
		view          view
		width, height int
		want          string
	}{
		{"running", running, 80, 24, `
culvert local  orders → python3 handler.py  1 min 15 s
  written           1,234 12/s        invocations         130 1.3/s
  read              1,230             in flight             2
  delivered         1,200 12/s        failed                2
  behind               34 1.5 s       faults               17
  ██████████████████████████████████████████████████████████░░  97%
  handler rebuilt in 0.8 s
  channel Stream_0001    draining  read 1,200     delivered 1,170     in flight…
  channel Stream_0000    reading   read 30        delivered 30        in flight…
  channel Stream_0002    starting  read 0         delivered 0         in flight…`},
		{"in a low and narrow terminal", running, 40, 9, `
culvert local  orders → python3 handler…
  written           1,234 12/s        i…
  read              1,230             i…
  delivered         1,200 12/s        f…
  behind               34 1.5 s       f…
  ███████████████████████████████░  97%
  handler rebuilt in 0.8 s
  channel Stream_0001    draining  read…
  and 2 more channels`},
		{"building", view{handler: "./mine", task: &task{name: "building the handler ./mine"}}, 80, 24, `
culvert local  → ./mine
  building the handler ./mine …`},
		{"loading", view{table: "orders", handler: "./mine", task: &task{"loading orders.csv", 512, 1000}}, 60, 24, `
culvert local  orders → ./mine
  ████████████████░░░░░░░░░░░░░░░░  51% loading orders.csv`},
		{"nothing written yet", view{table: "t", handler: "h", running: true, now: noon}, 50, 24, `
culvert local  t → h  0.0 s
  written               0             invocations…
  read                  0             in flight  …
  delivered             0             failed     …
  behind                0
  ██████████████████████████████████████████ 100%`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(c.view.render(c.width, c.height, ink{}), "\n")
			if diff := cmp.Diff(c.want[1:], got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			colored := strings.Join(c.view.render(c.width, c.height, ink{colored: true}), "\n")
			if ansi.Strip(colored) != got || colored == got {
				t.Errorf("in color it says something else, or has none:\n%s", colored)
			}
		})
	}
}

func TestTheViewFitsAnyTerminal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 1<<62)
		v := view{
			table: "orders", handler: rapid.String().Draw(t, "handler"), running: rapid.Bool().Draw(t, "running"), now: noon,
			counts: counts{written: n.Draw(t, "written"), settled: n.Draw(t, "settled"), failed: n.Draw(t, "failed")},
			faulty: rapid.Bool().Draw(t, "faulty"),
			news:   rapid.StringMatching(`[a-z]{0,90}`).Draw(t, "news"),
		}
		v.handler = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
				return '?'
			}
			return r
		}, v.handler)
		for range rapid.IntRange(0, 40).Draw(t, "channels") {
			v.channels = append(v.channels, dispatcher.ChannelStats{ID: "Stream", State: dispatcher.Reading, Read: n.Draw(t, "read")})
		}
		if rapid.Bool().Draw(t, "task") {
			v.task = &task{"reading", n.Draw(t, "done"), n.Draw(t, "total")}
		}
		width, height := rapid.IntRange(1, 200).Draw(t, "width"), rapid.IntRange(0, 50).Draw(t, "height")
		lines := v.render(width, height, ink{colored: true})
		if len(lines) > max(height, 1) {
			t.Errorf("%d lines in %d", len(lines), height)
		}
		for _, line := range lines {
			if got := ansi.StringWidth(line); got > max(width, narrowest) || strings.Contains(line, "\n") {
				t.Errorf("%d columns in %d: %q", got, width, line)
			}
		}
	})
}

func TestRatesAreThoseOfTheLastSeconds(t *testing.T) {
	t.Parallel()
	var m meter
	if got := m.add(noon, counts{written: 50}); got != (rates{}) {
		t.Errorf("%v at the start", got)
	}
	var got rates
	for i := range 100 { // ten a second, and then nothing
		n := int64(50 + i + 1)
		got = m.add(noon.Add(time.Duration(i+1)*100*time.Millisecond), counts{written: n, settled: 2 * n, invocations: n / 10})
	}
	if got.written != 10 || got.settled != 20 || got.invocations != 1 {
		t.Errorf("%+v", got)
	}
	for i := range 40 {
		got = m.add(noon.Add(10*time.Second+time.Duration(i+1)*100*time.Millisecond), counts{written: 150, settled: 300, invocations: 15})
	}
	if got != (rates{}) || len(m.seen) > 40 {
		t.Errorf("%+v of %d readings after four seconds of nothing", got, len(m.seen))
	}
}
