// Command recorder is a handler built with Function Compute's runtime SDK
// alone: it knows nothing of Culvert. It appends each event, as it was
// received, as a line to the file that RECORD names.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"

	"github.com/aliyun/fc-runtime-go-sdk/fc"
)

func main() {
	fc.Start(func(_ context.Context, event json.RawMessage) error {
		var line bytes.Buffer
		if err := json.Compact(&line, event); err != nil {
			return err
		}
		line.WriteByte('\n')
		f, err := os.OpenFile(os.Getenv("RECORD"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(line.Bytes())
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		return err
	})
}
