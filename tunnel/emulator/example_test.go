package emulator_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// An emulator is an http.Handler: any server can serve it, and any Tablestore
// client can use it.
func Example() {
	e, err := emulator.New(emulator.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	server := httptest.NewServer(e)
	defer server.Close()

	err = e.CreateTable(emulator.TableSpec{
		Name: "orders",
		Key:  []emulator.KeyColumn{{Name: "id", Type: plainbuffer.String}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := tunnel.NewClient(tunnel.ClientConfig{
		Endpoint:    server.URL,
		Instance:    "local",
		Credentials: tunnel.StaticCredentials("any", "any", ""),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	made, err := client.CreateTunnel(ctx, tunnel.CreateTunnelRequest{Table: "orders", Tunnel: "feed", Type: tunnel.Stream})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = e.Write("orders", emulator.Change{
		Action: tunnelpb.ActionType_PUT_ROW,
		Row:    plainbuffer.Row{Key: []plainbuffer.Cell{{Name: []byte("id"), Value: plainbuffer.StringValue("o-1")}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	remaining, err := e.Remaining("orders", "feed")
	fmt.Println(made.TunnelID != "", remaining, err)
	// Output: true 1 <nil>
}

// The same seed makes the same faults for the same calls.
func ExampleRandomFaults() {
	faults := emulator.RandomFaults(7, false)
	for _, f := range faults.Rules[:3] {
		fmt.Printf("%s at %.3f\n", f.Kind, f.Rate)
	}
	// Output:
	// error at 0.060
	// error at 0.002
	// gateway at 0.026
}

func ExampleParseFault() {
	f, err := emulator.ParseFault("rate=0.1,call=ReadRecords,code=OTSTunnelServerUnavailable")
	fmt.Println(f.Kind, f.Rate, f.Calls, f.Code, err)
	_, err = emulator.ParseFault("kind=latency,delay=soon")
	fmt.Println(err)
	// Output:
	// error 0.1 [ReadRecords] OTSTunnelServerUnavailable <nil>
	// emulator: fault "kind=latency,delay=soon": delay: "soon" is no time: want one such as 250ms, or a range such as 100ms..5s
}

func ExampleParseSwitches() {
	s, err := emulator.ParseSwitches("epoch-rises", "early-heartbeats=ignored")
	fmt.Println(s.EpochRises, s.EarlyHeartbeats, err)
	// Output: true ignored <nil>
}
