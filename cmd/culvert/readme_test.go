package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// readme is the README's fenced blocks, in order.
type readme []struct{ language, text string }

func readReadme(t *testing.T) (r readme) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		r = append(r, struct{ language, text string }{b[1], b[2]})
	}
	return r
}

// only is the one block in a language.
func (r readme) only(t *testing.T, language string) (text string) {
	t.Helper()
	for _, b := range r {
		if b.language == language {
			if text != "" {
				t.Fatalf("two blocks in %s: which is meant?", language)
			}
			text = b.text
		}
	}
	if text == "" {
		t.Fatalf("no block in %s", language)
	}
	return text
}

// The README's commands are run as it gives them, and print what it shows.
func TestTheReadmesCommandsDoWhatItSays(t *testing.T) {
	t.Parallel()
	r := readReadme(t)
	runs := map[string]func(t *testing.T) *process{
		"go test ./...":                     nil, // which this test is part of
		"go run ./cmd/culvert local --once": runLocalOnce,
		"go run ./cmd/culvert local":        runLocal,
		"go run ./cmd/culvert emulator --listen 127.0.0.1:8087 --access-key ID:SECRET --table orders:order_id": runEmulator,
		"go run ./cmd/culvert local --handler functions/examples/mine": func(t *testing.T) *process {
			return runHandler(t, r.only(t, "go"))
		},
		`go run ./cmd/culvert local --data orders.csv --key order_id --handler-command "python3 functions/examples/python/handler.py" --once`: func(t *testing.T) *process {
			return runOwnRows(t, r.only(t, "csv"))
		},
		"go run ./cmd/culvert run --config culvert.yaml": func(t *testing.T) *process {
			return runDispatcher(t, r.only(t, "yaml"))
		},
	}
	for i, b := range r {
		if b.language != "sh" {
			continue
		}
		command := strings.TrimSpace(b.text)
		run, ok := runs[command]
		if !ok {
			t.Errorf("this test does not know how to run %q", command)
		}
		if run == nil {
			continue
		}
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			p := run(t)
			p.exits(exitDone)
			if i+1 < len(r) && r[i+1].language == "" {
				shows(t, r[i+1].text, p.text())
			}
		})
	}
}

const root = "../.."

func runLocalOnce(t *testing.T) *process {
	return startIn(t, root, nil, "local", "--once")
}

// runHandler runs the README's handler, in a directory of this module.
func runHandler(t *testing.T, source string) *process {
	dir, err := os.MkdirTemp("testdata", "readme-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, "local", "--handler", dir)
	p.awaits(" is about ", "from here on a change a second")
	p.signal(syscall.SIGINT)
	return p
}

// runOwnRows runs the README's rows, in a directory of their own.
func runOwnRows(t *testing.T, rows string) *process {
	source, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "orders.csv"), []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	return startIn(t, dir, nil, "local", "--data", "orders.csv", "--key", "order_id",
		"--handler-command", "python3 "+filepath.Join(source, "functions/examples/python/handler.py"), "--once")
}

func runLocal(t *testing.T) *process {
	p := startIn(t, root, nil, "local")
	p.awaits("from here on a change a second")
	p.signal(syscall.SIGINT)
	return p
}

func runEmulator(t *testing.T) *process {
	p := startIn(t, root, nil, "emulator", "--listen", freeAddress(t), "--access-key", "ID:SECRET", "--table", "orders:order_id")
	p.awaits("access key secret")
	p.signal(syscall.SIGINT)
	return p
}

// runDispatcher runs the README's configuration, but against an emulator and
// a Redis of the test's own.
func runDispatcher(t *testing.T, config string) *process {
	service := startService(t, 1)
	load := &load{t: t, service: service, samples: newSamples(1)}
	for range 10 {
		load.write(true)
	}
	for old, mine := range map[string]string{
		"http://127.0.0.1:8087":                          service.endpoint,
		"{access_key_id: ID, access_key_secret: SECRET}": "", // from the environment
		"# ledger: {redis: redis://127.0.0.1:6379/0}":    "ledger: {redis: " + startRedis(t) + "}",
	} {
		if !strings.Contains(config, old) {
			t.Fatalf("the configuration lacks %q", old)
		}
		config = strings.ReplaceAll(config, old, mine)
	}
	file := filepath.Join(t.TempDir(), "culvert.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"ALIBABA_CLOUD_ACCESS_KEY_ID=id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET=secret"}
	p := startIn(t, root, env, "run", "--config", file)
	p.awaits("order sample-00001 ", "batch ")
	p.signal(syscall.SIGINT)
	return p
}

var (
	drawn   = regexp.MustCompile(`[A-Z2-7]{8,}|batch [0-9a-f]{8}`) // secrets and ids
	numbers = regexp.MustCompile(`[0-9]+`)
	blanks  = regexp.MustCompile(` +`)
)

// shape is what a printed line has in common in every run.
func shape(line string) string {
	line = drawn.ReplaceAllString(strings.TrimSpace(line), "X")
	return blanks.ReplaceAllString(numbers.ReplaceAllString(line, "0"), " ")
}

// shows checks that each line of the sample is one that was printed; … stands
// for any.
func shows(t *testing.T, sample, printed string) {
	t.Helper()
	shapes := map[string]bool{"…": true}
	for line := range strings.Lines(printed) {
		shapes[shape(line)] = true
	}
	for line := range strings.Lines(sample) {
		if !shapes[shape(line)] {
			t.Errorf("the README shows what is not printed: %s", line)
		}
	}
}
