package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"
)

// screen is a live view at the bottom of a terminal. What is written to it is
// printed above the view, line by line. It takes no input and changes no mode
// of the terminal, so that nothing has to be put right if the process is
// killed.
type screen struct {
	out     *os.File
	ink     ink
	news    chan struct{} // with room for one: there is something to draw
	drawing sync.WaitGroup

	mu      sync.Mutex
	room    *sync.Cond // pending has become shorter, or the screen is closed
	pending []byte     // what is to be printed above
	view    view
	closed  bool
}

const (
	mostPending = 1 << 20               // bytes; whoever prints more waits
	drawEvery   = 30 * time.Millisecond // a handler that prints much must not make the terminal flicker
)

// openScreen begins to draw at the bottom of a terminal. close must be called.
func openScreen(out *os.File) *screen {
	s := &screen{out: out, ink: newInk(), news: make(chan struct{}, 1)}
	s.room = sync.NewCond(&s.mu)
	s.drawing.Go(s.draw)
	return s
}

// show draws another view.
func (s *screen) show(v view) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view = v
	s.tell()
}

// tell has it drawn soon. Callers hold mu.
func (s *screen) tell() {
	if s.closed {
		return
	}
	select {
	case s.news <- struct{}{}:
	default: // it has been told
	}
}

// Write prints above the view, or, after close, on the terminal as it is then.
// It blocks while too much is pending.
func (s *screen) Write(b []byte) (int, error) {
	if s.enqueue(b) {
		return len(b), nil
	}
	s.drawing.Wait()
	return s.out.Write(b)
}

// enqueue says false after close.
func (s *screen) enqueue(b []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.pending) > mostPending && !s.closed {
		s.room.Wait()
	}
	if s.closed {
		return false
	}
	s.pending = append(s.pending, b...)
	s.tell()
	return true
}

// close prints what is pending, and the view for the last time.
func (s *screen) close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.news)
		s.room.Broadcast()
	}
	s.mu.Unlock()
	s.drawing.Wait()
}

// draw draws until the screen is closed.
func (s *screen) draw() {
	var f frame
	pause := time.NewTimer(0)
	defer pause.Stop()
	for open := true; open; {
		if _, open = <-s.news; open {
			<-pause.C
			pause.Reset(drawEvery)
		}
		width, height, err := term.GetSize(int(s.out.Fd()))
		if err != nil || width < 1 || height < 1 { // a terminal that does not know
			width, height = 80, 24
		}
		text, v := s.take(!open)
		// One line is the cursor's, below the view.
		if sequence := f.next(text, v.render(width, height-1, s.ink), width); sequence != "" {
			_, _ = io.WriteString(s.out, sequence) // a terminal that went away shows nothing, and ends nothing
		}
	}
}

// take is what is to be drawn: of the pending text the whole lines, with all
// also what stands behind the last newline.
func (s *screen) take(all bool) (text string, v view) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := bytes.LastIndexByte(s.pending, '\n') + 1
	if all {
		end = len(s.pending)
	}
	text = string(s.pending[:end])
	s.pending = append(s.pending[:0], s.pending[end:]...)
	s.room.Broadcast()
	return text, s.view
}

// frame is what stands at the bottom of the terminal, with the cursor at the
// start of the line below it.
type frame struct {
	lines []string
}

// next is what has to be written so that text is printed above and lines
// stand at the bottom, in a terminal that is width columns wide now.
func (f *frame) next(text string, lines []string, width int) string {
	if text == "" && equal(lines, f.lines) {
		return ""
	}
	var b strings.Builder
	rows := 0
	for _, line := range f.lines { // a terminal that became narrower has wrapped them
		rows += max(1, (ansi.StringWidth(line)+width-1)/width)
	}
	if rows > 0 {
		b.WriteString(ansi.CursorUp(rows))
	}
	b.WriteByte('\r')
	// Erased is before something is written: behind a line that fills its row,
	// terminals erase the last character of it.
	if text != "" {
		b.WriteString(ansi.EraseScreenBelow + strings.TrimSuffix(text, "\n") + "\n")
	}
	for _, line := range lines {
		b.WriteString(ansi.EraseEntireLine + line + "\n")
	}
	b.WriteString(ansi.EraseScreenBelow)
	f.lines = lines
	return b.String()
}

func equal(a, b []string) bool { return strings.Join(a, "\n") == strings.Join(b, "\n") }
