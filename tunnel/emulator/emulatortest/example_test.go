package emulatortest_test

import (
	"testing"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/emulator/emulatortest"
)

// A test of a consumer starts an emulator that makes trouble, always the same
// for the same seed.
func ExampleStart() {
	testConsumer := func(t *testing.T) {
		server := emulatortest.Start(t, emulator.Config{
			Partitions: 2,
			Switches:   emulator.Switches{MoveSkipsClosing: true},
			Faults:     emulator.RandomFaults(7, false),
		})
		client, err := tunnel.NewClient(tunnel.ClientConfig{
			Endpoint:    server.Endpoint,
			Instance:    "local",
			Credentials: tunnel.StaticCredentials("id", "secret", ""),
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = client // hand it to what is to be tested
	}
	_ = testConsumer
}
