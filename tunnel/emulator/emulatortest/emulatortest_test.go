package emulatortest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/emulator/emulatortest"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// follow makes a table and a tunnel on it, connects with a timeout of ten
// seconds, and gives the client and how it names itself in heartbeats.
func follow(t *testing.T, s *emulatortest.Server) (*tunnel.Client, tunnel.HeartbeatRequest) {
	t.Helper()
	err := s.CreateTable(emulator.TableSpec{Name: "t", Key: []emulator.KeyColumn{{Name: "k", Type: plainbuffer.String}}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := tunnel.NewClient(tunnel.ClientConfig{
		Endpoint: s.Endpoint, Instance: "local", Credentials: tunnel.StaticCredentials("id", "secret", ""), HTTPClient: s.Client,
	})
	if err != nil {
		t.Fatal(err)
	}
	made, err := client.CreateTunnel(t.Context(), tunnel.CreateTunnelRequest{Table: "t", Tunnel: "feed", Type: tunnel.Stream})
	if err != nil {
		t.Fatal(err)
	}
	connected, err := client.Connect(t.Context(), tunnel.ConnectRequest{TunnelID: made.TunnelID, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return client, tunnel.HeartbeatRequest{TunnelID: made.TunnelID, ClientID: connected.ClientID}
}

func TestAnEmulatorStartsInOneLine(t *testing.T) {
	server := emulatortest.Start(t, emulator.Config{})
	client, me := follow(t, server)
	held, err := client.Heartbeat(t.Context(), me)
	if err != nil || len(held.Channels) != 1 {
		t.Errorf("the client holds %v, %v; want one channel", held.Channels, err)
	}
	answer, err := server.Client.Get(server.Endpoint + "/emulator/state")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if b, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(b), `"feed"`) {
		t.Errorf("the control API answers %d %s, %v", answer.StatusCode, b, err)
	}
}

func TestOverPipesTimeoutsPassAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, me := follow(t, emulatortest.Pipe(t, emulator.Config{}))
		if _, err := client.Heartbeat(t.Context(), me); err != nil {
			t.Fatal(err)
		}
		<-time.After(11 * time.Second)
		_, err := client.Heartbeat(t.Context(), me)
		if code := tunnel.CodeResourceGone; err == nil || !strings.Contains(err.Error(), string(code)) {
			t.Errorf("after its timeout, the client's heartbeat fails with %v, want %s", err, code)
		}
	})
}

func TestAConnectionThatAFaultCutsIsCut(t *testing.T) {
	for name, start := range map[string]func(testing.TB, emulator.Config) *emulatortest.Server{"socket": emulatortest.Start, "pipe": emulatortest.Pipe} {
		t.Run(name, func(t *testing.T) {
			server := start(t, emulator.Config{Faults: emulator.Faults{Rules: []emulator.Fault{
				{Kind: emulator.FaultCutBody, Calls: []string{"Heartbeat"}, Count: 1},
				{Kind: emulator.FaultCutAnswer, Calls: []string{"Heartbeat"}, Count: 1},
			}}})
			client, me := follow(t, server)
			// The client tries again by itself.
			held, err := client.Heartbeat(t.Context(), me)
			if err != nil || len(held.Channels) != 1 {
				t.Errorf("the client holds %v, %v; want one channel", held.Channels, err)
			}
			counts := server.FaultCounts()
			if counts[emulator.FaultCutBody] != 1 || counts[emulator.FaultCutAnswer] != 1 {
				t.Errorf("faults %v, want one of each", counts)
			}
		})
	}
}
