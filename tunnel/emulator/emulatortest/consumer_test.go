package emulatortest_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/emulator/emulatortest"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

func TestMyConsumer(t *testing.T) {
	server := emulatortest.Start(t, emulator.Config{}) // until the test ends
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	// A table, a tunnel of its changes, and a change.
	must(server.CreateTable(emulator.TableSpec{
		Name: "orders",
		Key:  []emulator.KeyColumn{{Name: "order_id", Type: plainbuffer.String}},
	}))
	client, err := tunnel.NewClient(tunnel.ClientConfig{
		Endpoint:    server.Endpoint,
		Instance:    "local",
		Credentials: tunnel.StaticCredentials("any", "any", ""),
		HTTPClient:  server.Client,
	})
	must(err)
	defer client.Close()
	_, err = client.CreateTunnel(t.Context(), tunnel.CreateTunnelRequest{Table: "orders", Tunnel: "feed", Type: tunnel.Stream})
	must(err)
	must(server.Write("orders", emulator.Change{
		Action: tunnelpb.ActionType_PUT_ROW,
		Row: plainbuffer.Row{
			Key:     []plainbuffer.Cell{{Name: []byte("order_id"), Value: plainbuffer.StringValue("1001")}},
			Columns: []plainbuffer.Cell{{Name: []byte("amount"), Value: plainbuffer.DoubleValue(12.5)}},
		},
	}))

	// The consumer, which stops when it has seen a record.
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var seen []string
	processor, err := tunnel.NewProcessor(client, tunnel.ProcessorConfig{
		Table: "orders", Tunnel: "feed",
		HeartbeatGap: time.Millisecond, // a stop waits for it; the real service wants the default, 5 s
	}, func(_ context.Context, _ *tunnel.Channel, records []tunnel.DecodedRecord) error {
		for _, r := range records {
			id, _ := r.KeyColumn("order_id")
			amount, _ := r.Column("amount")
			seen = append(seen, fmt.Sprint(r.Action, " ", id, ": ", amount))
		}
		stop()
		return nil
	})
	must(err)
	must(processor.Run(ctx))
	if want := []string{"PutRow 1001: 12.5"}; !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}
