package main

import (
	"strings"
	"testing"
)

func TestNothingRecordedIsAllLostUnlessASilentHandlerWasInvoked(t *testing.T) {
	written := newSamples(1).next().write
	for _, c := range []struct {
		name string
		run  local
		lost bool
	}{
		{"nothing was invoked", local{}, true},
		{"the example, which records", local{records: true, invocations: 3}, true},
		{"a handler that does not record", local{invocations: 3}, false},
	} {
		var printed strings.Builder
		c.run.out, c.run.written = &printed, append(c.run.written, written)
		if err := c.run.summarize(t.TempDir(), 0); (err != nil) != c.lost {
			t.Errorf("%s: %v\n%s", c.name, err, printed.String())
		}
	}
}
