package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/culvertio/culvert/internal/check"
)

// summarize judges the run by the journal of the handler's invocations, prints what it came to,
// and returns an error unless it was faultless. Records of rows that are not
// the feed's, written by somebody else, are left out. remaining is how many
// records no checkpoint covers.
func (l *local) summarize(remaining int64) error {
	entries, err := check.ReadJournals(l.journals)
	if err != nil {
		return fmt.Errorf("judge the run: %w", err)
	}
	ours, others := check.Split(entries, l.feed.ours)
	verdict := check.Judge(l.written, ours)
	others += verdict.Others

	line := func(name, value string) { fmt.Fprintf(l.out, "  %-12s %8s\n", name, value) }
	fmt.Fprintln(l.out, "\nsummary, from the record of the handler's invocations:")
	line("written", strconv.Itoa(verdict.Written))
	line("delivered", strconv.Itoa(verdict.Delivered))
	line("invocations", strconv.Itoa(verdict.Invocations))
	line("retries", strconv.Itoa(verdict.Retries))
	line("repeats", strconv.Itoa(verdict.Repeats))
	line("seconds", strconv.FormatFloat(l.took.Seconds(), 'f', 1, 64))
	if l.faulty {
		line("faults", strconv.FormatInt(l.faults(), 10))
		fmt.Fprintln(l.out, "the faults by their kinds:", l.faultKinds())
	}
	if others > 0 {
		fmt.Fprintf(l.out, "and %d deliveries of what others wrote\n", others)
	}
	if remaining > 0 {
		// Not lost: the checkpoint stands before them.
		verdict.Lost = check.Finding{}
	}
	switch {
	case !verdict.OK():
		fmt.Fprint(l.out, verdict.Findings())
	case l.limit > 0:
		return fmt.Errorf("given up after %v (--limit) with %d records not yet settled; no checkpoint has passed them", l.limit, remaining)
	case remaining > 0:
		return fmt.Errorf("interrupted with %d records not yet settled; no checkpoint has passed them", remaining)
	default:
		fmt.Fprintln(l.out, "nothing lost, each key in order")
		return nil
	}
	return fmt.Errorf("%d lost, %d out of order, %d unknown, %d corrupt",
		verdict.Lost.Count, verdict.OutOfOrder.Count, verdict.Unknown.Count, verdict.Corrupt.Count)
}

// faultKinds says how often each kind of fault has happened.
func (l *local) faultKinds() string {
	counts := l.server.FaultCounts()
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, counts[kind]))
	}
	return strings.Join(kinds, ", ")
}
