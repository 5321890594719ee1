package emulator

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/culvertio/culvert/tunnel/internal/sign"
)

// tunnelCallNames are the names of the tunnel API's calls, by path. Those of
// the table API are their paths.
var tunnelCallNames = map[string]string{
	"/tunnel/create":         "CreateTunnel",
	"/tunnel/delete":         "DeleteTunnel",
	"/tunnel/list":           "ListTunnel",
	"/tunnel/describe":       "DescribeTunnel",
	"/tunnel/connect":        "Connect",
	"/tunnel/heartbeat":      "Heartbeat",
	"/tunnel/shutdown":       "Shutdown",
	"/tunnel/getcheckpoint":  "GetCheckpoint",
	"/tunnel/checkpoint":     "Checkpoint",
	"/tunnel/readrecords":    "ReadRecords",
	"/tunnel/getrpo":         "GetRpo",
	"/tunnel/getrpobyoffset": "GetRpoByOffset",
	"/tunnel/schedule":       "Schedule",
}

// callName is how faults name the call of a path.
func callName(path string) string {
	if name, ok := tunnelCallNames[path]; ok {
		return name
	}
	return strings.TrimPrefix(path, "/")
}

// isTunnelCall says whether a name is of a call of the tunnel API.
func isTunnelCall(name string) bool {
	for _, n := range tunnelCallNames {
		if n == name {
			return true
		}
	}
	return false
}

// CallNames are the names of all calls that the emulator answers, sorted.
func CallNames() []string {
	var names []string
	for path := range new(Emulator).makeRoutes() {
		names = append(names, callName(path))
	}
	slices.Sort(names)
	return names
}

// injector has the faults as they are set now, and counts what has happened.
type injector struct {
	mu     sync.Mutex
	faults Faults
	plan   *plan
	counts map[FaultKind]int64
}

func (in *injector) set(f Faults) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.faults, in.plan = f.clone(), newPlan(f)
}

func (f Faults) clone() Faults {
	f.Rules = append([]Fault{}, f.Rules...)
	for i := range f.Rules {
		f.Rules[i].Calls = slices.Clone(f.Rules[i].Calls)
	}
	return f
}

// next decides about a call.
func (in *injector) next(call string) strike {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.plan.next(call)
}

func (in *injector) happened(kind FaultKind) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.counts == nil {
		in.counts = make(map[FaultKind]int64)
	}
	in.counts[kind]++
}

func (in *injector) forget() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.counts = nil
}

// Faults are those that are set now.
func (e *Emulator) Faults() Faults {
	e.injector.mu.Lock()
	defer e.injector.mu.Unlock()
	return e.injector.faults.clone()
}

// SetFaults sets all faults, for every call that comes after, and begins their
// plan anew. It fails, and changes nothing, if a rule is not right; the error
// names all that is wrong.
func (e *Emulator) SetFaults(f Faults) error {
	if err := f.validate(CallNames()); err != nil {
		return err
	}
	e.injector.set(f)
	return nil
}

// FaultCounts says how often each kind of fault has happened. A fault that
// had nothing to act upon, such as a move where there is no channel, is not
// counted.
func (e *Emulator) FaultCounts() map[FaultKind]int64 {
	e.injector.mu.Lock()
	defer e.injector.mu.Unlock()
	counts := maps.Clone(e.injector.counts)
	if counts == nil {
		counts = make(map[FaultKind]int64)
	}
	return counts
}

// inject answers a call as the plan says. process has its effect and gives the
// answer.
func (e *Emulator) inject(w http.ResponseWriter, r *http.Request, body []byte, process func(pageFault) ([][]byte, error)) ([][]byte, error) {
	call := callName(r.URL.Path)
	s := e.injector.next(call)
	if s.delay > 0 {
		e.injector.happened(FaultLatency)
		if !pause(r, s.delay) {
			panic(http.ErrAbortHandler) // the client is gone
		}
	}
	for _, c := range s.commands {
		if e.carryOut(c, body) {
			e.injector.happened(c.kind)
		}
	}
	kind := s.outcome.Kind
	switch kind {
	case "":
		return process(s.page)
	case FaultError, FaultGateway, FaultCutRequest, FaultDropRequest:
		e.injector.happened(kind)
	}
	switch kind {
	case FaultError:
		return nil, s.outcome.refusal(r.URL.Path)
	case FaultGateway:
		return nil, gatewayError(s.outcome.Status)
	case FaultDropRequest:
		pause(r, s.silence)
		panic(http.ErrAbortHandler)
	case FaultCutRequest:
		panic(http.ErrAbortHandler)
	}

	answer, err := process(s.page)
	switch {
	case err != nil && (kind == FaultGarbage || kind == FaultCutBody):
		return nil, err // what was refused is refused
	case kind == FaultDropAnswer:
		pause(r, s.silence)
	}
	e.injector.happened(kind)
	switch kind {
	case FaultGarbage:
		return [][]byte{garbage(length(answer))}, nil
	case FaultCutBody:
		size := length(answer)
		if size == 0 {
			break // nothing to cut: no answer at all
		}
		e.head(w, r, http.StatusOK, answer, true)
		writePieces(w, [][]byte{slices.Concat(answer...)[:size/2]})
		_ = http.NewResponseController(w).Flush()
	}
	panic(http.ErrAbortHandler)
}

// pause lets time pass; false says that the client has gone meanwhile.
func pause(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// refusal is the answer of an error fault to the call of a path.
func (f Fault) refusal(path string) *Error {
	code := f.Code
	if code == "" {
		code = codeServerUnavailable
		if apiOf(path) == sign.Tunnel {
			code = codeTunnelUnavailable
		}
	}
	return &Error{Code: code, Message: "An injected fault.", status: f.Status}
}

// gatewayError is an answer that is not of the service.
type gatewayError int

func (g gatewayError) Error() string {
	return strconv.Itoa(int(g)) + " " + http.StatusText(int(g))
}

// garbage is n bytes, at least 8, that no decoder takes for a message: their
// first field's tag has no end.
func garbage(n int) []byte {
	b := make([]byte, max(n, 8))
	for i := range b {
		b[i] = 0xff
	}
	return b
}

// field reads a text field of an encoded request, without its type: the calls
// of clients name tunnel, client and channel by fields of the same numbers.
func field(body []byte, number protowire.Number) string {
	for len(body) > 0 {
		n, kind, size := protowire.ConsumeField(body)
		if size < 0 {
			return ""
		}
		if n == number && kind == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(body)
			value, _ := protowire.ConsumeBytes(body[tag:])
			return string(value)
		}
		body = body[size:]
	}
	return ""
}
