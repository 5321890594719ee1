package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of what is told of a handler that brings nothing about.
const (
	longestSilence = 10 * time.Second // before it is told for the first time
	tellAgain      = 30 * time.Second // then twice as long, and so on
	longestCause   = 300              // bytes of an error
)

// trouble watches for a handler that does not answer, or always fails: nothing
// else would say why a run does not go on.
type trouble struct {
	timeout time.Duration // of one invocation
	way     string        // how a run ends that would go on for ever

	since           time.Time // when something has settled last
	settled, failed int64     // as of then
	told            time.Time // when it was told last; zero: not since something has settled
	pause           time.Duration
}

// standing is what trouble looks at.
type standing struct {
	settled int64 // records
	failed  int64 // invocations
	oldest  *attempt
	last    error // of the attempt that was answered last
}

// silence is how long nothing may come of a handler before it is told.
func (t *trouble) silence() time.Duration { return min(longestSilence, t.timeout/2) }

// look returns what is to be told as of now, or "". due says that it is time
// to tell it where it would be told again and again: seldom.
func (t *trouble) look(now time.Time, s standing) (text string, due bool) {
	if t.since.IsZero() {
		t.since, t.pause = now, tellAgain
	}
	if s.settled > t.settled {
		t.since, t.settled, t.failed = now, s.settled, s.failed
		t.told, t.pause = time.Time{}, tellAgain
	}
	var parts []string
	if s.oldest != nil && now.Sub(s.oldest.began) >= t.silence() {
		parts = append(parts, fmt.Sprintf("the handler has not answered %s for %s (past %v, --timeout, it is killed and the batch tried again)",
			s.oldest, span(now.Sub(s.oldest.began)), t.timeout))
	}
	if n := s.failed - t.failed; n > 0 && now.Sub(t.since) >= t.silence() {
		so := "so far"
		if t.settled > 0 {
			so = fmt.Sprintf("for %s", span(now.Sub(t.since)))
		}
		parts = append(parts, fmt.Sprintf("every attempt has failed %s: %d of them; the last error: %s; %s", so, n, cause(s.last), t.way))
	}
	if parts == nil {
		return "", false
	}
	if due = t.told.IsZero() || now.Sub(t.told) >= t.pause; due {
		if !t.told.IsZero() {
			t.pause *= 2
		}
		t.told = now
	}
	return strings.Join(parts, "; "), due
}

func (a *attempt) String() string {
	return fmt.Sprintf("batch %s, attempt %d,", a.batch[:min(len(a.batch), 8)], a.number)
}

// cause is an error in one line.
func cause(err error) string {
	if err == nil {
		return "its answer names records that failed"
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) <= longestCause {
		return text
	}
	end := longestCause
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
