package dispatcher_test

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/dispatcher"
)

func leastConfig() dispatcher.Config {
	return dispatcher.Config{
		Tunnel:   dispatcher.Tunnel{Endpoint: "https://inst.cn-hangzhou.ots.aliyuncs.com", Instance: "inst", Table: "orders", Name: "orders-feed"},
		Triggers: []dispatcher.Trigger{{Name: "index", Function: "http://127.0.0.1:9000/"}},
	}
}

func TestTheRequiredSettingsAreEnough(t *testing.T) {
	if err := leastConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestDefaultsAreThoseOfTheDocs(t *testing.T) {
	least := leastConfig()
	got := least.WithDefaults()
	want := leastConfig()
	want.Heartbeat = dispatcher.Heartbeat{Interval: 30 * time.Second, Timeout: 300 * time.Second, Gap: 5 * time.Second}
	want.Checkpoint.Interval = 5 * time.Second
	want.ReadAhead = 256 << 20
	want.Drain = 30 * time.Second
	want.Triggers[0].Timeout = time.Minute
	want.Triggers[0].Format = "json"
	want.Triggers[0].Batch = dispatcher.Batch{Records: 100, Bytes: 4 << 20}
	want.Triggers[0].Parallel = 1
	want.Triggers[0].Retry = dispatcher.Retry{First: 200 * time.Millisecond, Max: time.Minute}
	want.Triggers[0].Limit.AtOnce = 32
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(leastConfig(), least); diff != "" {
		t.Errorf("WithDefaults changed what it was called on:\n%s", diff)
	}
	if diff := cmp.Diff(got, got.WithDefaults()); diff != "" {
		t.Errorf("defaults change what they made:\n%s", diff)
	}
}

func TestAShortLongestRetryBoundsTheDefaultOfTheFirst(t *testing.T) {
	c := leastConfig()
	c.Triggers[0].Retry.Max = 50 * time.Millisecond
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

// TestBoundsAreThoseOfTheDocs tries each bounded setting at both ends and
// just past them.
func TestBoundsAreThoseOfTheDocs(t *testing.T) {
	type C = dispatcher.Config
	durations := []struct {
		path        string
		set         func(*C, time.Duration)
		least, most time.Duration
	}{
		{"heartbeat.interval", func(c *C, d time.Duration) { c.Heartbeat.Interval = d }, 5 * time.Second, 300*time.Second - 1},
		{"heartbeat.timeout", func(c *C, d time.Duration) { c.Heartbeat.Timeout = d }, 31 * time.Second, 24 * time.Hour},
		{"heartbeat.gap", func(c *C, d time.Duration) { c.Heartbeat.Gap = d }, time.Millisecond, 30 * time.Second},
		{"checkpoint.interval", func(c *C, d time.Duration) { c.Checkpoint.Interval = d }, 10 * time.Millisecond, 10 * time.Minute},
		{"read_ahead", func(c *C, d time.Duration) { c.ReadAhead = int64(d) }, 1 << 20, math.MaxInt64},
		{"drain", func(c *C, d time.Duration) { c.Drain = d }, 1, 10 * time.Minute},
		{"triggers[0].timeout", func(c *C, d time.Duration) { c.Triggers[0].Timeout = d }, 10 * time.Millisecond, 24 * time.Hour},
		{"triggers[0].batch.records", func(c *C, d time.Duration) { c.Triggers[0].Batch.Records = int(d) }, 1, 10_000},
		{"triggers[0].batch.bytes", func(c *C, d time.Duration) { c.Triggers[0].Batch.Bytes = int64(d) }, 1 << 10, 32 << 20},
		{"triggers[0].batch.window", func(c *C, d time.Duration) { c.Triggers[0].Batch.Window = d }, 0, 5 * time.Minute},
		{"triggers[0].parallel", func(c *C, d time.Duration) { c.Triggers[0].Parallel = int(d) }, 1, 64},
		{"triggers[0].retry.first", func(c *C, d time.Duration) { c.Triggers[0].Retry.First = d }, time.Millisecond, time.Minute},
		{"triggers[0].retry.max", func(c *C, d time.Duration) { c.Triggers[0].Retry.Max = d }, time.Millisecond, time.Hour},
		{"triggers[0].limit.at_once", func(c *C, d time.Duration) { c.Triggers[0].Limit.AtOnce = int(d) }, 1, 10_000},
	}
	for _, b := range durations {
		t.Run(b.path, func(t *testing.T) {
			paths := func(d time.Duration) []string {
				c := leastConfig()
				b.set(&c, d)
				return pathsOf(t, c.Validate())
			}
			for _, good := range []time.Duration{b.least, b.most} {
				if wrong := paths(good); len(wrong) != 0 {
					t.Errorf("%d is refused: %v", good, wrong)
				}
			}
			bad := []time.Duration{-1, math.MinInt64}
			if b.least > 1 { // 0 means the default
				bad = append(bad, b.least-1)
			}
			if b.most < math.MaxInt64 {
				bad = append(bad, b.most+1, math.MaxInt64)
			}
			for _, bad := range bad {
				// Past its upper end, the interval collides with the timeout.
				if wrong := paths(bad); !slices.Contains(wrong, b.path) && !(b.path == "heartbeat.interval" && slices.Contains(wrong, "heartbeat.timeout")) {
					t.Errorf("%d is taken (%v)", bad, wrong)
				}
			}
		})
	}
}

func TestHandlerProcessesAreFewerThanInvocationsElsewhere(t *testing.T) {
	c := leastConfig()
	c.Triggers[0].Limit.AtOnce = 257
	if err := c.Validate(); err != nil {
		t.Errorf("an HTTP function: %v", err)
	}
	c.Triggers[0].Function = "process:./handler"
	if got := pathsOf(t, c.Validate()); !slices.Equal(got, []string{"triggers[0].limit.at_once"}) {
		t.Errorf("refused: %v", got)
	}
}

func TestAShorterGapAllowsAShorterInterval(t *testing.T) {
	c := leastConfig()
	c.Heartbeat = dispatcher.Heartbeat{Interval: 100 * time.Millisecond, Timeout: time.Second, Gap: 50 * time.Millisecond}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.Heartbeat.Interval = 49 * time.Millisecond
	if got := pathsOf(t, c.Validate()); !slices.Equal(got, []string{"heartbeat.interval"}) {
		t.Errorf("an interval below the gap: %v", got)
	}
}

// pathsOf takes the error apart.
func pathsOf(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%T is no joined error", err)
	}
	var paths []string
	for _, e := range joined.Unwrap() {
		f, ok := errors.AsType[*dispatcher.FieldError](e)
		if !ok {
			t.Fatalf("%T is no FieldError", e)
		}
		paths = append(paths, f.Path)
	}
	return paths
}

func TestEveryMistakeIsNamedAtOnce(t *testing.T) {
	c := dispatcher.Config{
		Tunnel:     dispatcher.Tunnel{Endpoint: "https://user:geheim@host/path", Create: "Everything"},
		Heartbeat:  dispatcher.Heartbeat{Interval: time.Second, Timeout: time.Second},
		Checkpoint: dispatcher.Checkpoint{Interval: time.Hour},
		ReadAhead:  1000,
		Drain:      time.Hour,
		Triggers: []dispatcher.Trigger{
			{Name: "no spaces", Function: "ftp://user:geheim@host/", Format: "xml", Timeout: 1, Batch: dispatcher.Batch{Records: -1, Bytes: 1 << 30, Window: -1}, Parallel: 65, Retry: dispatcher.Retry{First: 2 * time.Hour, Max: 90 * time.Minute}, Limit: dispatcher.Limit{AtOnce: -5}},
			{Name: "twice", Function: "fc://region/name", Format: "cbor"},
			{Name: "twice"},
		},
	}
	want := `tunnel.endpoint: not an endpoint: write https://HOST[:PORT] or http://HOST[:PORT], without user, path or query
tunnel.instance: is required: the name of the Tablestore instance
tunnel.table: is required: the name of the table
tunnel.name: is required: the name of the tunnel
tunnel.create: "Everything" is no type of tunnel: BaseData, Stream or BaseAndStream
heartbeat.interval: 1s is too short: at least 5s
heartbeat.timeout: 1s is too short: above heartbeat.interval, 1s
checkpoint.interval: 1h is out of range: 10ms to 10m
read_ahead: 1000 bytes is too little: at least 1MiB
drain: 1h is out of range: above 0 to 10m
triggers[1]: several triggers are not yet supported: one trigger per dispatcher
triggers[0].name: "no spaces" is no name: letters, digits, - and _, at most 64
triggers[0].function: not a function that can be invoked: write http://HOST/PATH, https://HOST/PATH, process:PATH or command:COMMAND
triggers[0].timeout: 1ns is out of range: 10ms to 24h
triggers[0].format: "xml" is no format: json or cbor
triggers[0].batch.records: -1 is out of range: 1 to 10000
triggers[0].batch.bytes: 1GiB is out of range: 1KiB to 32MiB
triggers[0].batch.window: -1ns is out of range: 0s to 5m
triggers[0].parallel: 65 is out of range: 1 to 64
triggers[0].retry.max: 1h30m is out of range: 1ms to 1h
triggers[0].retry.first: 2h is too long: at most retry.max, 1h30m
triggers[0].limit.at_once: -5 is out of range: 1 to 10000
triggers[1].function: fc:// functions are not yet supported: http://, https://, process: and command: are
triggers[2].name: "twice" is another trigger's name already
triggers[2].function: is required: http://HOST/PATH, https://HOST/PATH, process:PATH or command:COMMAND`
	got := c.Validate().Error()
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
	if got := pathsOf(t, dispatcher.Config{}.Validate()); !reflect.DeepEqual(got, []string{"tunnel.endpoint", "tunnel.instance", "tunnel.table", "tunnel.name", "triggers"}) {
		t.Errorf("of nothing, what is required: %v", got)
	}
}
