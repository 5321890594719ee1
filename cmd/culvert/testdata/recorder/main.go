// Command recorder is a handler that does nothing but keep its journal, and
// takes some time for it, so that there is always something under way.
package main

import (
	"context"
	"time"

	"github.com/culvertio/culvert/functions"
)

func main() {
	functions.Start(func(ctx context.Context, _ *functions.Event) error {
		select {
		case <-time.After(20 * time.Millisecond):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}
