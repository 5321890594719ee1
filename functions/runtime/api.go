package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	region    = "local"
	qualifier = "LATEST"

	tooLargeType    = "ResponseTooLarge"
	tooLargeMessage = "it answered more than 6 MiB; a handler answers nothing, or which records failed"
)

// api is the runtime API as one process sees it. The SDK takes any status but
// 200 for a failure and logs it.
func (p *process) api() http.Handler {
	const invocations = "/2020-11-11/runtime/invocation/"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+invocations+"next", p.next)
	mux.HandleFunc("POST "+invocations+"{id}/response", func(w http.ResponseWriter, req *http.Request) {
		p.post(w, req, func(body []byte) result { return result{answer: body} })
	})
	mux.HandleFunc("POST "+invocations+"{id}/error", func(w http.ResponseWriter, req *http.Request) {
		id := req.PathValue("id")
		p.post(w, req, func(body []byte) result { return result{err: p.functionError(id, body)} })
	})
	return mux
}

// next holds the request until there is an event. The SDK asks for the next
// one while it still works on the last: this is what keeps it to one at a time.
func (p *process) next(w http.ResponseWriter, req *http.Request) {
	p.poll()
	var inv *invocation
	select {
	case inv = <-p.events:
		p.unpoll(false)
	case <-req.Context().Done():
		if inv = p.unpoll(true); inv == nil {
			return
		}
		// Given at the moment the connection broke: as good as given, the
		// deadline or the process's end settle it.
	}
	defer close(inv.written)
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.Itoa(len(inv.event)))
	h.Set("x-fc-request-id", inv.id)
	// The SDK never answers if one of these two is missing.
	h.Set("x-fc-function-deadline", strconv.FormatInt(inv.limit.UnixMilli(), 10))
	h.Set("x-fc-function-timeout", strconv.FormatInt(int64((p.r.cfg.Timeout+time.Second-1)/time.Second), 10))
	h.Set("x-fc-function-type", "0") // an invocation, not an initializer
	h.Set("x-fc-function-name", p.r.cfg.Name)
	h.Set("x-fc-function-handler", filepath.Base(p.crew.command[0]))
	h.Set("x-fc-region", region)
	h.Set("x-fc-qualifier", qualifier)
	_, _ = w.Write(inv.event) // a write that fails means that the process is ending
}

// poll counts a request for the next event, which may find one waiting.
func (p *process) poll() {
	r := p.r
	r.mu.Lock()
	defer r.mu.Unlock()
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
}

// unpoll ends what poll began. If the connection was cut and nobody else asks,
// it returns the event that was just given, if any.
func (p *process) unpoll(cut bool) *invocation {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.polls--
	if cut && p.polls == 0 {
		select {
		case inv := <-p.events:
			return inv
		default:
		}
	}
	return nil
}

// post takes an answer, of whichever sort, to the event that the process works
// on. Anything else is refused: an answer that comes too late, or to another
// event, is never taken for this one's.
func (p *process) post(w http.ResponseWriter, req *http.Request, read func(body []byte) result) {
	id := req.PathValue("id")
	inv := p.working(id)
	if inv == nil {
		refuse(w, http.StatusConflict, "InvalidRequestID", "not the request that this process works on; its time may have run out")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, AnswerLimit))
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	if err != nil && !tooLarge {
		refuse(w, http.StatusBadRequest, "InvalidBody", "the body broke off")
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
		res.err = &FunctionError{RequestID: id, Type: tooLargeType, Message: tooLargeMessage, LogTail: p.out.tail()}
	} else {
		res = read(body)
	}
	if !p.finish(inv) {
		refuse(w, http.StatusConflict, "InvalidRequestID", "the request's time has run out")
		return
	}
	defer p.freed()
	if tooLarge {
		// The SDK logs the refusal and never posts again: to wait for more
		// would only run into the deadline.
		refuse(w, http.StatusRequestEntityTooLarge, tooLargeType, tooLargeMessage)
	} else {
		w.WriteHeader(http.StatusOK)
	}
	inv.result <- res
}

// working is what the process works on, if it has that id.
func (p *process) working(id string) *invocation {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if p.current == nil || p.current.id != id || p.gone {
		return nil
	}
	return p.current
}

// finish ends the work on the invocation, and reports false if something else
// has ended it.
func (p *process) finish(inv *invocation) bool {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if p.current != inv || p.gone {
		return false
	}
	p.current = nil
	return true
}

// freed lets the process have the next event, or end.
func (p *process) freed() {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.dismiss()
	p.r.match()
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"errorCode": code, "errorMessage": message})
}

// functionError reads what was posted as an error. Something that is not the
// SDK's JSON still says that the handler failed, and is kept as it is.
func (p *process) functionError(id string, body []byte) *FunctionError {
	e := &FunctionError{RequestID: id, Type: "Unknown", LogTail: p.out.tail()}
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

// frames reads a stack, which is a list of frames in Go's SDK and a list of
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
