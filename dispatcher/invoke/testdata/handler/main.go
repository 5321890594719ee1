// Handler does what its event says; see the scenarios in scenario_test.go.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/aliyun/fc-runtime-go-sdk/fc"
)

func main() {
	fc.Start(func(ctx context.Context, event map[string]any) (any, error) {
		switch event["do"] {
		case "fail":
			return nil, errors.New("asked to fail")
		case "panic":
			panic("asked to panic")
		case "hang":
			select {}
		case "exit":
			os.Exit(3)
		case "answer":
			return map[string]any{"batchItemFailures": []any{}}, nil
		}
		return nil, nil
	})
}
