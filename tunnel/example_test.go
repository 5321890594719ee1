package tunnel_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http/httptest"
	"time"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

func ExampleProcessor() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	client, closeShop := openShop(ctx, "apples", "pears")
	defer closeShop()

	processor, err := tunnel.NewProcessor(client, tunnel.ProcessorConfig{
		Table: "orders", Tunnel: "feed",
		HeartbeatGap: 10 * time.Millisecond, // an emulator's; leave it out for the service
		OnEnd:        func(*tunnel.Channel, tunnel.End) { stop() },
	}, func(ctx context.Context, ch *tunnel.Channel, records []tunnel.DecodedRecord) error {
		for _, r := range records {
			id, _ := r.KeyColumn("id")
			amount, _ := r.Column("amount") // amount.Integer() is its number
			fmt.Printf("%v %v: %v\n", r.Action, id, amount)
		}
		return nil // or an error, to get the same records again
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := processor.Run(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// PutRow apples: 6
	// PutRow pears: 5
}

// A role's credentials last an hour or so. Here a security token service is
// asked in time, and requests never wait for it but the first.
func ExampleRefreshingCredentials() {
	assumeRole := func(context.Context) (id, secret, token string, expires time.Time, err error) {
		return "STS.key", "secret", "token", time.Now().Add(time.Hour), nil
	}
	credentials, err := tunnel.NewRefreshingCredentials(func(ctx context.Context) (tunnel.Credentials, time.Time, error) {
		id, secret, token, expires, err := assumeRole(ctx)
		return tunnel.Credentials{AccessKeyID: id, AccessKeySecret: secret, SecurityToken: token}, expires, err
	}, tunnel.RefreshConfig{Name: "role tunnel-reader"})
	if err != nil {
		log.Fatal(err)
	}
	defer credentials.Close()
	client, err := tunnel.NewClient(tunnel.ClientConfig{
		Endpoint: "https://shop.cn-hangzhou.ots.aliyuncs.com", Instance: "shop",
		Credentials: credentials,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	signsWith, err := credentials.Credentials(context.Background())
	fmt.Println(signsWith, err)
	// Output:
	// access key STS.key (secret and security token hidden) <nil>
}

// openShop starts an emulator with a table and a tunnel of its rows.
func openShop(ctx context.Context, rows ...string) (client *tunnel.Client, closeShop func()) {
	slog.SetLogLoggerLevel(slog.LevelError)
	e, err := emulator.New(emulator.Config{})
	if err != nil {
		log.Fatal(err)
	}
	err = e.CreateTable(emulator.TableSpec{Name: "orders", Key: []emulator.KeyColumn{{Name: "id", Type: plainbuffer.String}}})
	if err != nil {
		log.Fatal(err)
	}
	for _, id := range rows {
		err := e.Write("orders", emulator.Change{Action: tunnelpb.ActionType_PUT_ROW, Row: plainbuffer.Row{
			Key:     []plainbuffer.Cell{{Name: []byte("id"), Value: plainbuffer.StringValue(id)}},
			Columns: []plainbuffer.Cell{{Name: []byte("amount"), Value: plainbuffer.IntegerValue(int64(len(id)))}},
		}})
		if err != nil {
			log.Fatal(err)
		}
	}
	server := httptest.NewServer(e)
	client, err = tunnel.NewClient(tunnel.ClientConfig{
		Endpoint: server.URL, Instance: "local",
		Credentials: tunnel.StaticCredentials("id", "secret", ""),
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = client.CreateTunnel(ctx, tunnel.CreateTunnelRequest{Table: "orders", Tunnel: "feed", Type: tunnel.BaseData})
	if err != nil {
		log.Fatal(err)
	}
	return client, func() {
		client.Close()
		server.Close()
		_ = e.Close()
	}
}
