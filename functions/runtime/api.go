package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const (
	unknownType     = "Unknown" // of an error that does not say its own
	tooLargeType    = "ResponseTooLarge"
	tooLargeMessage = "it answered more than 6 MiB; a handler answers nothing, or which records failed"
)

// dialect is one platform's runtime API, in what it differs from the other's.
type dialect struct {
	name  string
	limit int64 // of an answer, in bytes
	// tell puts what a handler is told of an event into the header.
	tell func(p *process, inv *invocation, h http.Header)
	// accept is written when an answer has been taken.
	accept func(w http.ResponseWriter)
	// codeField and the refusals say how an answer is refused.
	codeField string
	refusals  map[refusal]refused
}

// refusal is why an answer is not taken.
type refusal int

const (
	unknownRequest refusal = iota // not the request that the process works on
	secondAnswer                  // it has been answered already
	otherAPI                      // the process takes its events over the other API
	bodyBrokeOff
	answerTooLarge
	tooLate // for an init error: it has asked for events
)

// refused is how a refusal is told.
type refused struct {
	status int
	code   string
}

// why is what a refusal means, for whoever reads the handler's log.
var why = map[refusal]string{
	unknownRequest: "not the request that this process works on; its time may have run out",
	secondAnswer:   "the request has been answered",
	otherAPI:       "this process takes its events over another runtime API",
	bodyBrokeOff:   "the body broke off",
	answerTooLarge: tooLargeMessage,
	tooLate:        "the process has asked for events already",
}

func (d *dialect) refuse(w http.ResponseWriter, r refusal) {
	told := d.refusals[r]
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(told.status)
	_ = json.NewEncoder(w).Encode(map[string]string{d.codeField: told.code, "errorMessage": why[r]})
}

// api is the runtime APIs as one process sees them, both on one listener. The
// SDKs take any status but their own platform's for a failure.
func (p *process) api() http.Handler {
	mux := http.NewServeMux()
	serve := func(d *dialect, version string) {
		invocations := version + "/runtime/invocation/"
		mux.HandleFunc("GET "+invocations+"next", func(w http.ResponseWriter, req *http.Request) {
			p.next(d, w, req)
		})
		mux.HandleFunc("POST "+invocations+"{id}/response", func(w http.ResponseWriter, req *http.Request) {
			p.post(d, w, req, func(body []byte) result {
				if err := p.trailingError(req); err != nil {
					return result{err: err}
				}
				return result{answer: body}
			})
		})
		mux.HandleFunc("POST "+invocations+"{id}/error", func(w http.ResponseWriter, req *http.Request) {
			p.post(d, w, req, func(body []byte) result {
				return result{err: p.functionError(req.PathValue("id"), body)}
			})
		})
	}
	serve(functionCompute, "/2020-11-11")
	serve(lambda, "/2018-06-01")
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", p.initError)
	p.extensions(mux)
	return mux
}

// next holds the request until there is an event. Function Compute's SDK asks
// for the next one while it still works on the last, and Lambda's asks as many
// times at once as AWS_LAMBDA_MAX_CONCURRENCY says: this is what keeps them to
// one at a time.
func (p *process) next(d *dialect, w http.ResponseWriter, req *http.Request) {
	if !p.poll(d) {
		// Function Compute's SDK would ask again at once, for ever.
		p.r.cfg.Logger.Warn("a handler's process asks for events over a second runtime API, where it gets none",
			"handler", p.r.cfg.Name, "pid", p.pid, "api", d.name)
		<-req.Context().Done()
		return
	}
	var inv *invocation
	select {
	case inv = <-p.events:
	case <-req.Context().Done(): // what is given at this moment is for the next request
	}
	p.unpoll()
	if inv == nil {
		return
	}
	defer close(inv.written)
	h := w.Header()
	h.Set("Content-Length", fmt.Sprint(len(inv.event)))
	d.tell(p, inv, h)
	_, _ = w.Write(inv.event) // a write that fails means that the process is ending
}

