package invoke

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestACommandIsSplitAtSpacesThatAreNotQuoted(t *testing.T) {
	for line, want := range map[string][]string{
		"python3 handler.py":                  {"python3", "handler.py"},
		"  node \t handler.js  ":              {"node", "handler.js"},
		`sh -c 'cd app && exec "./serve" $X'`: {"sh", "-c", `cd app && exec "./serve" $X`},
		`serve --name "it's" '' x"y z"w`:      {"serve", "--name", "it's", "", "xy zw"},
		`C:\handlers\serve.exe *`:             {`C:\handlers\serve.exe`, "*"},
		"größe\u00a0x":                        {"größe\u00a0x"},
	} {
		got, err := SplitCommand(line)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", line, err, diff)
		}
	}
	for line, want := range map[string]string{
		"": "names no program", " \t": "names no program", "'' x": "names no program",
		`sh -c "x`: "not closed", "sh 'x": "not closed", "a\nb": "one line", "a\x00b": "one line",
	} {
		if got, err := SplitCommand(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want %s", line, got, err, want)
		}
	}
}

func TestWordsThatAreQuotedComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-z \t"$*\\é]{1,8}`), 1, 5).Draw(t, "words")
		line := "'" + strings.Join(words, "' '") + "'"
		got, err := SplitCommand(line)
		if diff := cmp.Diff(words, got); err != nil || diff != "" {
			t.Fatalf("%s: %v\n%s", line, err, diff)
		}
	})
}

func TestACommandRunsWithItsArguments(t *testing.T) {
	target, err := Open(t.Context(), fmt.Sprintf("command:'%s' one 'two and  three'", os.Args[0]), Options{
		AtOnce: 1, Env: []string{roleVariable + "=program"}, Output: io.Discard, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, target)
	if r := scenario(t, target, "arguments"); string(r.Answer) != `["one" "two and  three"]` {
		t.Errorf("%+v", r)
	}
}
