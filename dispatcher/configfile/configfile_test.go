package configfile_test

import (
	"errors"
	"flag"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/culvertio/culvert/dispatcher"
	"github.com/culvertio/culvert/dispatcher/configfile"
	"github.com/culvertio/culvert/tunnel"
)

var update = flag.Bool("update", false, "write what the wrong files' errors are now")

func TestEverySettingArrives(t *testing.T) {
	t.Setenv("CULVERT_TEST_SECRET", "geheim")
	got, err := configfile.Load("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := configfile.File{
		Dispatcher: dispatcher.Config{
			Tunnel:     dispatcher.Tunnel{Endpoint: "http://127.0.0.1:8087", Instance: "local", Table: "orders", Name: "orders-feed", Create: "BaseAndStream"},
			Heartbeat:  dispatcher.Heartbeat{Interval: 30 * time.Second, Timeout: 300 * time.Second, Gap: 5 * time.Second},
			Checkpoint: dispatcher.Checkpoint{Interval: 5 * time.Second},
			ReadAhead:  256 << 20,
			Drain:      45 * time.Second,
			Triggers: []dispatcher.Trigger{{
				Name: "index", Function: "http://127.0.0.1:9000/", Timeout: 90 * time.Second, Format: "cbor",
				Batch:    dispatcher.Batch{Records: 100, Bytes: 4 << 20, Window: 200 * time.Millisecond},
				Parallel: 8,
				Retry:    dispatcher.Retry{First: 200 * time.Millisecond, Max: time.Minute},
				Limit:    dispatcher.Limit{AtOnce: 32},
			}},
		},
		Ledger: configfile.Ledger{Redis: "redis://:geheim@127.0.0.1:6379/0"},
		Log:    configfile.Log{Level: slog.LevelDebug, Format: "json"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(dispatcher.Tunnel{}, "Credentials")); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	c, err := got.Dispatcher.Tunnel.Credentials.Credentials(t.Context())
	if want := (tunnel.Credentials{AccessKeyID: "id", AccessKeySecret: "geheim"}); err != nil || c != want {
		t.Errorf("credentials %v, %v", c, err)
	}
}

func TestWhatIsLeftOutHasItsDefault(t *testing.T) {
	got, err := configfile.Load("testdata/least.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := configfile.File{
		Dispatcher: dispatcher.Config{
			Tunnel:   dispatcher.Tunnel{Endpoint: "https://inst.cn-hangzhou.ots.aliyuncs.com", Instance: "inst", Table: "orders", Name: "orders-feed"},
			Triggers: []dispatcher.Trigger{{Name: "index", Function: "process:./handler"}},
		},
		Log: configfile.Log{Level: slog.LevelInfo, Format: "auto"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
}

// TestEveryMistakeHasItsPlace reads the wrong files. Each has its error
// beside it, with FILE for its name.
func TestEveryMistakeHasItsPlace(t *testing.T) {
	t.Setenv("CULVERT_TEST_SECRET", "geheim")
	files, err := filepath.Glob("testdata/wrong/*.yaml")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d wrong files, %v", len(files), err)
	}
	hasPlace := regexp.MustCompile(`^FILE:[1-9][0-9]*:[1-9][0-9]*: \S`)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			f, err := configfile.Load(file)
			e, ok := errors.AsType[*configfile.Error](err)
			if !ok {
				t.Fatalf("read as %+v, %v", f, err)
			}
			if len(e.Mistakes) == 0 || e.File != file {
				t.Errorf("%+v", e)
			}
			got := strings.ReplaceAll(err.Error(), file, "FILE") + "\n"
			beside := strings.TrimSuffix(file, ".yaml") + ".error"
			if *update {
				if err := os.WriteFile(beside, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(beside)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if strings.Contains(got, "geheim") {
				t.Errorf("the error shows a secret")
			}
			for line := range strings.Lines(got) {
				if !hasPlace.MatchString(line) {
					t.Errorf("no place: %s", line)
				}
			}
		})
	}
}

func TestVariablesStandInAnyScalar(t *testing.T) {
	t.Setenv("CULVERT_TEST_WORD", "orders")
	t.Setenv("CULVERT_TEST_NUMBER", "8")
	t.Setenv("CULVERT_TEST_YAML", "a: {b: c}\n# ${CULVERT_TEST_WORD}")
	f, err := configfile.Parse("c.yaml", []byte(`
tunnel:
  endpoint: http://127.0.0.1:8087
  instance: '$${CULVERT_TEST_WORD}'
  table: ${CULVERT_TEST_WORD}
  name: "${CULVERT_TEST_YAML}"
  credentials:
    access_key_id: 0123
    access_key_secret: |-
      $-${CULVERT_TEST_WORD}-${CULVERT_TEST_NUMBER}-$$
triggers:
  - name: ${CULVERT_TEST_WORD}-${CULVERT_TEST_NUMBER}
    function: process:handler
    parallel: ${CULVERT_TEST_NUMBER}
    batch: {window: "${CULVERT_TEST_NUMBER}s", bytes: "${CULVERT_TEST_NUMBER}KiB"}
`))
	if err != nil {
		t.Fatal(err)
	}
	d := f.Dispatcher
	c, err := d.Tunnel.Credentials.Credentials(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := []any{d.Tunnel.Instance, d.Tunnel.Table, d.Tunnel.Name, c.AccessKeyID, c.AccessKeySecret, d.Triggers[0].Name, d.Triggers[0].Parallel, d.Triggers[0].Batch.Window, d.Triggers[0].Batch.Bytes}
	want := []any{"${CULVERT_TEST_WORD}", "orders", "a: {b: c}\n# ${CULVERT_TEST_WORD}", "0123", "$-orders-8-$$", "orders-8", 8, 8 * time.Second, int64(8 << 10)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestAFileThatIsNotThereIsNamed(t *testing.T) {
	_, err := configfile.Load("testdata/none.yaml")
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "testdata/none.yaml") {
		t.Errorf("%v", err)
	}
}

func TestAByteOrderMarkAndWindowsLinesAreRead(t *testing.T) {
	text, err := os.ReadFile("testdata/least.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text = append([]byte("\uFEFF"), strings.ReplaceAll(string(text), "\n", "\r\n")...)
	f, err := configfile.Parse("c.yaml", text)
	if err != nil || f.Dispatcher.Tunnel.Name != "orders-feed" {
		t.Errorf("%+v, %v", f, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yaml", "testdata/wrong/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := configfile.Parse("c.yaml", text)
		if err == nil {
			if err := file.Dispatcher.Validate(); err != nil {
				t.Fatalf("what was read is not valid: %v", err)
			}
			return
		}
		e, ok := errors.AsType[*configfile.Error](err)
		if !ok || len(e.Mistakes) == 0 {
			t.Fatalf("%T without mistakes: %v", err, err)
		}
		for _, m := range e.Mistakes {
			if m.Line < 1 || m.Column < 1 || m.Message == "" {
				t.Fatalf("no place or message: %+v", m)
			}
		}
	})
}
