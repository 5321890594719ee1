// A handler that does what its event's trigger is called.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/culvertio/culvert/functions"
)

func main() { functions.Start(handle) }

type outOfStock struct{}

func (outOfStock) Error() string { return "out of stock" }

func handle(ctx context.Context, e *functions.Event) error {
	switch e.Batch.Trigger {
	case "fail":
		return outOfStock{}
	case "mark":
		for _, r := range e.Records {
			if n, _ := r.Key("n").Int64(); n%2 == 1 {
				r.Fail(fmt.Errorf("%d is odd", n))
			}
		}
	case "unmark":
		for _, r := range e.Records {
			r.Fail(errors.New("a hasty judgement"))
			r.Fail(nil)
		}
	case "mark and fail":
		e.Records[0].Fail(errors.New("odd"))
		return outOfStock{}
	case "panic":
		panic("no such shelf")
	case "exit":
		os.Exit(7)
	case "deadline":
		if _, ok := ctx.Deadline(); !ok {
			return errors.New("no deadline")
		}
	}
	return nil
}
