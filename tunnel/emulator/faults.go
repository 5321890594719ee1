package emulator

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Faults is what goes wrong on purpose: rules, and a seed for all that they
// leave to chance. The zero value is no fault. [Config].Faults sets them from
// the start, [Emulator.SetFaults] at any time; [RandomFaults] makes a mix.
//
// Faults are a plan: with the same seed and rules, the n-th call of a name
// meets the same faults in every run, whatever calls of other names come
// between.
type Faults struct {
	Seed  uint64  `json:"seed"`
	Rules []Fault `json:"rules"`
}

// Fault is one rule: what happens to which calls, and how often. Rules are
// independent of each other. Of several that hit one call, every delay, every
// command and every change of a page is carried out, and of the others the one
// whose rule stands first.
type Fault struct {
	// Kind is what happens. Required.
	Kind FaultKind `json:"kind"`
	// Calls are the names of the calls that it happens to, such as
	// ReadRecords. Empty: every call of the tunnel API that a client's worker
	// makes (Connect, Heartbeat, Shutdown, GetCheckpoint, Checkpoint,
	// ReadRecords), as far as the kind suits it.
	Calls []string `json:"calls,omitempty"`
	// Rate is the share of these calls, above 0 and at most 1. 0: all.
	Rate float64 `json:"rate,omitempty"`
	// Count is how many calls are hit at most. 0: no limit.
	Count int `json:"count,omitempty"`

	// Code and Status are of an error's answer. Code defaults to the API's own
	// "unavailable", Status to the one that the code has, which for a code that
	// the emulator does not use is 500. Of a gateway's answer, Status defaults
	// to 502. Status 400 to 599.
	Code   string `json:"code,omitempty"`
	Status int    `json:"status,omitempty"`
	// Delay is how long latency keeps a call waiting, and how long drop-request
	// and drop-answer leave it without an answer before the connection is cut:
	// defaults 100 ms to 500 ms, and 60 s. 0 to 10 min.
	Delay Span `json:"delay,omitzero"`
	// Records and Bytes bound what page-size draws for each page, which then
	// ends with the record that reaches either; Records bounds how many
	// records repeat-page answers again. 0: records 10, bytes as configured.
	// At most what [Config] allows.
	Records int `json:"records,omitempty"`
	Bytes   int `json:"bytes,omitempty"`
	// Step is by how much step-clock sets the clock forward, or back where it
	// is negative. Default -5 s to 5 s. At most 24 h either way.
	Step Span `json:"step,omitzero"`
}

// FaultKind is what a fault does.
type FaultKind string

// The kinds of faults. Those from FaultMove on are the emulator's commands,
// carried out before the call that they hit, on its tunnel: they suit every
// call that names a tunnel by its id.
const (
	FaultError       FaultKind = "error"        // the call is refused with Code, and has no effect
	FaultGateway     FaultKind = "gateway"      // a gateway answers in plain text, and the call has no effect
	FaultLatency     FaultKind = "latency"      // the call waits for Delay before it is processed
	FaultCutRequest  FaultKind = "cut-request"  // the connection is cut, and the call has no effect
	FaultCutAnswer   FaultKind = "cut-answer"   // the call has its effect, and the connection is cut in place of an answer
	FaultCutBody     FaultKind = "cut-body"     // the call has its effect, and the connection is cut in the middle of the answer
	FaultGarbage     FaultKind = "garbage"      // the call has its effect, and a success is answered with bytes that make no sense
	FaultDropRequest FaultKind = "drop-request" // the request is lost: no effect, and no answer for Delay
	FaultDropAnswer  FaultKind = "drop-answer"  // the answer is lost: the call has its effect, and no answer for Delay

	FaultPageSize   FaultKind = "page-size"   // a page of ReadRecords ends elsewhere
	FaultRepeatPage FaultKind = "repeat-page" // the token of the next page is one that brings the last records of this page again, or all

	FaultMove         FaultKind = "move"          // a channel is moved: the call's, or one of its tunnel
	FaultSplit        FaultKind = "split"         // a partition is split: the call's, or one of its tunnel's table
	FaultExpireClient FaultKind = "expire-client" // the call's client is dropped as if it had been silent
	FaultExpireTunnel FaultKind = "expire-tunnel" // the tunnel expires, for good
	FaultStepClock    FaultKind = "step-clock"    // the emulator's clock is set forward or back by Step
)

// aspect is what of a call a fault changes.
type aspect uint8

const (
	hitsOutcome aspect = iota // whether it has an effect and an answer
	hitsDelay                 // when it is processed
	hitsPage                  // what a page holds
	hitsCommand               // what else happens
)

// kinds says of each kind what it changes, in the order of the constants.
var kinds = []struct {
	kind   FaultKind
	aspect aspect
}{
	{FaultError, hitsOutcome}, {FaultGateway, hitsOutcome}, {FaultLatency, hitsDelay},
	{FaultCutRequest, hitsOutcome}, {FaultCutAnswer, hitsOutcome}, {FaultCutBody, hitsOutcome}, {FaultGarbage, hitsOutcome},
	{FaultDropRequest, hitsOutcome}, {FaultDropAnswer, hitsOutcome},
	{FaultPageSize, hitsPage}, {FaultRepeatPage, hitsPage},
	{FaultMove, hitsCommand}, {FaultSplit, hitsCommand}, {FaultExpireClient, hitsCommand}, {FaultExpireTunnel, hitsCommand}, {FaultStepClock, hitsCommand},
}

// FaultKinds are all kinds, in the order of the constants.
func FaultKinds() []FaultKind {
	all := make([]FaultKind, len(kinds))
	for i, k := range kinds {
		all[i] = k.kind
	}
	return all
}

