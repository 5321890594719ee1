package conformance

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tunnel"

	ours "github.com/culvertio/culvert/tunnel"
)

// settingsTable is one table of the package documentation: the lines under
// its heading, in their columns.
func settingsTable(t *testing.T, heading string) [][]string {
	t.Helper()
	text, err := os.ReadFile("../tunnel/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "// # "+heading+"\n")
	if !ok {
		t.Fatalf("no heading %q", heading)
	}
	section, _, _ := strings.Cut(rest, "// # ")
	var starts []int // of the columns, as the first line has them
	var rows [][]string
	for line := range strings.Lines(section) {
		line, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "//\t")
		if !ok {
			continue
		}
		if starts == nil {
			for _, at := range regexp.MustCompile(`\S+`).FindAllStringIndex(line, -1) {
				starts = append(starts, at[0])
			}
		}
		var row []string
		for i, from := range starts {
			to := len(line)
			if i+1 < len(starts) {
				to = min(starts[i+1], to)
			}
			row = append(row, strings.TrimSpace(line[min(from, to):to]))
		}
		rows = append(rows, row)
	}
	if len(starts) != 4 || len(rows) < 5 {
		t.Fatalf("%s: %d columns, %d rows", heading, len(starts), len(rows))
	}
	return rows
}

func fields(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		names = append(names, t.Field(i).Name)
	}
	return names
}

func methods(t reflect.Type) []string {
	var names []string
	for i := range t.NumMethod() {
		names = append(names, t.Method(i).Name)
	}
	return names
}

func TestEverySettingOfTheOfficialWorkerIsMapped(t *testing.T) {
	var first []string
	for _, row := range settingsTable(t, "Settings of the official Go worker") {
		first = append(first, row[0])
	}
	for of, names := range map[string][]string{
		"TunnelWorkerConfig":   fields(reflect.TypeFor[tunnel.TunnelWorkerConfig]()),
		"ChannelDialer":        methods(reflect.TypeFor[tunnel.ChannelDialer]()),
		"ChannelBackoffConfig": fields(reflect.TypeFor[tunnel.ChannelBackoffConfig]()),
		"SimpleProcessFactory": fields(reflect.TypeFor[tunnel.SimpleProcessFactory]()),
		"AsyncProcessFactory":  fields(reflect.TypeFor[tunnel.AsyncProcessFactory]()),
		"TunnelConfig":         fields(reflect.TypeFor[tunnel.TunnelConfig]()),
	} {
		if len(names) == 0 {
			t.Errorf("%s has no fields", of)
		}
		for _, name := range names {
			if !slices.Contains(first, name) {
				t.Errorf("%s.%s is not in the table", of, name)
			}
		}
	}
}

// The defaults that the table quotes are those of the official module.
func TestTheOfficialDefaultsAreQuotedRight(t *testing.T) {
	quoted := make(map[string]string)
	for _, row := range settingsTable(t, "Settings of the official Go worker") {
		if row[0] != "" && row[2] != "" {
			quoted[row[0]] = row[1]
		}
	}
	backoff := reflect.ValueOf(tunnel.DefaultBackoffConfig)
	seconds := func(d interface{ Seconds() float64 }) float64 { return d.Seconds() }
	for name, want := range map[string]struct {
		text string
		is   bool
	}{
		"HeartbeatTimeout":     {"300 s", seconds(tunnel.DefaultHeartbeatTimeout) == 300},
		"HeartbeatInterval":    {"30 s", seconds(tunnel.DefaultHeartbeatInterval) == 30},
		"CpInterval":           {"10 s", seconds(tunnel.DefaultCheckpointInterval) == 10},
		"RecordPipePerChannel": {"1", tunnel.PipeChannelSize == 1},
		"MaxDelay":             {"5 s", seconds(tunnel.DefaultBackoffConfig.MaxDelay) == 5},
		"baseDelay":            {"20 ms", backoff.FieldByName("baseDelay").Int() == 20_000_000},
		"factor":               {"5", backoff.FieldByName("factor").Float() == 5},
		"jitter":               {"0.25", backoff.FieldByName("jitter").Float() == 0.25},
		"MaxRetryElapsedTime":  {"75 s", seconds(tunnel.DefaultTunnelConfig.MaxRetryElapsedTime) == 75},
		"RequestTimeout":       {"60 s", seconds(tunnel.DefaultTunnelConfig.RequestTimeout) == 60},
		"DaemonRandomRetryMs":  {"10 s", tunnel.DaemonRandomRetryMs == 10_000},
	} {
		if quoted[name] != want.text || !want.is {
			t.Errorf("%s: the table says %q", name, quoted[name])
		}
	}
}

// What the tables name on our side exists.
func TestTheSettingsThatAreNamedOnOurSideExist(t *testing.T) {
	types := map[string]reflect.Type{
		"Idle":          reflect.TypeFor[ours.Backoff](),
		"RetryConfig":   reflect.TypeFor[ours.RetryConfig](),
		"ClientConfig":  reflect.TypeFor[ours.ClientConfig](),
		"DecodedRecord": reflect.TypeFor[ours.DecodedRecord](),
		"Channel":       reflect.TypeFor[*ours.Channel](),
		"Consumer":      reflect.TypeFor[ours.Consumer](),
	}
	config := reflect.TypeFor[ours.ProcessorConfig]()
	apart := []string{"none", "Consumer", "Process", "StaticCredentials"}
	name := regexp.MustCompile(`^([A-Za-z]+)(?:\.([A-Za-z]+))?`)
	used := make(map[string]bool)
	for _, heading := range []string{"Settings of the official Go worker", "Settings of the official Java worker", "Settings of the Elixir worker"} {
		for _, row := range settingsTable(t, heading)[1:] {
			if row[2] == "" {
				continue // the head of a group
			}
			m := name.FindStringSubmatch(row[2])
			if m == nil {
				t.Errorf("%v names nothing of ours", row)
				continue
			}
			used[m[1]] = true
			if m[2] == "" {
				if _, ok := config.FieldByName(m[1]); !ok && !slices.Contains(apart, m[1]) {
					t.Errorf("%v: ProcessorConfig has no %s", row, m[1])
				}
				continue
			}
			typ := types[m[1]]
			if typ == nil {
				t.Errorf("%v: no type %s", row, m[1])
				continue
			}
			_, isMethod := typ.MethodByName(m[2])
			isField := false
			if typ.Kind() == reflect.Struct {
				_, isField = typ.FieldByName(m[2])
			}
			if !isMethod && !isField {
				t.Errorf("%v: %s has no %s", row, m[1], m[2])
			}
		}
	}
	for _, f := range []string{"ReadAhead", "ReadAheadBytes", "ChannelsAtOnce", "Idle", "Retry", "OnOpen", "OnEnd", "ClientTag", "CheckpointInterval", "ReconnectMax"} {
		if !used[f] {
			t.Errorf("no row names %s", f)
		}
	}
}
