package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/culvertio/culvert/internal/check"
)

// summarize judges the run by the handler's journals, prints what it came to,
// and returns an error unless it was faultless. Records of rows that are not
// samples, written by somebody else, are left out. remaining is how many
// records no checkpoint covers.
func (l *local) summarize(journals string, remaining int64) error {
	entries, err := check.ReadJournals(journals)
	if err != nil {
		return fmt.Errorf("judge the run: %w", err)
	}
	// Where nothing was invoked, a silent handler is no excuse.
	if len(entries) == 0 && remaining == 0 && !l.records && l.invocations > 0 {
		fmt.Fprintln(l.out, "\nno summary: the handler records nothing, as it does not use functions.Start; the dispatcher saw all settled")
		return nil
	}
	ours, others := check.Split(entries, func(key string) bool {
		return strings.HasPrefix(key, check.KeyText(sampleKey, `"`+samplePrefix))
	})
	verdict := check.Judge(l.written, ours)

	line := func(name, value string) { fmt.Fprintf(l.out, "  %-12s %8s\n", name, value) }
	fmt.Fprintln(l.out, "\nsummary, from what the handler recorded:")
	line("written", strconv.Itoa(verdict.Written))
	line("delivered", strconv.Itoa(verdict.Delivered))
	line("invocations", strconv.Itoa(verdict.Invocations))
	line("retries", strconv.Itoa(verdict.Retries))
	line("repeats", strconv.Itoa(verdict.Repeats))
	line("seconds", strconv.FormatFloat(verdict.Time.Seconds(), 'f', 1, 64))
	if others > 0 {
		fmt.Fprintf(l.out, "and %d deliveries of rows that are no samples\n", others)
	}
	if remaining > 0 {
		// Not lost: the checkpoint stands before them.
		verdict.Lost = check.Finding{}
	}
	switch {
	case !verdict.OK():
		fmt.Fprint(l.out, verdict.Findings())
	case remaining > 0:
		return fmt.Errorf("interrupted with %d records not yet settled; no checkpoint has passed them", remaining)
	default:
		fmt.Fprintln(l.out, "nothing lost, each key in order")
		return nil
	}
	return fmt.Errorf("%d lost, %d out of order, %d unknown, %d corrupt",
		verdict.Lost.Count, verdict.OutOfOrder.Count, verdict.Unknown.Count, verdict.Corrupt.Count)
}
