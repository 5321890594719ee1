package runtime

import (
	"errors"
	"fmt"

	"github.com/culvertio/culvert/functions"
)

// entry is one invocation in the runtime's journal, which is for handlers that
// keep none themselves; nil is none.
type entry struct {
	journal *functions.Journal
	id      string // the request's
	event   *functions.Event
	err     error // why it could not be written
}

// begin records that the event has been given out. What is no event of
// Culvert's is not recorded.
func (r *Runtime) begin(inv *invocation) *entry {
	if r.journal == nil {
		return nil
	}
	e, err := functions.Decode(inv.event)
	if err != nil {
		return nil
	}
	return &entry{journal: r.journal, id: inv.id, event: e, err: r.journal.Begin(inv.event, e)}
}

// end records how it went, judging an answer as the dispatcher does. A process
// that ended or was killed has left its invocation without an end. As with
// functions.Start, an invocation that cannot be recorded fails.
func (en *entry) end(res result) result {
	if en == nil {
		return res
	}
	if _, failed := errors.AsType[*FunctionError](res.err); en.err == nil && (failed || res.err == nil) {
		failure := res.err
		if failure == nil {
			failure = en.mark(res.answer)
		}
		en.err = en.journal.End(en.event, failure)
	}
	if en.err != nil && res.err == nil {
		return result{err: &FunctionError{RequestID: en.id, Type: "JournalError", Message: en.err.Error()}}
	}
	return res
}

// mark marks the records that the answer fails. Its error fails the batch.
func (en *entry) mark(answer []byte) error {
	a, err := functions.ParseAnswer(answer)
	if err != nil {
		return err
	}
	found := map[string]bool{}
	for _, f := range a.BatchItemFailures {
		found[f.ItemIdentifier] = false
	}
	for _, r := range en.event.Records {
		if _, failed := found[r.ID]; failed {
			found[r.ID] = true
			r.Fail(errors.New("the answer says so"))
		}
	}
	for id, ok := range found {
		if !ok {
			return fmt.Errorf("the answer fails record %q, which is not in the batch", id)
		}
	}
	return nil
}
