// Command fails is a handler that always fails.
package main

import (
	"context"
	"errors"

	"github.com/culvertio/culvert/functions"
)

func main() {
	functions.Start(func(context.Context, *functions.Event) error {
		return errors.New("no such warehouse")
	})
}
