package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

// console is where a run of local is shown: on a terminal in a live view, with
// everything that is printed above it; elsewhere in lines.
type console struct {
	stdout, stderr *outlet
	screen         *screen // nil: lines

	mu    sync.Mutex
	view  view
	meter meter
	last  time.Time // when a task was shown last
}

// Pace of what is shown.
const (
	viewEvery = 100 * time.Millisecond
	lineEvery = time.Second
)

// newConsole takes the terminal, if stdout is one that can show a view.
func newConsole(s *surroundings, plain bool) *console {
	c := &console{stdout: s.stdout, stderr: s.stderr}
	if plain || !isTerminal(s.stdout) || os.Getenv("TERM") == "dumb" || runtime.GOOS == "windows" {
		return c
	}
	c.screen = openScreen(s.stdout.file)
	s.stdout.divert(c.screen)
	if isTerminal(s.stderr) {
		s.stderr.divert(c.screen)
	}
	return c
}

// close ends the live view, which stays as it was last.
func (c *console) close() {
	if c.screen == nil {
		return
	}
	c.screen.close()
	c.stdout.divert(nil)
	c.stderr.divert(nil)
	c.screen = nil
}

// every is how often a status is wanted.
func (c *console) every() time.Duration {
	if c.screen != nil {
		return viewEvery
	}
	return lineEvery
}

// about says what runs.
func (c *console) about(table, handler string) {
	c.change(func(v *view) { v.table, v.handler = table, handler })
}

// change draws the view anew after f has changed it.
func (c *console) change(f func(*view)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.view)
	if c.screen != nil {
		c.screen.show(c.view)
	}
}

// task shows how far something has come that takes long, of a total, at most
// as often as every wants it. In lines, what ends before that is not shown.
func (c *console) task(name string, done, total int64) {
	c.mu.Lock()
	former := c.view.task
	if former == nil || former.name != name {
		c.view.task = &task{name: name}
		c.last = time.Now()
		former = nil
	}
	due := time.Since(c.last) >= c.every()
	if due {
		c.last = time.Now()
	}
	c.mu.Unlock()
	if !due && (c.screen == nil || former != nil) {
		return
	}
	c.change(func(v *view) { v.task = &task{name, done, total} })
	if c.screen == nil {
		fmt.Fprintf(c.stdout, "%s: %d%%\n", name, percent(done, total))
	}
}

// begin shows that something has begun of which nobody knows how long it
// takes.
func (c *console) begin(name string) {
	if c.screen == nil {
		fmt.Fprintln(c.stdout, name)
		return
	}
	c.change(func(v *view) { v.task = &task{name: name} })
}

// done ends what task or begin have shown.
func (c *console) done() { c.change(func(v *view) { v.task = nil }) }

// news shows what became of the handler's build.
func (c *console) news(text string, broken bool) {
	if c.screen == nil {
		fmt.Fprintln(c.stdout, text)
	}
	c.change(func(v *view) { v.news, v.broken = text, broken })
}

// trouble shows what keeps the run from going on, "" when nothing does: in the
// view always, and as a line when it is due.
func (c *console) trouble(text string, due bool) {
	if due {
		fmt.Fprintln(c.stdout, text)
	}
	c.change(func(v *view) { v.trouble = text })
}

// report shows how the run stands.
func (c *console) report(v view) {
	if c.screen == nil {
		n := v.counts
		line := fmt.Sprintf("%4.0f s: %d written, %d read, %d settled; %d invocations, %d failed, %d under way",
			v.elapsed.Seconds(), n.written, n.read, n.settled, n.invocations, n.failed, n.inFlight)
		if v.faulty {
			line += fmt.Sprintf("; %d faults", n.faults)
		}
		fmt.Fprintln(c.stdout, line)
		return
	}
	c.change(func(now *view) {
		v.table, v.handler, v.task, v.news, v.broken, v.trouble = now.table, now.handler, now.task, now.news, now.broken, now.trouble
		v.running, v.rates = true, c.meter.add(v.now, v.counts)
		*now = v
	})
}
