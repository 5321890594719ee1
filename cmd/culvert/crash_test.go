package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/culvertio/culvert/internal/check"
)

// A dispatcher, and before it one of its handler processes, is killed with -9
// again and again in the middle of a load, and started anew.
func TestNothingIsLostWhenProcessesAreKilled(t *testing.T) {
	t.Parallel()
	t.Run("embedded ledger", func(t *testing.T) {
		t.Parallel()
		testKills(t, 3, "")
	})
	t.Run("a Redis that lives on", func(t *testing.T) {
		t.Parallel()
		// After each kill the lanes wait until what was in flight has run out,
		// more than five seconds.
		testKills(t, 2, "ledger: {redis: "+startRedis(t)+"}\n")
	})
}

func testKills(t *testing.T, rounds int, ledger string) {
	service := startService(t, 3)
	load := &load{t: t, service: service, samples: newSamples(1)}
	for range 600 {
		load.write(true)
	}
	service.makeTunnel(t)
	config := service.configuration(t, "process:"+recorder, "tunnel:", ledger+"tunnel:")
	journals := t.TempDir()
	env := []string{"CULVERT_JOURNAL=" + journals}

	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() { load.run(stop) })
	rest := sync.OnceFunc(func() {
		close(stop)
		writer.Wait()
	})
	t.Cleanup(rest)

	for range rounds {
		p := start(t, env, "run", "--config", config)
		// What was written meanwhile is being caught up with when they die.
		for _, kill := range []func(){func() { killHandler(t, journals) }, p.kill} {
			mark := recorded(t, journals)
			waitUntil(t, func() bool { return recorded(t, journals) > mark+25_000 })
			kill()
		}
	}
	rest()

	p := start(t, env, "run", "--config", config)
	waitUntil(t, func() bool {
		remaining, err := service.Remaining(sampleTable, tunnelOf(sampleTable))
		if err != nil {
			t.Fatal(err)
		}
		return remaining == 0
	})
	p.signal(syscall.SIGTERM)
	p.exits(exitDone)

	entries, err := check.ReadJournals(journals)
	if err != nil {
		t.Fatal(err)
	}
	verdict := check.Judge(load.written, entries)
	t.Log(verdict)
	if !verdict.OK() || verdict.Delivered == 0 {
		t.Fatal(verdict)
	}
}

// load writes samples to a service.
type load struct {
	t       *testing.T
	service *service
	samples *samples
	written []check.Write
}

func (l *load) write(base bool) {
	next := l.samples.next()
	if err := l.service.Write(sampleTable, next.change); err != nil {
		l.t.Error(err)
	}
	next.write.Base = base
	l.written = append(l.written, next.write)
}

// run writes until stop is closed.
func (l *load) run(stop <-chan struct{}) {
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.write(false)
		case <-stop:
			return
		}
	}
}

// recorded is how many bytes the handlers have recorded so far.
func recorded(t *testing.T, journals string) (size int64) {
	t.Helper()
	names, err := os.ReadDir(journals)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if info, err := name.Info(); err == nil {
			size += info.Size()
		}
	}
	return size
}

// killHandler kills the handler process whose journal is the newest.
func killHandler(t *testing.T, journals string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(journals, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var newest, pid int
	for _, name := range names {
		id, made, _ := strings.Cut(strings.TrimSuffix(filepath.Base(name), ".jsonl"), "-")
		if at, err := strconv.Atoi(made); err != nil {
			t.Fatal(err)
		} else if at > newest {
			newest = at
			if pid, err = strconv.Atoi(id); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}

// waitUntil looks until it is so.
func waitUntil(t *testing.T, so func() bool) {
	t.Helper()
	tick, limit := time.NewTicker(10*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("it did not come to pass")
		}
	}
}

// startRedis starts a redis-server and gives its URL. Where there is none,
// which CI does not allow, a miniredis takes its place.
func startRedis(t *testing.T) string {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no redis-server: CI must install one")
		}
		return "redis://" + miniredis.RunT(t).Addr()
	}
	address := freeAddress(t)
	_, port, _ := strings.Cut(address, ":")
	server := exec.Command(binary, "--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir(), "--save", "", "--appendonly", "no")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill() // it may have ended
		_ = server.Wait()         // killed
	})
	waitUntil(t, func() bool {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	return fmt.Sprint("redis://", address)
}

// freeAddress is an address at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
