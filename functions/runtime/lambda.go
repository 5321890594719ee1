package runtime

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"time"
)

const (
	lambdaRegion  = "us-east-1" // unless the environment names one
	lambdaAccount = "000000000000"
	lambdaVersion = "$LATEST"
	// lambdaSlack is by how much an answer may exceed the limit, as in AWS's
	// own emulator.
	lambdaSlack = 100
)

// lambda is the runtime API of AWS Lambda, version 2018-06-01. What it refuses
// it refuses as AWS's own emulator does, whose order of judgement is: the
// request's id, then whether it has been answered.
var lambda = &dialect{
	name:  "AWS Lambda",
	limit: AnswerLimit + lambdaSlack,
	tell: func(p *process, inv *invocation, h http.Header) {
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.limit.UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", p.arn)
		h.Set("Lambda-Runtime-Trace-Id", traceID(time.Now()))
	},
	accept: func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"status":"OK"}`+"\n")
	},
	codeField: "errorType",
	refusals: map[refusal]refused{
		unknownRequest: {http.StatusBadRequest, "InvalidRequestID"},
		secondAnswer:   {http.StatusForbidden, "InvalidStateTransition"},
		otherAPI:       {http.StatusForbidden, "InvalidStateTransition"},
		tooLate:        {http.StatusForbidden, "InvalidStateTransition"},
		bodyBrokeOff:   {http.StatusBadRequest, "TruncatedHTTPRequest"},
		answerTooLarge: {http.StatusRequestEntityTooLarge, "RequestEntityTooLarge"},
	},
}

// traceID is a trace of X-Ray's form that is not sampled.
func traceID(now time.Time) string {
	var random [20]byte
	rand.Read(random[:])
	return fmt.Sprintf("Root=1-%08x-%x;Parent=%x;Sampled=0", uint32(now.Unix()), random[:12], random[12:])
}

// initError takes what a handler says before it ends without having asked for
// an event. aws-lambda-go never does; runtimes of other languages do.
func (p *process) initError(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, lambda.limit))
	if err != nil {
		lambda.refuse(w, bodyBrokeOff)
		return
	}
	e := p.functionError("", body)
	p.r.mu.Lock()
	early := p.dialect == nil
	if early {
		p.unready = e
	}
	p.r.mu.Unlock()
	if !early {
		lambda.refuse(w, tooLate)
		return
	}
	lambda.accept(w)
}

// extensions are as much of the extensions API as lambda.WithEnableSIGTERM of
// aws-lambda-go asks for: it registers one, which waits for no event.
func (p *process) extensions(mux *http.ServeMux) {
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Lambda-Extension-Identifier", rand.Text())
		_ = json.NewEncoder(w).Encode(map[string]string{
			"functionName": p.r.cfg.Name, "functionVersion": lambdaVersion, "handler": filepath.Base(p.crew.command[0]),
		})
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(_ http.ResponseWriter, req *http.Request) {
		<-req.Context().Done()
	})
}

// trailingError is the error of a handler that failed while its answer was
// being sent, which aws-lambda-go tells in a trailer; nil if there is none.
func (p *process) trailingError(req *http.Request) error {
	kind := req.Trailer.Get("Lambda-Runtime-Function-Error-Type")
	if kind == "" {
		return nil
	}
	text, _ := base64.StdEncoding.DecodeString(req.Trailer.Get("Lambda-Runtime-Function-Error-Body"))
	if !json.Valid(text) {
		text, _ = json.Marshal(map[string]string{"errorType": kind, "errorMessage": string(text)})
	}
	return p.functionError(req.PathValue("id"), text)
}
