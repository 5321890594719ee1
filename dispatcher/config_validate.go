package dispatcher

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/culvertio/culvert/dispatcher/internal/event"
	"github.com/culvertio/culvert/dispatcher/invoke"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// FieldError is one mistake in a [Config].
type FieldError struct {
	// Path names the setting as a configuration file does:
	// triggers[0].batch.records.
	Path    string
	Message string // what is wrong, and what would be right; never a secret
}

func (e *FieldError) Error() string { return e.Path + ": " + e.Message }

// WithDefaults is a copy with every zero value replaced by its default.
// Required settings stay as they are.
func (c Config) WithDefaults() Config {
	orDefault(&c.Heartbeat.Interval, 30*time.Second)
	orDefault(&c.Heartbeat.Timeout, 300*time.Second)
	orDefault(&c.Heartbeat.Gap, 5*time.Second)
	orDefault(&c.Checkpoint.Interval, 5*time.Second)
	orDefault(&c.ReadAhead, 256*mib)
	orDefault(&c.Drain, 30*time.Second)
	c.Triggers = slices.Clone(c.Triggers)
	for i := range c.Triggers {
		t := &c.Triggers[i]
		orDefault(&t.Timeout, time.Minute)
		orDefault(&t.Format, "json")
		orDefault(&t.Batch.Records, 100)
		orDefault(&t.Batch.Bytes, 4*mib)
		orDefault(&t.Parallel, 1)
		orDefault(&t.Retry.Max, time.Minute)
		orDefault(&t.Retry.First, min(200*time.Millisecond, t.Retry.Max))
		orDefault(&t.Limit.AtOnce, 32)
	}
	return c
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate names every mistake at once: its error joins one [*FieldError]
// for each. Zero values are judged as their defaults.
func (c Config) Validate() error {
	c = c.WithDefaults()
	var m mistakes
	m.tunnel(c.Tunnel)
	m.heartbeat(c.Heartbeat)
	m.duration("checkpoint.interval", c.Checkpoint.Interval, 10*time.Millisecond, 10*time.Minute)
	if c.ReadAhead < mib {
		m.add("read_ahead", "%s is too little: at least 1MiB", bytesText(c.ReadAhead))
	}
	m.duration("drain", c.Drain, 1, 10*time.Minute)
	m.triggers(c.Triggers)
	return errors.Join(m...)
}

// mistakes are what Validate has found so far.
type mistakes []error

func (m *mistakes) add(path, format string, args ...any) {
	*m = append(*m, &FieldError{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (m *mistakes) required(path, value, what string) {
	if value == "" {
		m.add(path, "is required: %s", what)
	}
}

func (m *mistakes) duration(path string, d, least, most time.Duration) {
	if d < least || d > most {
		from := durationText(least)
		if least == 1 {
			from = "above 0"
		}
		m.add(path, "%s is out of range: %s to %s", durationText(d), from, durationText(most))
	}
}

func (m *mistakes) count(path string, n, least, most int) {
	if n < least || n > most {
		m.add(path, "%d is out of range: %d to %d", n, least, most)
	}
}

func (m *mistakes) tunnel(t Tunnel) {
	if t.Endpoint == "" {
		m.required("tunnel.endpoint", "", "https://INSTANCE.REGION.ots.aliyuncs.com, or the emulator's address")
	} else if u, err := url.Parse(t.Endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" ||
		u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		// The text is not shown: somebody may have put a password in it.
		m.add("tunnel.endpoint", "not an endpoint: write https://HOST[:PORT] or http://HOST[:PORT], without user, path or query")
	}
	m.required("tunnel.instance", t.Instance, "the name of the Tablestore instance")
	m.required("tunnel.table", t.Table, "the name of the table")
	m.required("tunnel.name", t.Name, "the name of the tunnel")
	switch t.Create {
	case "", "BaseData", "Stream", "BaseAndStream":
	default:
		m.add("tunnel.create", "%q is no type of tunnel: BaseData, Stream or BaseAndStream", t.Create)
	}
}

func (m *mistakes) heartbeat(h Heartbeat) {
	if h.Gap < time.Millisecond {
		m.add("heartbeat.gap", "%s is too short: at least 1ms", durationText(h.Gap))
	} else if least := min(5*time.Second, h.Gap); h.Interval < least {
		m.add("heartbeat.interval", "%s is too short: at least %s", durationText(h.Interval), durationText(least))
	} else if h.Gap > h.Interval {
		m.add("heartbeat.gap", "%s is too long: at most heartbeat.interval, %s", durationText(h.Gap), durationText(h.Interval))
	}
	switch {
	case h.Timeout <= h.Interval:
		m.add("heartbeat.timeout", "%s is too short: above heartbeat.interval, %s", durationText(h.Timeout), durationText(h.Interval))
	case h.Timeout > 24*time.Hour:
		m.add("heartbeat.timeout", "%s is too long: at most 24h", durationText(h.Timeout))
	case h.Timeout%time.Second != 0:
		m.add("heartbeat.timeout", "%s is not a number of whole seconds, in which the service counts it", durationText(h.Timeout))
	}
}

func (m *mistakes) triggers(triggers []Trigger) {
	switch len(triggers) {
	case 0:
		m.add("triggers", "is required: one trigger, with a name and a function")
	case 1:
	default:
		m.add("triggers[1]", "several triggers are not yet supported: one trigger per dispatcher")
	}
	for i, t := range triggers {
		path := func(field string) string { return "triggers[" + strconv.Itoa(i) + "]." + field }
		if t.Name != "" && slices.ContainsFunc(triggers[:i], func(other Trigger) bool { return other.Name == t.Name }) {
			m.add(path("name"), "%q is another trigger's name already", t.Name)
		}
		m.trigger(path, t)
	}
}

var triggerName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (m *mistakes) trigger(path func(field string) string, t Trigger) {
	if t.Name == "" {
		m.required(path("name"), "", "letters, digits, - and _, at most 64")
	} else if !triggerName.MatchString(t.Name) {
		m.add(path("name"), "%q is no name: letters, digits, - and _, at most 64", t.Name)
	}
	if t.Function == "" {
		m.required(path("function"), "", "http://HOST/PATH, https://HOST/PATH, process:PATH or command:COMMAND")
	} else if err := invoke.CheckFunction(t.Function); err != nil {
		m.add(path("function"), "%v", err)
	}
	m.duration(path("timeout"), t.Timeout, 10*time.Millisecond, 24*time.Hour)
	if _, ok := event.FormatOf(t.Format); !ok {
		m.add(path("format"), "%q is no format: json or cbor", t.Format)
	}
	m.count(path("batch.records"), t.Batch.Records, 1, 10_000)
	if t.Batch.Bytes < kib || t.Batch.Bytes > 32*mib {
		m.add(path("batch.bytes"), "%s is out of range: 1KiB to 32MiB", bytesText(t.Batch.Bytes))
	}
	m.duration(path("batch.window"), t.Batch.Window, 0, 5*time.Minute)
	m.count(path("parallel"), t.Parallel, 1, 64)
	m.duration(path("retry.max"), t.Retry.Max, time.Millisecond, time.Hour)
	switch {
	case t.Retry.First < time.Millisecond:
		m.add(path("retry.first"), "%s is too short: at least 1ms", durationText(t.Retry.First))
	case t.Retry.First > t.Retry.Max:
		m.add(path("retry.first"), "%s is too long: at most retry.max, %s", durationText(t.Retry.First), durationText(t.Retry.Max))
	}
	m.count(path("limit.at_once"), t.Limit.AtOnce, 1, invoke.MostAtOnce(t.Function))
}

// durationText is d as people write it: 5m, not 5m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// bytesText is n as people write it, if it is a whole number of some unit.
func bytesText(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {mib, "MiB"}, {kib, "KiB"}} {
		if n != 0 && n%unit.size == 0 {
			return strconv.FormatInt(n/unit.size, 10) + unit.name
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}
