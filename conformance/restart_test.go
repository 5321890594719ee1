package conformance

import (
	"bufio"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tunnel"
)

// emulatorProcess is culvert emulator with a data directory.
type emulatorProcess struct {
	binary, dir string
	address     string
	cmd         *exec.Cmd
}

// start starts it on the address that it had before, if it had one.
func (p *emulatorProcess) start(t *testing.T) {
	t.Helper()
	listen := p.address
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	p.cmd = exec.Command(p.binary, "emulator", "--listen", listen, "--data", p.dir, "--partitions", "3",
		"--instance", instance, "--access-key", keyID+":"+secret, "--log-level", "error")
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	printed := bufio.NewScanner(out)
	for printed.Scan() {
		if at, ok := strings.CutPrefix(printed.Text(), "endpoint"); ok {
			p.address = strings.TrimPrefix(strings.TrimSpace(at), "http://")
		}
		if strings.HasPrefix(printed.Text(), "control") {
			return
		}
	}
	t.Fatal("the emulator did not start")
}

// kill is kill -9.
func (p *emulatorProcess) kill() {
	_ = p.cmd.Process.Kill() // it may be dead
	_ = p.cmd.Wait()
}

// An official daemon runs on while the emulator is killed and started again,
// and rows are written all the time: nothing that was acknowledged is missing,
// and what comes is in order but for what a restart repeats.
func TestATunnelDaemonMissesNothingOverKillsOfTheEmulator(t *testing.T) {
	bin := t.TempDir()
	build(t, bin, "culvert", "..", "./cmd/culvert")
	p := &emulatorProcess{binary: filepath.Join(bin, "culvert"), dir: t.TempDir()}
	p.start(t)
	tables, tunnels := tableClient("http://"+p.address), tunnelClient("http://"+p.address)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	const keys, writers = 12, 4
	written := make([]int, keys) // the last change of each key
	writeAll := func(changes int) {
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				for range changes {
					for k := w; k < keys; k += writers {
						written[k]++
						putAgain(t, tables, fmt.Sprint(k), int64(written[k]))
					}
				}
			})
		}
		all.Wait()
	}
	writeAll(2)
	id := createTunnel(t, tunnels, "feed", tunnel.TunnelTypeBaseStream)
	s := newSink()
	run(t, tunnels, id, s)
	delivered := func() (n int) {
		for _, changes := range s.seen() {
			n += len(changes)
		}
		return n
	}
	for range 2 {
		before := delivered()
		var writing sync.WaitGroup
		writing.Go(func() { writeAll(20) })
		eventually(t, "more is delivered", func() bool { return delivered() > before })
		p.kill()
		p.start(t)
		writing.Wait()
	}
	writeAll(1)

	eventually(t, "every key's last change is delivered", func() bool {
		seen := s.seen()
		for k := range keys {
			its := seen[fmt.Sprint(k)]
			if len(its) == 0 || its[len(its)-1] != fmt.Sprintf("PutRowmap[n:%d]", written[k]) {
				return false
			}
		}
		return true
	})
	for k, changes := range s.seen() {
		last := 0
		for i, c := range changes {
			var n int
			// The base data may begin with any.
			if _, err := fmt.Sscanf(c, "PutRowmap[n:%d]", &n); err != nil || i > 0 && n > last+1 {
				t.Fatalf("key %s: record %d of %v comes after change %d", k, i, changes, last)
			}
			last = max(last, n)
		}
	}
	for k := range keys {
		if got := get(t, tables, "feed", key("k", fmt.Sprint(k))); got["n"] != int64(written[k]) {
			t.Errorf("key %d holds %v, want %d", k, got, written[k])
		}
	}
}

// putAgain puts a row until that is acknowledged.
func putAgain(t *testing.T, c *tablestore.TableStoreClient, k string, n int64) {
	limit := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		change := &tablestore.PutRowChange{TableName: "feed", PrimaryKey: key("k", k)}
		change.AddColumn("n", n)
		change.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
		_, err := c.PutRow(&tablestore.PutRowRequest{PutRowChange: change})
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Errorf("PutRow: %v", err)
			return
		}
	}
}
