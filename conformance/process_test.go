package conformance

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tunnel"
)

// build compiles a package of the module in dir to bin/name.
func build(t *testing.T, bin, name, dir, pkg string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, name), pkg)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// start starts a process and gives what interrupts it, which waits for it and
// checks that it ends well.
func start(t *testing.T, cmd *exec.Cmd, env ...string) (stop func()) {
	t.Helper()
	var output bytes.Buffer
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Error(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("%s: %v", cmd, err)
			}
			if t.Failed() {
				t.Logf("%s printed:\n%s", cmd, &output)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func describe(c tunnel.TunnelClient, table, name string) error {
	_, err := c.DescribeTunnel(&tunnel.DescribeTunnelRequest{TableName: table, TunnelName: name})
	return err
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// only is the texts that speak of a key.
func only(texts []string, key string) (its []string) {
	for _, text := range texts {
		if strings.Contains(text, " "+key+" ") {
			its = append(its, text)
		}
	}
	return its
}
