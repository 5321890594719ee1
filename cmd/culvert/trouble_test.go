package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestAHandlerThatBringsNothingAboutIsToldSeldom(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w := trouble{timeout: time.Minute, way: "Ctrl-C ends the run"}
	hung := &attempt{batch: "51b87ef2aaaa", number: 2, began: start}
	warehouse := errors.New("no such\nwarehouse")
	for _, c := range []struct {
		second int
		standing
		due  bool
		want string // "": nothing is told
	}{
		{0, standing{}, false, ""},
		{9, standing{oldest: hung}, false, ""},
		{10, standing{oldest: hung}, true, "the handler has not answered batch 51b87ef2, attempt 2, for 10 s (past 1m0s, --timeout, "},
		{39, standing{oldest: hung}, false, "for 39 s"},
		{40, standing{oldest: hung}, true, "for 40 s"},
		{99, standing{oldest: hung}, false, "for 1 min 39 s"}, // 60 s, the second time
		{100, standing{oldest: hung}, true, "for 1 min 40 s"},
		{101, standing{settled: 5, failed: 3}, false, ""},
		{102, standing{settled: 5, failed: 4, last: warehouse}, false, ""},
		{111, standing{settled: 5, failed: 7, last: warehouse}, true, "every attempt has failed for 10 s: 4 of them; the last error: no such warehouse; Ctrl-C ends the run"},
		{113, standing{settled: 6, failed: 7, last: warehouse}, false, ""},
		{200, standing{settled: 6, failed: 7}, false, ""}, // there is nothing to do
		{201, standing{settled: 6, failed: 8}, true, "its answer names records that failed"},
	} {
		text, due := w.look(start.Add(time.Duration(c.second)*time.Second), c.standing)
		if due != c.due || !strings.Contains(text, c.want) || (text == "") != (c.want == "") {
			t.Errorf("after %d s: %q, due %v", c.second, text, due)
		}
	}
	text, _ := (&trouble{timeout: 10 * time.Millisecond, since: start}).look(start.Add(time.Second), standing{failed: 3, last: errors.New(strings.Repeat("ü", 1000))})
	if !strings.Contains(text, "so far: 3 of them") || !strings.Contains(text, "ü…;") || len(text) > 500 {
		t.Error(text)
	}
}

func TestARunThatGetsNowhereSaysWhyAndEndsAtItsLimit(t *testing.T) {
	t.Parallel()
	summary := []string{"  seconds  ", "  delivered           0\n", "given up after 4s (--limit) with ", "records not yet settled; no checkpoint has passed them"}
	hangs := start(t, nil, "local", "--once", "--handler", "testdata/hangs", "--timeout", "3s", "--limit", "4s")
	fails := start(t, nil, "local", "--once", "--handler", "testdata/fails", "--timeout", "3s", "--limit", "4s")
	hangs.exits(exitFailed, append(summary, "the handler has not answered batch ", "past 3s, --timeout, it is killed", "4s have passed, and not all is settled", "waiting 10s at most for the handler to answer batch ")...)
	fails.exits(exitFailed, append(summary, "every attempt has failed so far: ", "no such warehouse; Ctrl-C ends the run\n")...)
	if n := strings.Count(fails.text(), "every attempt has failed"); n != 1 {
		t.Errorf("it is told %d times", n)
	}
}

func TestTheWayOutOfARunWithoutEndNamesTheLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		command localCommand
		limit   bool
	}{
		{localCommand{}, false}, {localCommand{Once: true}, true}, {localCommand{Once: true, Limit: time.Minute}, false},
	} {
		if way := c.command.way(); strings.Contains(way, "--limit") != c.limit || !strings.Contains(way, "Ctrl-C") {
			t.Errorf("%+v: %s", c.command, way)
		}
	}
}
