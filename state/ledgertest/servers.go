package ledgertest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/culvertio/culvert/state"
)

// OpenFunc makes a ledger of the server at a redis:// URL.
type OpenFunc func(t testing.TB, url string) state.Ledger

// Open is the plain OpenFunc.
func Open(t testing.TB, url string) state.Ledger {
	l, err := state.OpenRedis(state.RedisConfig{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Mini is a miniredis, listening on a port of its own until the end of the
// test.
func Mini(t testing.TB, open OpenFunc) (Server, *miniredis.Miniredis) {
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	address := m.Addr()
	url := "redis://" + address
	return Server{
		Open:          func(t testing.TB) state.Ledger { return open(t, url) },
		Flush:         func(testing.TB) { m.FlushAll() },
		ForgetScripts: func(t testing.TB) { Do(t, url, "SCRIPT", "FLUSH") },
		Stop:          func(testing.TB) { m.Close() },
		Start: func(t testing.TB) {
			if err := m.Restart(); err != nil {
				t.Fatal(err)
			}
		},
		Address: address,
	}, m
}

// Do sends one command to the server at url.
func Do(t testing.TB, url string, args ...any) any {
	t.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }()
	answer, err := client.Do(t.Context(), args...).Result()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return answer
}

// Real is a real Redis and its URL: the one at the address that
// CULVERT_TEST_REDIS gives, all of whose data is deleted, or a redis-server of
// its own, with an append-only file, until the end of the test. Without
// either the test is skipped, or fails if the environment has CI=true.
func Real(t testing.TB, open OpenFunc) (s Server, url string) {
	t.Helper()
	if address := os.Getenv("CULVERT_TEST_REDIS"); address != "" {
		url = "redis://" + address
		return Server{
			Open:          func(t testing.TB) state.Ledger { return open(t, url) },
			Flush:         func(t testing.TB) { Do(t, url, "FLUSHALL") },
			ForgetScripts: func(t testing.TB) { Do(t, url, "SCRIPT", "FLUSH") },
			Address:       address,
		}, url
	}
	p := startProcess(t)
	url = "redis://" + p.address
	return Server{
		Open:          func(t testing.TB) state.Ledger { return open(t, url) },
		Flush:         func(t testing.TB) { Do(t, url, "FLUSHALL") },
		ForgetScripts: func(t testing.TB) { Do(t, url, "SCRIPT", "FLUSH") },
		Stop:          func(testing.TB) { p.kill() },
		Start:         p.start,
		Address:       p.address,
	}, url
}

// process is a redis-server with a directory of its own.
type process struct {
	program, directory, address string
	command                     *exec.Cmd
}

func startProcess(t testing.TB) *process {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		const reason = "there is no redis-server in PATH and no CULVERT_TEST_REDIS: install Debian's redis-server"
		if os.Getenv("CI") == "true" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{program: program, directory: t.TempDir(), address: l.Addr().String()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	p.start(t)
	return p
}

// start returns once the server accepts connections.
func (p *process) start(t testing.TB) {
	t.Helper()
	_, port, _ := net.SplitHostPort(p.address)
	// It outlives the subtest that starts it again.
	p.command = exec.CommandContext(context.WithoutCancel(t.Context()), p.program, "--bind", "127.0.0.1", "--port", port, "--dir", p.directory,
		"--save", "", "--appendonly", "yes", "--appendfsync", "no", "--daemonize", "no", "--logfile", "")
	out, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	// Reading ends with the process; this bounds a server that hangs.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = p.command.Process.Kill() })
	defer stop()
	var log strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fmt.Fprintln(&log, lines.Text())
		if strings.Contains(lines.Text(), "Ready to accept connections") {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return
		}
	}
	t.Fatalf("redis-server did not start:\n%s", &log)
}

// kill ends the server as a crash would.
func (p *process) kill() {
	if p.command == nil || p.command.Process == nil || p.command.ProcessState != nil {
		return
	}
	_ = p.command.Process.Kill()
	_ = p.command.Wait()
}
