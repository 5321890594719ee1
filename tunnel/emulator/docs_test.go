package emulator

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTheDocsHaveARowForEverything compares the tables of docs/emulator.md with
// the code.
func TestTheDocsHaveARowForEverything(t *testing.T) {
	b, err := os.ReadFile("../../docs/emulator.md")
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string][]string{} // the first cells of each table, by its head's
	var head string
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(line, "|")
		switch {
		case len(cells) < 3:
			head = ""
		case head == "":
			head = strings.TrimSpace(cells[1])
		case !strings.HasPrefix(cells[1], "---"):
			tables[head] = append(tables[head], strings.Trim(cells[1], " `"))
		}
	}

	var kinds []string
	for _, k := range FaultKinds() {
		kinds = append(kinds, string(k))
	}
	var fields []string
	for f := range reflect.TypeFor[Fault]().Fields() {
		fields = append(fields, strings.TrimSuffix(strings.ToLower(f.Name), "s"))
	}
	calls := []string{"GET /emulator/state", "GET /emulator/switches", "POST /emulator/switches", "GET /emulator/faults", "POST /emulator/faults"}
	for path := range maps.Keys(new(Emulator).commands()) {
		calls = append(calls, "POST /emulator/"+path)
	}
	for _, tt := range []struct {
		table string
		want  []string
	}{
		{"switch", settings(t)},
		{"kind", kinds},
		{"field", fields},
		{"call", calls},
	} {
		got := tables[tt.table]
		if tt.table == "field" {
			for i := range got {
				got[i] = strings.TrimSuffix(got[i], "s")
			}
		}
		slices.Sort(got)
		slices.Sort(tt.want)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("the rows of the table %q: %s", tt.table, diff)
		}
	}
	// A fault's fields as text are those of the docs too.
	for name := range strings.SplitSeq(faultNames, ", ") {
		if !slices.Contains(fields, strings.TrimSuffix(name, "s")) {
			t.Errorf("the text of a fault has %q, which is no field", name)
		}
	}
}

// The rules in the docs are rules.
func TestTheFaultsInTheDocsAreFaults(t *testing.T) {
	b, err := os.ReadFile("../../docs/emulator.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for word := range strings.FieldsSeq(string(b)) {
		if strings.Contains(word, "rate=") || strings.HasPrefix(word, "kind=") {
			if _, err := ParseFault(word); err != nil {
				t.Error(err)
			}
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d rules are found, want 3", n)
	}
}
