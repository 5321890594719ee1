package configfile_test

import (
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/culvertio/culvert/dispatcher/configfile"
)

const docs = "../../docs/configuration.md"

func TestTheExampleInTheDocsIsAConfiguration(t *testing.T) {
	text := read(t, docs)
	_, rest, _ := strings.Cut(text, "```yaml\n")
	example, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the docs have no example")
	}
	if _, err := configfile.Parse(docs, []byte(example)); err != nil {
		t.Error(err)
	}
}

func TestEverySettingIsInTheDocs(t *testing.T) {
	var settings map[string]any
	if err := yaml.Unmarshal([]byte(read(t, "testdata/full.yaml")), &settings); err != nil {
		t.Fatal(err)
	}
	text := read(t, docs)
	for _, path := range leaves("", settings) {
		if !strings.Contains(text, "\n| `"+path+"` |") {
			t.Errorf("%s has no row", path)
		}
	}
}

// leaves are the paths of all values, as the docs write them.
func leaves(path string, value any) (paths []string) {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			paths = append(paths, leaves(strings.TrimPrefix(path+"."+key, "."), inner)...)
		}
	case []any:
		for _, inner := range value {
			paths = append(paths, leaves(path+"[]", inner)...)
		}
	default:
		paths = []string{path}
	}
	return paths
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
