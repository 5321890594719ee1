// Command recorder is a handler that does nothing but keep its journal.
package main

import (
	"context"

	"github.com/culvertio/culvert/functions"
)

func main() {
	functions.Start(func(context.Context, *functions.Event) error { return nil })
}
