package conformance

import (
	"fmt"
	"testing"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tunnel"

	"github.com/culvertio/culvert/tunnel/emulator"
)

// Three official daemons come and go while rows change: what they were given
// together lacks nothing and, but for what an unfinished hand-over repeats,
// is in order.
func TestTunnelDaemonsThatComeAndGoMissNoChange(t *testing.T) {
	endpoint := serve(t, emulator.Config{Partitions: 4, PageRecords: 3})
	tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	const keys, before = 24, 2
	written := 0 // changes of each key
	write := func(changes int) {
		for range changes {
			written++
			for k := range keys {
				put(t, tables, "feed", key("k", fmt.Sprint(k)), map[string]any{"n": int64(written)})
			}
		}
	}
	write(before)
	id := createTunnel(t, tunnels, "feed", tunnel.TunnelTypeBaseStream)
	s := newSink()
	first := run(t, tunnels, id, s)
	write(5)
	run(t, tunnels, id, s)
	write(10)
	third := run(t, tunnels, id, s)
	write(10)
	first()
	write(5)
	third()
	write(5)

	// reached is the last change of a key up to which none is missing.
	reached := func(changes []string) int {
		last := before - 1
		for _, c := range changes {
			if c == fmt.Sprintf("PutRowmap[n:%d]", last+1) {
				last++
			}
		}
		return last
	}
	eventually(t, "every key's last change is delivered", func() bool {
		seen := s.seen()
		for k := range keys {
			if reached(seen[fmt.Sprint(k)]) < written {
				return false
			}
		}
		return true
	})
	for k, changes := range s.seen() {
		last := before - 1
		for i, c := range changes {
			var n int
			if _, err := fmt.Sscanf(c, "PutRowmap[n:%d]", &n); err != nil || n < before || n > last+1 {
				t.Fatalf("key %s: record %d of %v comes after change %d", k, i, changes, last)
			}
			last = max(last, n)
		}
	}
}
