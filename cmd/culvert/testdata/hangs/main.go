// Command hangs is a handler that never answers.
package main

import (
	"context"
	"fmt"

	"github.com/culvertio/culvert/functions"
)

func main() {
	functions.Start(func(context.Context, *functions.Event) error {
		fmt.Println("waiting for a lock")
		select {}
	})
}
