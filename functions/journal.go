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

// Journal records invocations in files of a directory, in the form that
// [Start] tells of. Start keeps one itself; the local runtime keeps one for
// handlers that know nothing of journals. A nil Journal records nothing. Its
// methods may be called from many goroutines.
type Journal struct {
	dir  string
	mu   sync.Mutex
	file *os.File
}

// OpenJournal is the journal in a directory, nil for an empty name. Its file is
// made by the first line that is written.
func OpenJournal(dir string) *Journal {
	if dir == "" {
		return nil
	}
	return &Journal{dir: dir}
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

// Begin records that a handler is given the payload, which e was decoded from.
// Its error is a [*JournalError].
func (j *Journal) Begin(payload []byte, e *Event) error {
	if j == nil {
		return nil
	}
	line := journalBegin{Time: time.Now(), Phase: "begin", Event: json.RawMessage(payload)}
	if isCBOR(payload) {
		line.Event = e // the line is JSON
	}
	return j.append(line)
}

// End records that the invocation is over: which records are marked as failed,
// and the error that failed the whole batch, if any. Its error is a
// [*JournalError]. An invocation that was cut off has no end.
func (j *Journal) End(e *Event, err error) error {
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
func (j *Journal) endInPanic(e *Event) {
	if err := j.End(e, errors.New("the handler panicked")); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// append writes the line with one write. After a failed write, which may have
// left half a line, the next line goes to a new file.
func (j *Journal) append(line any) error {
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

// Close closes the journal's file. Another line would go to a new one.
func (j *Journal) Close() error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	if err != nil {
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
