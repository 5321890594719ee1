package main

import (
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// outlet is where a process prints: a file, or, while a live view has the
// terminal, above the view.
type outlet struct {
	file  *os.File
	mu    sync.RWMutex
	above io.Writer // nil: the file
}

func (o *outlet) Write(b []byte) (int, error) {
	o.mu.RLock()
	above := o.above
	o.mu.RUnlock()
	if above != nil {
		return above.Write(b)
	}
	return o.file.Write(b)
}

// divert makes everything be printed to w; nil ends that.
func (o *outlet) divert(w io.Writer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.above = w
}

// isTerminal says whether what is printed is seen at once.
func isTerminal(w io.Writer) bool {
	o, ok := w.(*outlet)
	return ok && term.IsTerminal(int(o.file.Fd()))
}
