package emulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxCommand bounds a command's body.
const maxCommand = 1 << 20

// Control gives the control API, which is no part of Tablestore's: a server
// mounts it under /emulator/, beside the emulator. Its calls are
//
//	GET  /emulator/state          all there is, as [State]
//	GET  /emulator/switches       the switches, as [Switches]
//	POST /emulator/switches       sets those that are named, leaves the others
//	GET  /emulator/faults         the faults, as [Faults]
//	POST /emulator/faults         sets all faults: {} is none, {"random": 7} a mix by [RandomFaults]
//	POST /emulator/split          {"table", "partition"}
//	POST /emulator/move           {"table", "tunnel", "channel", "client"}: client may be left out
//	POST /emulator/suspend        {"table", "tunnel", "channel"}
//	POST /emulator/resume         {"table", "tunnel", "channel"}
//	POST /emulator/expire-client  {"table", "tunnel", "client"}
//	POST /emulator/expire-tunnel  {"table", "tunnel"}
//	POST /emulator/step-clock     {"by"}: a time such as "-5s"
//	POST /emulator/reset          {}: see [Emulator.Reset]
//
// Bodies are JSON. A field that is not known is refused, by name. A POST that
// succeeds answers what it has set, or {}; one that fails has changed nothing
// and answers {"error": "…"} with a status of 400, or 404 where its table or
// client is not there.
//
// There is no authentication: whoever reaches the listener may call it. Pages
// of other origins that run in a browser may not.
func (e *Emulator) Control() http.Handler {
	mux := http.NewServeMux()
	get := func(path string, f func() any) {
		mux.HandleFunc("GET /emulator/"+path, func(w http.ResponseWriter, r *http.Request) { writeJSON(w, http.StatusOK, f()) })
	}
	get("state", func() any { return e.State() })
	get("switches", func() any { return e.Switches() })
	get("faults", func() any { return e.Faults() })

	post := func(path string, f func(body io.Reader) (any, error)) {
		mux.HandleFunc("POST /emulator/"+path, func(w http.ResponseWriter, r *http.Request) {
			answer, err := f(http.MaxBytesReader(w, r.Body, maxCommand))
			if err != nil {
				writeJSON(w, controlStatus(err), failure{err.Error()})
				return
			}
			writeJSON(w, http.StatusOK, answer)
		})
	}
	post("switches", func(body io.Reader) (any, error) {
		s := e.Switches()
		if err := readJSON(body, &s); err != nil {
			return nil, err
		}
		if err := e.SetSwitches(s); err != nil {
			return nil, err
		}
		return e.Switches(), nil
	})
	post("faults", func(body io.Reader) (any, error) {
		var q struct {
			Faults
			Random *uint64 `json:"random"`
			Tables bool    `json:"tables"` // of random
		}
		if err := readJSON(body, &q); err != nil {
			return nil, err
		}
		switch {
		case q.Random != nil && (q.Seed != 0 || len(q.Rules) > 0):
			return nil, errors.New("random makes its own seed and rules: leave seed and rules out, or random")
		case q.Random != nil:
			q.Faults = RandomFaults(*q.Random, q.Tables)
		case q.Tables:
			return nil, errors.New("tables has a meaning with random alone")
		}
		if err := e.SetFaults(q.Faults); err != nil {
			return nil, err
		}
		return e.Faults(), nil
	})
	for path, c := range e.commands() {
		post(path, func(body io.Reader) (any, error) {
			o, err := c.read(body)
			if err != nil {
				return nil, err
			}
			return struct{}{}, c.do(o)
		})
	}
	mux.HandleFunc("/emulator/", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusNotFound, failure{fmt.Sprintf("there is no %s %s; the calls are listed in docs/emulator.md", r.Method, r.URL.Path)})
	})
	return http.NewCrossOriginProtection().Handler(mux)
}

// order is the body of a command.
type order struct {
	Table     string `json:"table"`
	Tunnel    string `json:"tunnel"`
	Channel   string `json:"channel"`
	Client    string `json:"client"`
	Partition int    `json:"partition"`
	By        string `json:"by"`
}

// controlCommand is a command of the control API.
type controlCommand struct {
	needs []string // the fields that it must be given
	takes []string // those that it may be given
	do    func(order) error
}

func (e *Emulator) commands() map[string]controlCommand {
	channel := []string{"table", "tunnel", "channel"}
	return map[string]controlCommand{
		"split": {needs: []string{"table", "partition"}, do: func(o order) error { return e.Split(o.Table, o.Partition) }},
		"move": {needs: channel, takes: []string{"client"}, do: func(o order) error {
			return e.MoveChannel(o.Table, o.Tunnel, o.Channel, o.Client)
		}},
		"suspend": {needs: channel, do: func(o order) error { return e.SuspendChannel(o.Table, o.Tunnel, o.Channel) }},
		"resume":  {needs: channel, do: func(o order) error { return e.ResumeChannel(o.Table, o.Tunnel, o.Channel) }},
		"expire-client": {needs: []string{"table", "tunnel", "client"}, do: func(o order) error {
			return e.ExpireClient(o.Table, o.Tunnel, o.Client)
		}},
		"expire-tunnel": {needs: []string{"table", "tunnel"}, do: func(o order) error { return e.ExpireTunnel(o.Table, o.Tunnel) }},
		"step-clock": {needs: []string{"by"}, do: func(o order) error {
			by, err := time.ParseDuration(o.By)
			if err != nil {
				return fmt.Errorf("by: %q is no time: want one such as 5s or -1m30s", o.By)
			}
			e.StepClock(by)
			return nil
		}},
		"reset": {do: func(order) error { e.Reset(); return nil }},
	}
}

// read reads an order that the command can be given.
func (c controlCommand) read(body io.Reader) (order, error) {
	var o order
	var raw json.RawMessage
	if err := readJSON(body, &raw); err != nil {
		return o, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return o, fmt.Errorf("the body must be a JSON object: %w", err)
	}
	known := slices.Concat(c.needs, c.takes)
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(known, name) {
			wrong = append(wrong, fmt.Sprintf("there is no field %q", name))
		}
	}
	for _, name := range c.needs {
		if _, ok := fields[name]; !ok {
			wrong = append(wrong, fmt.Sprintf("the field %q is missing", name))
		}
	}
	if wrong != nil {
		return o, fmt.Errorf("%s; the fields are: %s", strings.Join(wrong, ", "), strings.Join(known, ", "))
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return o, err
	}
	return o, nil
}

// readJSON reads a body that is one JSON value and nothing else. No body is {}.
func readJSON(body io.Reader, into any) error {
	text, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("the body cannot be read: %w", err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("{}")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("the body is not what this call takes: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("the body holds more than one JSON value")
	}
	return nil
}

// failure is the answer to a call that failed.
type failure struct {
	Error string `json:"error"`
}

// controlStatus is the status of an error's answer.
func controlStatus(err error) int {
	if fail, ok := errors.AsType[*Error](err); ok {
		switch fail.Code {
		case codeObjectNotExist, codeResourceGone:
			return http.StatusNotFound
		case codeServerUnavailable:
			return http.StatusServiceUnavailable
		}
	}
	return http.StatusBadRequest
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		status, b = http.StatusInternalServerError, fmt.Appendf(nil, `{"error": %q}`, err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that is gone needs no answer.
	_, _ = w.Write(append(b, '\n'))
}
