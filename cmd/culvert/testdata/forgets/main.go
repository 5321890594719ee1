// Command forgets is a handler that takes every change but does not record
// those of the first sample order: to the checker they are lost.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aliyun/fc-runtime-go-sdk/fc"
)

func main() {
	journal, err := os.Create(filepath.Join(os.Getenv("CULVERT_JOURNAL"), fmt.Sprint(os.Getpid(), ".jsonl")))
	if err != nil {
		panic(err)
	}
	fc.Start(func(_ context.Context, payload []byte) (any, error) {
		var event struct {
			Version string
			Batch   struct {
				ID      string `json:"Id"`
				Attempt int
			}
			Records []json.RawMessage
		}
		if err := json.Unmarshal(payload, &event); err != nil {
			return nil, err
		}
		event.Records = slices.DeleteFunc(event.Records, func(r json.RawMessage) bool {
			return strings.Contains(string(r), "sample-00001")
		})
		lines := json.NewEncoder(journal)
		begin := map[string]any{"time": time.Now(), "phase": "begin", "event": event}
		end := map[string]any{"time": time.Now(), "phase": "end", "batch": event.Batch.ID, "attempt": event.Batch.Attempt, "outcome": "ok"}
		if err := lines.Encode(begin); err != nil {
			return nil, err
		}
		return nil, lines.Encode(end)
	})
}
