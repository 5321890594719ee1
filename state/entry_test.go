package state

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// bytes draws strings of any bytes: a position of base data is a key.
func anyBytes(t *rapid.T, name string) string {
	return string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, name))
}

func anyMark(t *rapid.T, name string) Mark {
	return Mark{Position: anyBytes(t, name), Fingerprint: rapid.Uint64().Draw(t, name+" fingerprint")}
}

func anyBatch(t *rapid.T) *Batch {
	b := &Batch{
		ID:      rapid.StringMatching(`[!-~]{1,64}`).Draw(t, "id"),
		First:   anyMark(t, "first"),
		Last:    anyMark(t, "last"),
		Count:   rapid.IntRange(0, 10_000).Draw(t, "count"),
		Digest:  rapid.Uint64().Draw(t, "digest"),
		Attempt: rapid.IntRange(0, 1<<40).Draw(t, "attempt"),
		Timeout: time.Duration(rapid.Int64Range(0, 86_400_000).Draw(t, "timeout")) * time.Millisecond,
	}
	if rapid.Bool().Draw(t, "has bits") {
		b.Settled = rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "settled")
	}
	return b
}

func TestABatchInFlightIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyBatch(t)
		got, err := parseInFlight("1795288876344 0 9223372036854775807 " + batchText(*want))
		if err != nil {
			t.Fatal(err)
		}
		if got.deadline != 1795288876344 || got.owed != 0 || got.epoch != 1<<63-1 {
			t.Errorf("%+v", got)
		}
		if d := cmp.Diff(want, got.batch); d != "" {
			t.Error(d)
		}
	})
}

func TestAWatermarkIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyMark(t, "mark")
		got, err := parseMark(markText(want))
		if err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	})
}

func TestALanesNameIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Lane{Trigger: anyBytes(t, "trigger"), Index: rapid.IntRange(0, 1<<31).Draw(t, "index")}
		got, err := parseLane(laneName(want))
		if err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	})
}

func TestATimeoutIsNeverRoundedDown(t *testing.T) {
	for d, want := range map[time.Duration]int64{0: 0, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, time.Hour: 3_600_000} {
		if got := milliseconds(d); got != want {
			t.Errorf("%v is %d ms, want %d", d, got, want)
		}
	}
}

// An entry that somebody damaged costs a repeat, not the channel.
func TestADamagedEntryIsLeftOutAndLogged(t *testing.T) {
	var log strings.Builder
	r, err := OpenEmbedded(slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	q := AttachRequest{Channel: Channel{Tunnel: "t", Channel: "c"}, Nonce: "n"}
	if _, err := r.Attach(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	for field, value := range map[string]string{
		"w:1/x": "neither", "w:1": "0 p", "b:2/x": "1 2 3", "b:3/x": "1 2 3 id 1 junk", "b:4/x": "1 2 3 id 1 0 0 0 0 0 - 9 p", "d:5/x": "soon",
	} {
		if err := r.client.HSet(t.Context(), key(q.Channel), field, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	a, err := r.Attach(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Lanes) != 0 {
		t.Errorf("found %+v", a.Lanes)
	}
	if lines := strings.Count(log.String(), "cannot be read"); lines != 6 {
		t.Errorf("%d lines in the log:\n%s", lines, &log)
	}
	for i := range 6 {
		lane := Lane{Trigger: "x", Index: i}
		if _, err := r.Begin(t.Context(), a.Owner, lane, Batch{ID: "id"}); err != nil {
			t.Error(err)
		}
		if err := r.Settle(t.Context(), a.Owner, Settlement{Lane: lane, BatchID: "id"}); err != nil {
			t.Error(err)
		}
	}
}

func FuzzABatchInFlightThatIsReadIsWrittenTheSame(f *testing.F) {
	f.Add("1795288876344 1795288876343 7 " + batchText(Batch{ID: "id", First: Mark{"p", 1}, Last: Mark{"q", 1 << 63}, Settled: []byte{0, 255}}))
	f.Add("0 0 0 id 1 0 0 0 0 0 - 9 p")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseInFlight(s)
		if err != nil {
			return
		}
		again, err := parseInFlight("0 0 0 " + batchText(*got.batch))
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if d := cmp.Diff(got.batch, again.batch); d != "" {
			t.Error(d)
		}
	})
}