func (k FaultKind) aspect() (aspect, bool) {
	for _, known := range kinds {
		if known.kind == k {
			return known.aspect, true
		}
	}
	return 0, false
}

// The calls of a client's worker, which faults hit unless they name others.
var workerCalls = []string{"Connect", "Heartbeat", "Shutdown", "GetCheckpoint", "Checkpoint", "ReadRecords"}

// suits says whether a kind can happen to a call.
func (k FaultKind) suits(call string) bool {
	switch a, _ := k.aspect(); a {
	case hitsPage:
		return call == "ReadRecords"
	case hitsCommand:
		if k == FaultExpireClient && call == "Connect" {
			return false // it has no client yet
		}
		return slices.Contains(workerCalls, call) || call == "GetRpo" || call == "GetRpoByOffset" || call == "Schedule"
	}
	return true
}

// Span is a range of times, of which one is drawn; both ends belong to it. As
// text it is 250ms, or 100ms..5s.
type Span struct{ From, To time.Duration }

func (s Span) String() string {
	if s.From == s.To {
		return s.From.String()
	}
	return s.From.String() + ".." + s.To.String()
}

// MarshalText is the span as text.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a span.
func (s *Span) UnmarshalText(text []byte) error {
	from, to, isRange := strings.Cut(string(text), "..")
	if !isRange {
		to = from
	}
	a, err := time.ParseDuration(from)
	b, err2 := time.ParseDuration(to)
	if err != nil || err2 != nil {
		return fmt.Errorf("%q is no time: want one such as 250ms, or a range such as 100ms..5s", text)
	}
	if b < a {
		return fmt.Errorf("%q ends before it begins", text)
	}
	*s = Span{a, b}
	return nil
}

const (
	maxDelay = 10 * time.Minute
	maxStep  = 24 * time.Hour
)

// validate names all that is wrong. calls are the names that there are.
func (f Faults) validate(calls []string) error {
	var errs []error
	for i, r := range f.Rules {
		if err := r.validate(calls); err != nil {
			errs = append(errs, fmt.Errorf("emulator: fault %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

func (f Fault) validate(calls []string) error {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	_, known := f.Kind.aspect()
	if !known {
		say("there is no kind %q; there are %s", f.Kind, join(FaultKinds()))
	}
	for _, c := range f.Calls {
		switch {
		case !slices.Contains(calls, c):
			say("there is no call %q; there are %s", c, strings.Join(calls, ", "))
		case known && !f.Kind.suits(c):
			say("%s cannot happen to %s", f.Kind, c)
		}
	}
	if !(f.Rate >= 0 && f.Rate <= 1) {
		say("rate %v: must be above 0 and at most 1", f.Rate)
	}
	if f.Count < 0 {
		say("count %d: must not be negative", f.Count)
	}
	only := func(field string, set bool, kinds ...FaultKind) {
		if set && known && !slices.Contains(kinds, f.Kind) {
			say("%s has no meaning for %s: only for %s", field, f.Kind, join(kinds))
		}
	}
	only("code", f.Code != "", FaultError)
	only("status", f.Status != 0, FaultError, FaultGateway)
	if f.Status != 0 && (f.Status < 400 || f.Status > 599) {
		say("status %d: must be 400 to 599", f.Status)
	}
	only("delay", f.Delay != Span{}, FaultLatency, FaultDropRequest, FaultDropAnswer)
	if f.Delay.From < 0 || f.Delay.To > maxDelay || f.Delay.To < f.Delay.From {
		say("delay %v: must be 0 to %v", f.Delay, maxDelay)
	}
	only("records", f.Records != 0, FaultPageSize, FaultRepeatPage)
	if f.Records < 0 || f.Records > maxPageRecords {
		say("records %d: must be 1 to %d", f.Records, maxPageRecords)
	}
	only("bytes", f.Bytes != 0, FaultPageSize)
	if f.Bytes < 0 || f.Bytes > maxPageBytes {
		say("bytes %d: must be 1 to %d", f.Bytes, maxPageBytes)
	}
	only("step", f.Step != Span{}, FaultStepClock)
	if f.Step.From < -maxStep || f.Step.To > maxStep || f.Step.To < f.Step.From {
		say("step %v: must be at most %v either way", f.Step, maxStep)
	}
	if wrong == nil {
		return nil
	}
	return errors.New(strings.Join(wrong, "; "))
}

func join(kinds []FaultKind) string {
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// withDefaults fills in what was left out.
func (f Fault) withDefaults() Fault {
	f.Rate = cmp.Or(f.Rate, 1)
	if len(f.Calls) == 0 {
		f.Calls = slices.DeleteFunc(slices.Clone(workerCalls), func(c string) bool { return !f.Kind.suits(c) })
	}
	switch f.Kind {
	case FaultGateway:
		f.Status = cmp.Or(f.Status, http.StatusBadGateway)
	case FaultLatency:
		f.Delay = cmp.Or(f.Delay, Span{100 * time.Millisecond, 500 * time.Millisecond})
	case FaultDropRequest, FaultDropAnswer:
		f.Delay = cmp.Or(f.Delay, Span{time.Minute, time.Minute})
	case FaultPageSize:
		if f.Bytes == 0 {
			f.Records = cmp.Or(f.Records, 10)
		}
	case FaultRepeatPage:
		f.Records = cmp.Or(f.Records, 10)
	case FaultStepClock:
		f.Step = cmp.Or(f.Step, Span{-5 * time.Second, 5 * time.Second})
	}
	return f
}
