package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/culvertio/culvert/dispatcher"
)

// counts are the figures of a run so far, but for inFlight, which is as of now.
type counts struct {
	written, read, settled        int64 // records
	invocations, failed, inFlight int64
	faults                        int64 // injected by the emulator
}

// view is what the live view shows of one moment.
type view struct {
	table    string
	handler  string        // as the user named it
	task     *task         // what takes long just now; nil: nothing
	running  bool          // the dispatcher is at work: counts say something
	elapsed  time.Duration // since it is
	counts   counts
	rates    rates
	faulty   bool   // faults are injected
	news     string // of the handler: what became of its last build
	broken   bool   // news are bad ones
	trouble  string // what keeps the run from going on
	channels []dispatcher.ChannelStats
	now      time.Time
}

// task is something that takes a while. Total 0: nobody knows how long.
type task struct {
	name        string
	done, total int64
}

// Bounds of the view.
const (
	narrowest  = 20
	widestBar  = 60
	leftMargin = "  "
)

// render draws the view, in at most height lines of at most width columns.
func (v view) render(width, height int, ink ink) []string {
	width = max(width, narrowest)
	lines := []string{v.title(ink)}
	if v.running {
		lines = append(lines, v.figures(ink)...)
	}
	if v.task != nil {
		lines = append(lines, leftMargin+v.task.render(width, ink))
	} else if v.running {
		lines = append(lines, leftMargin+v.bar(width, ink))
	}
	if v.news != "" {
		paint := ink.good
		if v.broken {
			paint = ink.bad
		}
		lines = append(lines, leftMargin+paint(v.news))
	}
	if v.trouble != "" {
		lines = append(lines, leftMargin+ink.bad(v.trouble))
	}
	lines = append(lines, v.channelLines(height-len(lines), ink)...)
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, width, "…")
	}
	return lines[:min(len(lines), max(height, 1))]
}

func (v view) title(ink ink) string {
	title := ink.strong("culvert local") + "  "
	if v.table != "" {
		title += v.table + " "
	}
	title += ink.faint("→") + " " + v.handler
	if v.running {
		title += ink.faint("  " + span(v.elapsed))
	}
	return title
}

// figures are two columns of numbers.
func (v view) figures(ink ink) []string {
	c := v.counts
	cell := func(name string, n int64, note string, paint func(string) string) string {
		return fmt.Sprintf("%s%s %s", ink.faint(fmt.Sprintf("%-12s", name)), paint(fmt.Sprintf("%11s", grouped(n))), fmt.Sprintf("%-12s", note))
	}
	bad, behind := ink.strong, ""
	if c.failed > 0 {
		bad = ink.bad
	}
	for _, ch := range v.channels {
		if age := v.age(ch); age != "" && (behind == "" || ch.Oldest.Before(v.oldest())) {
			behind = age
		}
	}
	lines := []string{
		cell("written", c.written, perSecond(v.rates.written), ink.strong) + cell("invocations", c.invocations, perSecond(v.rates.invocations), ink.strong),
		cell("read", c.read, "", ink.strong) + cell("in flight", c.inFlight, "", ink.strong),
		cell("delivered", c.settled, perSecond(v.rates.settled), ink.strong) + cell("failed", c.failed, "", bad),
	}
	last := cell("behind", max(0, c.written-c.settled), behind, ink.strong)
	if v.faulty {
		last += cell("faults", c.faults, "", ink.strong)
	}
	lines = append(lines, last)
	for i := range lines {
		lines[i] = leftMargin + strings.TrimRight(lines[i], " ")
	}
	return lines
}

// oldest is when the oldest unsettled record of all channels was read.
func (v view) oldest() (oldest time.Time) {
	for _, ch := range v.channels {
		if !ch.Oldest.IsZero() && (oldest.IsZero() || ch.Oldest.Before(oldest)) {
			oldest = ch.Oldest
		}
	}
	return oldest
}

// age is for how long a channel has held its oldest unsettled record.
func (v view) age(ch dispatcher.ChannelStats) string {
	if ch.Oldest.IsZero() {
		return ""
	}
	return span(v.now.Sub(ch.Oldest))
}

// bar shows how much of what was written is delivered.
func (v view) bar(width int, ink ink) string {
	return drawBar(v.counts.settled, v.counts.written, min(width-len(leftMargin)-6, widestBar), ink)
}

func (t *task) render(width int, ink ink) string {
	if t.total == 0 {
		return t.name + ink.faint(" …")
	}
	return drawBar(t.done, t.total, min(width-len(leftMargin)-8-ansi.StringWidth(t.name), widestBar), ink) + " " + t.name
}

// drawBar draws width cells and the percentage.
func drawBar(done, total int64, width int, ink ink) string {
	share := percent(done, total)
	width = max(width, 1)
	full := width * share / 100
	return ink.good(strings.Repeat("█", full)) + ink.faint(strings.Repeat("░", width-full)) + fmt.Sprintf(" %3d%%", share)
}

// percent is rounded down: 100 is all.
func percent(done, total int64) int {
	if total <= 0 {
		return 100
	}
	return int(100 * min(max(done, 0), total) / total)
}

// channelLines is a line a channel, at most room of them: those that hold
// something first.
func (v view) channelLines(room int, ink ink) []string {
	if len(v.channels) == 0 || room < 1 {
		return nil
	}
	var busy, idle []string
	for _, ch := range v.channels {
		line := fmt.Sprintf("%schannel %-14.14s %-8s  read %-9s delivered %-9s in flight %-3d %s", leftMargin,
			ch.ID, ch.State, grouped(ch.Read), grouped(ch.Settled), ch.InFlight, v.age(ch))
		line = strings.TrimRight(line, " ")
		if ch.Oldest.IsZero() {
			idle = append(idle, ink.faint(line))
		} else {
			busy = append(busy, line)
		}
	}
	lines := append(busy, idle...)
	if len(lines) > room {
		more := len(lines) - room + 1
		lines = append(lines[:room-1], leftMargin+ink.faint(fmt.Sprintf("and %d more channels", more)))
	}
	return lines
}

// grouped is a number with its thousands apart.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for at := len(text) - 3; at > 0 && text[at-1] != '-'; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

func perSecond(n float64) string {
	switch {
	case n == 0:
		return ""
	case n < 10:
		return fmt.Sprintf("%.1f/s", n)
	}
	return grouped(int64(n+0.5)) + "/s"
}

// span is a duration as one reads it at a glance.
func span(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", max(d, 0).Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// rates are per second.
type rates struct{ written, settled, invocations float64 }

// meter makes rates of counts: over the last few seconds.
type meter struct {
	seen []reading
}

type reading struct {
	at time.Time
	counts
}

const meterSpan = 3 * time.Second

// add takes the counts of a moment and returns the rates as of then.
func (m *meter) add(at time.Time, c counts) rates {
	m.seen = append(m.seen, reading{at, c})
	for len(m.seen) > 2 && at.Sub(m.seen[1].at) >= meterSpan {
		m.seen = m.seen[1:]
	}
	first := m.seen[0]
	seconds := at.Sub(first.at).Seconds()
	if seconds <= 0 {
		return rates{}
	}
	return rates{
		written:     float64(c.written-first.written) / seconds,
		settled:     float64(c.settled-first.settled) / seconds,
		invocations: float64(c.invocations-first.invocations) / seconds,
	}
}
