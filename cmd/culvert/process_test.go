package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/culvertio/culvert/functions/runtime"
	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// asMain makes the test's binary behave as culvert itself.
const asMain = "CULVERT_TEST_AS_MAIN"

// recorder is the binary of testdata/recorder.
var recorder string

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
	}
	binary, cleanup, err := runtime.Build(context.Background(), "testdata/recorder", "")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	recorder = binary
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil { // the tests wait more than they compute
		panic(err)
	}
	code := m.Run()
	cleanup()
	os.Exit(code)
}

// patience is how long a test waits for what must happen.
const patience = time.Minute

// process is a culvert of its own.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended, and all that it printed is here
	read func()        // reads what it printed, until it has ended; nil: the command does

	mu      sync.Mutex
	printed strings.Builder
	news    chan struct{} // closed when more is printed
}

// start runs culvert; env is added to the environment. What is left of it at
// the test's end is killed.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	return startIn(t, "", env, args...)
}

// startIn is start in another working directory.
func startIn(t *testing.T, dir string, env []string, args ...string) *process {
	t.Helper()
	p := prepare(t, env, args...)
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.launch()
	return p
}

// prepare makes a process that is not yet started.
func prepare(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(self, args...), done: make(chan struct{}), news: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), asMain+"=1"), env...)
	return p
}

func (p *process) launch() {
	p.t.Helper()
	p.cmd.WaitDelay = 5 * time.Second // for whoever still holds its output
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		if p.read != nil {
			p.read()
		}
		_ = p.cmd.Wait() // the exit code says it
		close(p.done)
	}()
	p.t.Cleanup(func() {
		p.kill()
		if p.t.Failed() {
			p.t.Logf("%s printed:\n%s", strings.Join(p.cmd.Args, " "), p.text())
		}
	})
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.news)
	p.news = make(chan struct{})
	return p.printed.Write(b)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.printed.String()
}

// awaits waits until the process has printed all of the texts.
func (p *process) awaits(texts ...string) {
	p.t.Helper()
	limit := time.After(patience)
	for {
		p.mu.Lock()
		printed, news := p.printed.String(), p.news
		p.mu.Unlock()
		missing := ""
		for _, text := range texts {
			if !strings.Contains(printed, text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		select {
		case <-news:
		case <-p.done:
			if p.text() == printed {
				p.t.Fatalf("it ended and never printed %q", missing)
			}
		case <-limit:
			p.t.Fatalf("it did not print %q", missing)
		}
	}
}

// exits waits for the process's end and checks its exit code and what it has
// printed.
func (p *process) exits(code int, texts ...string) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatal("it did not end")
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("exit code %d, want %d", got, code)
	}
	for _, text := range texts {
		if !strings.Contains(p.text(), text) {
			p.t.Errorf("it did not print %q", text)
		}
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// service is an emulator that outlives the processes under test, with the
// table orders.
type service struct {
	*emulator.Emulator
	endpoint string
}

func startService(t *testing.T, partitions int) *service {
	t.Helper()
	// Small pages, so that several are under way at once: with one alone, a
	// checkpoint that runs ahead of what is settled loses nothing.
	e, err := emulator.New(emulator.Config{
		AccessKeyID: "id", AccessKeySecret: "secret", Partitions: partitions, PageRecords: 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	err = e.CreateTable(emulator.TableSpec{
		Name: sampleTable, Key: []emulator.KeyColumn{{Name: sampleKey, Type: plainbuffer.String}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &service{Emulator: e, endpoint: server.URL}
}

// makeTunnel makes the tunnel orders-feed.
func (s *service) makeTunnel(t *testing.T) {
	t.Helper()
	client, err := tunnel.NewClient(tunnel.ClientConfig{
		Endpoint: s.endpoint, Instance: "local", Credentials: tunnel.StaticCredentials("id", "secret", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CreateTunnel(t.Context(), tunnel.CreateTunnelRequest{
		Table: sampleTable, Tunnel: tunnelOf(sampleTable), Type: tunnel.BaseAndStream,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// configuration writes a file for culvert run, after replacing old by new.
func (s *service) configuration(t *testing.T, function string, oldnew ...string) string {
	t.Helper()
	text := fmt.Sprintf(`tunnel:
  endpoint: %s
  instance: local
  table: orders
  name: orders-feed
  credentials: {access_key_id: id, access_key_secret: secret}
heartbeat: {interval: 200ms, timeout: 1s, gap: 50ms}
checkpoint: {interval: 100ms}
triggers:
  - name: orders
    function: %s
    timeout: 1s
    batch: {records: 5}
    parallel: 4
    retry: {first: 10ms, max: 100ms}
    limit: {at_once: 3}
`, s.endpoint, function)
	name := filepath.Join(t.TempDir(), "culvert.yaml")
	if err := os.WriteFile(name, []byte(strings.NewReplacer(oldnew...).Replace(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
