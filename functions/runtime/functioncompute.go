package runtime

import (
	"net/http"
	"path/filepath"
	"strconv"
	"time"
)

const (
	region    = "local"
	qualifier = "LATEST"
	memory    = "512" // MB, as handlers are told; nothing holds them to it
)

// functionCompute is the runtime API of Function Compute, version 2020-11-11.
var functionCompute = &dialect{
	name:  "Function Compute",
	limit: AnswerLimit,
	tell: func(p *process, inv *invocation, h http.Header) {
		h.Set("Content-Type", "application/octet-stream")
		p.tellFunctionCompute(inv.id, h)
		// The SDK never answers if the deadline or the timeout is missing.
		h.Set("x-fc-function-deadline", strconv.FormatInt(inv.limit.UnixMilli(), 10))
		h.Set("x-fc-function-type", "0") // an invocation, not an initializer
	},
	accept:    func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) },
	codeField: "errorCode",
	refusals: map[refusal]refused{
		unknownRequest: {http.StatusConflict, "InvalidRequestID"},
		secondAnswer:   {http.StatusConflict, "InvalidRequestID"},
		otherAPI:       {http.StatusForbidden, "InvalidStateTransition"},
		bodyBrokeOff:   {http.StatusBadRequest, "InvalidBody"},
		answerTooLarge: {http.StatusRequestEntityTooLarge, tooLargeType},
	},
}

// tellFunctionCompute is what Function Compute says of the function with every
// request, whatever its runtime.
func (p *process) tellFunctionCompute(id string, h http.Header) {
	cfg := p.r.cfg
	h.Set("x-fc-request-id", id)
	h.Set("x-fc-function-name", cfg.Name)
	h.Set("x-fc-function-handler", filepath.Base(p.crew.command[0]))
	h.Set("x-fc-function-memory", memory)
	h.Set("x-fc-function-timeout", strconv.FormatInt(int64((cfg.Timeout+time.Second-1)/time.Second), 10))
	h.Set("x-fc-region", region)
	h.Set("x-fc-qualifier", qualifier)
}
