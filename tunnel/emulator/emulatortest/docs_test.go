package emulatortest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What docs/emulator.md gives to be copied is a test of this package.
func TestTheTestInTheDocsIsOneThatPasses(t *testing.T) {
	docs, err := os.ReadFile("../../../docs/emulator.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("consumer_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(docs), "\n## From a Go test\n")
	_, block, _ := strings.Cut(section, "\n```go\n")
	block, _, _ = strings.Cut(block, "```\n")
	want := strings.Replace(string(source), "package emulatortest_test\n", "package mine_test\n", 1)
	if diff := cmp.Diff(want, block); diff != "" {
		t.Errorf("consumer_test.go and what docs/emulator.md shows of it (-source +docs):\n%s", diff)
	}
}