// poll counts a request for the next event, which may find one waiting. It
// reports false, and counts nothing, if the process began with the other API.
func (p *process) poll(d *dialect) bool {
	r := p.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.dialect != nil && p.dialect != d {
		return false
	}
	p.dialect = d
	p.polls++
	select {
	case <-p.asked:
	default:
		close(p.asked)
		if !p.gone {
			p.crew.broken[p.slot] = nil
		}
	}
	r.match()
	return true
}

// unpoll ends what poll began.
func (p *process) unpoll() {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.polls--
}

// post takes an answer, of whichever sort, to the event that the process works
// on. Anything else is refused: an answer that comes too late, or to another
// event, is never taken for this one's.
func (p *process) post(d *dialect, w http.ResponseWriter, req *http.Request, read func(body []byte) result) {
	id := req.PathValue("id")
	inv, no := p.working(d, id)
	if inv == nil {
		d.refuse(w, no)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, d.limit))
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	if err != nil && !tooLarge {
		d.refuse(w, bodyBrokeOff)
		return
	}
	// Until the event has been written out its buffer is in use; an answer to
	// half an event can wait for that.
	select {
	case <-inv.written:
	case <-req.Context().Done():
		return
	}
	var res result // read first: once it is finished, the process's output may be the next event's
	if tooLarge {
		res.err = p.tooLarge(id)
	} else {
		res = read(body)
	}
	if !p.finish(inv) {
		d.refuse(w, unknownRequest)
		return
	}
	defer p.freed()
	if tooLarge {
		// The SDKs never post again: to wait for more would only run into the
		// deadline.
		d.refuse(w, answerTooLarge)
	} else {
		d.accept(w)
	}
	inv.result <- res
}

func (p *process) tooLarge(id string) *FunctionError {
	return &FunctionError{RequestID: id, Type: tooLargeType, Message: tooLargeMessage, LogTail: p.out.tail()}
}

// working is what the process works on, if it has that id and speaks that
// dialect, or else why its answer is refused.
func (p *process) working(d *dialect, id string) (*invocation, refusal) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	switch {
	case p.dialect != nil && p.dialect != d:
		return nil, otherAPI
	case p.current != nil && p.current.id == id:
		return p.current, 0
	case p.current == nil && p.answered == id:
		return nil, secondAnswer
	}
	return nil, unknownRequest
}

// finish ends the work on the invocation, and reports false if something else
// has ended it.
func (p *process) finish(inv *invocation) bool {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if p.current != inv {
		return false
	}
	p.current, p.answered = nil, inv.id
	return true
}

// freed lets the process have the next event, or end.
func (p *process) freed() {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.dismiss()
	p.r.match()
}

// functionError reads what was posted as an error. Something that is not the
// SDKs' JSON still says that the handler failed, and is kept as it is.
func (p *process) functionError(id string, body []byte) *FunctionError {
	e := &FunctionError{RequestID: id, Type: unknownType, LogTail: p.out.tail()}
	var posted struct {
		Message string          `json:"errorMessage"`
		Type    string          `json:"errorType"`
		Stack   json.RawMessage `json:"stackTrace"`
	}
	if err := json.Unmarshal(body, &posted); err != nil || posted.Message == "" && posted.Type == "" {
		e.Message = bounded(string(body))
		return e
	}
	e.Message, e.Stack = bounded(posted.Message), frames(posted.Stack)
	if posted.Type != "" {
		e.Type = bounded(posted.Type)
	}
	return e
}

// bounded is the start of a text that goes into an error, and so into logs.
func bounded(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), messageSize)], "?")
}

// frames reads a stack, which is a list of frames in the Go SDKs and a list of
// strings in others; what is neither is left out.
func frames(stack []byte) []string {
	var lines []string
	if json.Unmarshal(stack, &lines) == nil {
		return lines
	}
	var posted []struct {
		Path  string `json:"path"`
		Line  int    `json:"line"`
		Label string `json:"label"`
	}
	if json.Unmarshal(stack, &posted) != nil {
		return nil
	}
	lines = nil
	for _, f := range posted {
		lines = append(lines, fmt.Sprintf("%s (%s:%d)", f.Label, f.Path, f.Line))
	}
	return lines
}
