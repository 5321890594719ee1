package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// startOnTerminal runs culvert on a terminal of its own, wide enough that
// nothing is wrapped.
func startOnTerminal(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	ours, theirs := openTerminal(t, 200, 30)
	p := prepare(t, append([]string{"TERM=xterm", "NO_COLOR="}, env...), args...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirs, theirs, theirs
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.read = func() {
		_ = theirs.Close()
		_, _ = io.Copy(p, ours) // until the last one who has the terminal closes it
	}
	p.launch()
	return p
}

// openTerminal makes a pseudo-terminal.
func openTerminal(t *testing.T, width, height uint16) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	fd := int(ours.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width}); err != nil {
		t.Fatal(err)
	}
	if theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

func TestOnATerminalALiveViewStandsBelowWhatIsPrinted(t *testing.T) {
	t.Parallel()
	p := startOnTerminal(t, nil, "local", "--once", "--orders", "60", "--log-level", "info")
	p.exits(exitDone)
	var shown paper
	shown.write(t, p.text())
	lines := shown.text()
	place := func(text string) int {
		t.Helper()
		found := -1
		for i, line := range lines {
			if strings.Contains(line, text) {
				if found >= 0 {
					t.Errorf("%q stands there twice", text)
				}
				found = i
			}
		}
		if found < 0 {
			t.Errorf("%q is not to be seen", text)
		}
		return found
	}
	// In this order; the view as it was last, and once only.
	last := -1
	for _, text := range []string{"endpoint ", "table orders made", "culvert local  orders → ", "  behind  ", " 100%", "summary, from", "nothing lost, each key in order"} {
		if at := place(text); at <= last {
			t.Errorf("%q stands in line %d, not below line %d", text, at, last)
		} else {
			last = at
		}
	}
	view := place("culvert local  orders → ")
	if at := place("msg=dispatching"); at > view {
		t.Error("the log is not above the view")
	}
	if handled := strings.Count(strings.Join(lines[:view], "\n"), "order sample-"); handled < 30 {
		t.Errorf("%d lines of the handler are above the view", handled)
	}
	if !strings.Contains(p.text(), "\x1b[1m") {
		t.Error("there is no color")
	}
	if t.Failed() {
		t.Log(strings.Join(lines, "\n"))
	}
}

func TestATerminalCanBeLeftWithoutColorsOrWithoutAView(t *testing.T) {
	t.Parallel()
	p := startOnTerminal(t, []string{"NO_COLOR=1"}, "local", "--once", "--orders", "30", "--handler", recorder)
	p.exits(exitDone, "culvert local  orders → ", "nothing lost, each key in order")
	if strings.Contains(p.text(), "m\x1b") || strings.Contains(p.text(), "\x1b[1m") || strings.Contains(p.text(), "\x1b[2m") {
		t.Error("there is color")
	}
	for _, plain := range []*process{
		startOnTerminal(t, nil, "local", "--plain", "--once", "--orders", "30", "--handler", recorder),
		startOnTerminal(t, []string{"TERM=dumb"}, "local", "--once", "--orders", "30", "--handler", recorder),
	} {
		plain.exits(exitDone, "nothing lost, each key in order", " settled; ")
		if strings.Contains(plain.text(), "\x1b") {
			t.Error("there is a view")
		}
	}
}

func TestAnInterruptOnATerminalLeavesTheSummary(t *testing.T) {
	t.Parallel()
	p := startOnTerminal(t, nil, "local", "--orders", "30", "--handler", recorder)
	p.awaits("from here on a change a second")
	p.signal(syscall.SIGINT)
	p.exits(exitDone)
	var shown paper
	shown.write(t, p.text())
	text := strings.Join(shown.text(), "\n")
	view := strings.LastIndex(text, "culvert local  orders → ")
	for _, above := range []string{"culvert: draining; interrupt again to leave at once", "waiting 10s at most"} {
		if at := strings.Index(text, above); at < 0 || at > view {
			t.Errorf("%q is not above the view:\n%s", above, text)
		}
	}
	if at := strings.Index(text, "nothing lost, each key in order"); at < view {
		t.Errorf("the summary is not below the view:\n%s", text)
	}
}

func TestTheViewShowsAHandlerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	p := startOnTerminal(t, nil, "local", "--handler", "testdata/hangs", "--timeout", "3s")
	p.awaits("the handler has not answered batch ", "for 2.")
}
