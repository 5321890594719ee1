package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/culvertio/culvert/tunnel"
)

func TestTheEmulatorServesUntilAnInterrupt(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "emulator", "--listen", "127.0.0.1:0", "--access-key", "ada:lovelace", "--instance", "mine", "--table", "orders:order_id,line")
	p.awaits("endpoint           http://127.0.0.1:", "instance           mine\n", "access key id      ada\n", "access key secret  lovelace\n")
	_, endpoint, _ := strings.Cut(p.text(), "endpoint           ")
	endpoint, _, _ = strings.Cut(endpoint, "\n")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint+"/ListTable", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 == 2 {
		t.Error("an unsigned request was answered")
	}
	client, err := tunnel.NewClient(tunnel.ClientConfig{
		Endpoint: endpoint, Instance: "mine", Credentials: tunnel.StaticCredentials("ada", "lovelace", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.ListTunnel(t.Context(), tunnel.ListTunnelRequest{Table: "orders"}); err != nil {
		t.Errorf("the table that was asked for: %v", err)
	}
	p.signal(syscall.SIGINT)
	p.exits(exitDone, "interrupt again to leave at once")
}

// said is what a process has printed behind a name.
func (p *process) said(name string) string {
	p.t.Helper()
	p.awaits(name)
	_, rest, _ := strings.Cut(p.text(), name)
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}

// tunnelsOf lists the tunnels of the table orders.
func tunnelsOf(t *testing.T, endpoint string) []tunnel.TunnelInfo {
	t.Helper()
	client := clientOf(t, endpoint)
	list, err := client.ListTunnel(t.Context(), tunnel.ListTunnelRequest{Table: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	return list.Tunnels
}

func clientOf(t *testing.T, endpoint string) *tunnel.Client {
	t.Helper()
	client, err := tunnel.NewClient(tunnel.ClientConfig{
		Endpoint: endpoint, Instance: "local", Credentials: tunnel.StaticCredentials("any", "any", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestTheEmulatorsDataOutliveItsProcess(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	args := []string{"emulator", "--listen", "127.0.0.1:0", "--table", "orders:order_id", "--data", dir}
	p := start(t, nil, args...)
	endpoint := p.said("endpoint ")
	made, err := clientOf(t, endpoint).CreateTunnel(t.Context(), tunnel.CreateTunnelRequest{Table: "orders", Tunnel: "feed", Type: tunnel.Stream})
	if err != nil {
		t.Fatal(err)
	}
	start(t, nil, args...).exits(exitUnavailable, "--data: ", dir, "another process")
	p.kill()

	p = start(t, nil, args...)
	if list := tunnelsOf(t, p.said("endpoint ")); len(list) != 1 || list[0].ID != made.TunnelID {
		t.Errorf("the tunnels after a kill: %+v", list)
	}
	p.signal(syscall.SIGTERM)
	p.exits(exitDone)
	if err := os.WriteFile(filepath.Join(t.TempDir(), "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, nil, "emulator", "--listen", "127.0.0.1:0", "--data", "/dev/null/data").exits(exitUnavailable, "--data: ", "/dev/null/data")
}

func TestTheEmulatorsTroubleIsAskedForByFlags(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "emulator", "--listen", "127.0.0.1:0", "--table", "orders:order_id",
		"--fault", "call=ListTunnel,code=OTSFromTheFlag,status=403", "--faults", "7", "--switch", "epoch-rises", "--switch", "early-heartbeats=ignored", "--split-bytes", "1000")
	control := p.said("control ")
	for path, want := range map[string][]string{
		"state":    {"orders"},
		"faults":   {`"seed":7`, "OTSFromTheFlag"},
		"switches": {`"epoch-rises":true`, `"early-heartbeats":"ignored"`},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.TrimSuffix(control, "state")+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		for _, want := range want {
			if !strings.Contains(strings.NewReplacer(" ", "", "\n", "").Replace(string(text)), want) {
				t.Errorf("%s answers %s, without %s", path, text, want)
			}
		}
	}
	_, err := clientOf(t, p.said("endpoint ")).ListTunnel(t.Context(), tunnel.ListTunnelRequest{Table: "orders"})
	if err == nil || !strings.Contains(err.Error(), "OTSFromTheFlag") {
		t.Errorf("%v: the fault was asked for", err)
	}
	p.signal(syscall.SIGINT)
	p.exits(exitDone)
}
