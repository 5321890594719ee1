package conformance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/emulator/emulatortest"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// The program in docs/emulator.md is run as it stands there, but for the
// address of the emulator.
func TestTheProgramInTheDocsWritesARow(t *testing.T) {
	docs, err := os.ReadFile("../docs/emulator.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(docs), "\n### Writing rows\n")
	_, program, _ := strings.Cut(section, "\n```go\n")
	program, _, found := strings.Cut(program, "```\n")
	const address = "http://127.0.0.1:8087"
	if !found || !strings.Contains(program, address) {
		t.Fatalf("no program for %s is found", address)
	}

	server := emulatortest.Start(t, emulator.Config{AccessKeyID: "ID", AccessKeySecret: "SECRET"})
	err = server.CreateTable(emulator.TableSpec{
		Name: "orders",
		Key:  []emulator.KeyColumn{{Name: "order_id", Type: plainbuffer.String}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "main.go") // a single file counts as of the module around this test
	write(t, file, strings.ReplaceAll(program, address, server.Endpoint))
	if out, err := exec.CommandContext(t.Context(), "go", "run", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if state := server.State(); len(state.Tables) != 1 || state.Tables[0].Rows != 1 {
		t.Errorf("the emulator holds %+v, want one row", state.Tables)
	}
}
