// A handler of Function Compute's native Tablestore trigger, written without
// any knowledge of Culvert: it decodes the event's CBOR into the structure
// that the trigger's documents give. It notes what it was given in the file
// that SEEN names, a line for each record.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/aliyun/fc-runtime-go-sdk/fc"
	"github.com/fxamacker/cbor/v2"
)

type event struct {
	Version string
	Records []record
}

type record struct {
	Type string
	Info struct {
		Timestamp int64
	}
	PrimaryKey []struct {
		ColumnName string
		Value      any
	}
	Columns []struct {
		Type       string
		ColumnName string
		Value      any
		Timestamp  int64
	}
}

func main() { fc.Start(handle) }

func handle(ctx context.Context, payload []byte) error {
	var e event
	if err := cbor.Unmarshal(payload, &e); err != nil {
		return err
	}
	if e.Version != "Sync-v1" {
		return fmt.Errorf("version %q", e.Version)
	}
	var lines strings.Builder
	for _, r := range e.Records {
		lines.WriteString(r.Type)
		if r.Info.Timestamp > 0 {
			lines.WriteString(" dated")
		}
		for _, k := range r.PrimaryKey {
			fmt.Fprintf(&lines, " %s=%T(%v)", k.ColumnName, k.Value, k.Value)
		}
		for _, c := range r.Columns {
			fmt.Fprintf(&lines, " %s:%s=%T(%v)@%d", c.Type, c.ColumnName, c.Value, c.Value, c.Timestamp)
		}
		lines.WriteByte('\n')
	}
	seen, err := os.OpenFile(os.Getenv("SEEN"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	if _, err := seen.WriteString(lines.String()); err != nil {
		return err
	}
	return seen.Close()
}
