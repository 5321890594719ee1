package runtime

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

const (
	tailSize    = 4 << 10  // as much as Function Compute returns of a log
	messageSize = 4 << 10  // as much of a handler's error as is kept
	lineSize    = 64 << 10 // a longer line is cut into several
)

// lockedWriter lets one process at a time write.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// output is what one process prints.
type output struct {
	to       io.Writer
	prefix   string
	requests string // what request ids begin with

	mu   sync.Mutex
	last []byte // the lines printed since mark: their end, at most tailSize
}

// readFrom takes what is printed until its end, or until it breaks off.
func (o *output) readFrom(printed io.Reader) {
	var line []byte // begun and not ended
	chunk := make([]byte, 32<<10)
	for {
		n, err := printed.Read(chunk)
		for rest := chunk[:n]; len(rest) > 0; {
			end := bytes.IndexByte(rest, '\n') + 1
			if end == 0 {
				end = len(rest)
			}
			end = min(end, lineSize-len(line))
			line = append(line, rest[:end]...)
			rest = rest[end:]
			if len(line) == lineSize || line[len(line)-1] == '\n' {
				o.add(line)
				line = line[:0]
			}
		}
		if err != nil {
			if len(line) > 0 {
				o.add(line)
			}
			return
		}
	}
}

func (o *output) add(line []byte) {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	if o.isMark(string(line)) {
		return
	}
	o.mu.Lock()
	o.last = append(append(o.last, line...), '\n')
	if over := len(o.last) - tailSize; over > 0 {
		o.last = append(o.last[:0], o.last[over:]...)
	}
	o.mu.Unlock()
	_, _ = o.to.Write([]byte(o.prefix + string(line) + "\n"))
}

// isMark recognises the two lines that the SDK prints around an invocation.
// After a failure the second one says more, and is kept.
func (o *output) isMark(line string) bool {
	rest, ok := strings.CutPrefix(line, "FC Invoke Start RequestId: ")
	if !ok {
		rest, ok = strings.CutPrefix(line, "FC Invoke End RequestId: ")
	}
	return ok && strings.HasPrefix(rest, o.requests) && !strings.Contains(rest, ",")
}

// mark begins a new tail.
func (o *output) mark() {
	o.mu.Lock()
	o.last = o.last[:0]
	o.mu.Unlock()
}

// tail is the end of what was printed since mark.
func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.ToValidUTF8(string(o.last), "?")
}
