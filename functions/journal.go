package functions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// journalVariable names the environment variable with the journal's directory.
const journalVariable = "CULVERT_JOURNAL"

// journal records invocations; a nil one records nothing.
type journal struct {
	dir  string
	mu   sync.Mutex
	file *os.File
}

func openJournal(dir string) *journal {
	if dir == "" {
		return nil
	}
	return &journal{dir: dir}
}

type journalBegin struct {
	Time  time.Time `json:"time"`
	Phase string    `json:"phase"`
	Event any       `json:"event"`
}

type journalEnd struct {
	Time     time.Time `json:"time"`
	Phase    string    `json:"phase"`
	Batch    string    `json:"batch"`
	Attempt  int       `json:"attempt"`
	Outcome  string    `json:"outcome"`
	Failures []string  `json:"failures"`
	Error    string    `json:"error"`
}

func (j *journal) begin(payload []byte, e *Event) error {
	if j == nil {
		return nil
	}
	line := journalBegin{Time: time.Now(), Phase: "begin", Event: json.RawMessage(payload)}
	if isCBOR(payload) {
		line.Event = e // the line is JSON
	}
	return j.append(line)
}

func (j *journal) end(e *Event, err error) error {
	if j == nil {
		return nil
	}
	line := journalEnd{
		Time: time.Now(), Phase: "end", Batch: e.Batch.ID, Attempt: e.Batch.Attempt,
		Outcome: "ok", Failures: []string{},
	}
	for _, r := range e.Records {
		if r.failed != nil {
			line.Failures = append(line.Failures, r.ID)
		}
	}
	if err != nil {
		line.Outcome, line.Error = "failed", err.Error()
	}
	return j.append(line)
}

// endInPanic is end for a handler that did not return, where there is nobody
// left to return an error to.
func (j *journal) endInPanic(e *Event) {
	if err := j.end(e, errors.New("the handler panicked")); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// append writes the line with one write. After a failed write, which may have
// left half a line, the next line goes to a new file.
func (j *journal) append(line any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // the event as it was received
	if err := enc.Encode(line); err != nil {
		return &JournalError{Dir: j.dir, Err: err}
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		name := filepath.Join(j.dir, fmt.Sprintf("%d-%d.jsonl", os.Getpid(), time.Now().UnixNano()))
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return &JournalError{Dir: j.dir, Err: err}
		}
		j.file = file
	}
	if _, err := j.file.Write(b.Bytes()); err != nil {
		_ = j.file.Close()
		j.file = nil
		return &JournalError{Dir: j.dir, Err: err}
	}
	return nil
}

// JournalError says why the journal could not be written.
type JournalError struct {
	Dir string
	Err error
}

func (e *JournalError) Error() string {
	return fmt.Sprintf("functions: the journal in %s: %v (%s must name a directory that can be written, or be unset)", e.Dir, e.Err, journalVariable)
}

func (e *JournalError) Unwrap() error { return e.Err }
