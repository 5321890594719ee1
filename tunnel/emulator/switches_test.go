package emulator

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// TestEverySwitchShows plays, for each setting of each switch, what shows it:
// it must show with the setting and not without.
func TestEverySwitchShows(t *testing.T) {
	shows := map[string]func(*testing.T, *Emulator) bool{
		"epoch-rises": func(t *testing.T, e *Emulator) bool {
			s := newStream(t, e, 1)
			s.write(1)
			e.StepClock(time.Hour)
			s.write(1)
			p := s.positions("Stream_0000")
			return p[0].Epoch == 0 && p[1].Epoch == 1
		},
		"timestamps-step-back": func(t *testing.T, e *Emulator) bool {
			s := newStream(t, e, 1)
			s.write(4)
			e.StepClock(-time.Hour)
			s.write(1)
			p := s.positions("Stream_0000")
			return p[3].Timestamp < p[2].Timestamp && p[4].Timestamp < p[0].Timestamp
		},
		"equal-positions": func(t *testing.T, e *Emulator) bool {
			s := newStream(t, e, 1)
			s.write(2)
			p := s.positions("Stream_0000")
			return p[0] == p[1]
		},
		"foreign-get-checkpoint": func(t *testing.T, e *Emulator) bool {
			s := newStream(t, e, 1)
			_, err := call[tunnelpb.GetCheckpointResponse](t, e, "/tunnel/getcheckpoint", &tunnelpb.GetCheckpointRequest{
				TunnelId: &s.tunnel, ClientId: new(s.gone()), ChannelId: new("Stream_0000"),
			})
			return s.accepted(err)
		},
		"foreign-checkpoint": func(t *testing.T, e *Emulator) bool {
			s := newStream(t, e, 1)
			at, n := token(t, e, s.tunnel, s.client, "Stream_0000")
			stranger := s.gone()
			if s.accepted(commit(t, e, s.tunnel, stranger, "Stream_0000", at, n+1)) {
				wantCode(t, commit(t, e, s.tunnel, stranger, "Stream_0000", at, n+1), "OTSSequenceNumberNotMatch")
				return true
			}
			return false
		},
		"foreign-read-records": func(t *testing.T, e *Emulator) bool {
			s := newStream(t, e, 1)
			s.write(3)
			at, _ := token(t, e, s.tunnel, s.client, "Stream_0000")
			a, err := call[tunnelpb.ReadRecordsResponse](t, e, "/tunnel/readrecords", &tunnelpb.ReadRecordsRequest{
				TunnelId: &s.tunnel, ClientId: new(s.gone()), ChannelId: new("Stream_0000"), Token: &at,
			})
			return s.accepted(err) && len(a.GetRecords()) == 3
		},
		"move-keeps-version": func(t *testing.T, e *Emulator) bool {
			s := newStream(t, e, 1)
			before := beat(t, e, s.tunnel, s.client)[0].GetVersion()
			other := connect(t, e, s.tunnel, 10)
			if err := e.ExpireClient("t", "feed", s.client); err != nil {
				t.Fatal(err)
			}
			return beat(t, e, s.tunnel, other)[0].GetVersion() == before
		},
		"move-skips-closing": func(t *testing.T, e *Emulator) bool {
			s := newStream(t, e, 2)
			other := connect(t, e, s.tunnel, 10)
			return len(beat(t, e, s.tunnel, other)) == 1 && len(beat(t, e, s.tunnel, s.client)) == 1
		},
		"closing-reopens": func(t *testing.T, e *Emulator) bool {
			s := newStream(t, e, 2)
			connect(t, e, s.tunnel, 10)
			asked := beat(t, e, s.tunnel, s.client)
			again := beat(t, e, s.tunnel, s.client, asked...)
			if again[1].GetStatus() != tunnelpb.ChannelStatus_OPEN {
				return false
			}
			// The other time it stays so.
			for range 3 {
				again = beat(t, e, s.tunnel, s.client, again...)
				if again[1].GetStatus() != tunnelpb.ChannelStatus_CLOSING {
					t.Errorf("it is %v again", again[1])
				}
			}
			return again[1].GetVersion() == asked[1].GetVersion()+2
		},
		"schedule-refuses-terminated": func(t *testing.T, e *Emulator) bool {
			return newStream(t, e, 1).terminate() != nil
		},
		"terminated-is-told": func(t *testing.T, e *Emulator) bool {
			s := newStream(t, e, 1)
			held := beat(t, e, s.tunnel, s.client)
			if err := s.terminate(); err != nil {
				t.Fatal(err)
			}
			told := beat(t, e, s.tunnel, s.client, held...)
			if len(told) == 0 {
				return false
			}
			if again := beat(t, e, s.tunnel, s.client, told...); len(again) != 1 {
				t.Errorf("while the client names it, it is told %v", again)
			}
			if again := beat(t, e, s.tunnel, s.client); len(again) != 0 {
				t.Errorf("once the client has forgotten it, it is told %v", again)
			}
			return told[0].GetStatus() == tunnelpb.ChannelStatus_TERMINATED
		},
		"open-unlisted": func(t *testing.T, e *Emulator) bool {
			s := newStream(t, e, 2)
			var listed []int
			for range 2 * omittedAt {
				listed = append(listed, len(beat(t, e, s.tunnel, s.client)))
				token(t, e, s.tunnel, s.client, "Stream_0001") // it is held all the time
			}
			return slices.Equal(listed, []int{2, 2, 2, 2, 0, 2, 2, 2, 2, 2})
		},
		"finished-alone": func(t *testing.T, e *Emulator) bool {
			s := newStream(t, e, 1)
			s.write(3)
			if err := e.Split("t", 0); err != nil {
				t.Fatal(err)
			}
			at, _ := token(t, e, s.tunnel, s.client, "Stream_0000")
			page := read(t, e, s.tunnel, s.client, "Stream_0000", at)
			if len(page.GetRecords()) != 3 {
				t.Errorf("a page of %d records", len(page.GetRecords()))
			}
			if page.GetNextToken() == finished {
				return false
			}
			last := read(t, e, s.tunnel, s.client, "Stream_0000", page.GetNextToken())
			return len(last.GetRecords()) == 0 && last.GetNextToken() == finished && page.GetMayMoreRecord()
		},
		"base-unordered": func(t *testing.T, e *Emulator) bool {
			keys := baseKeys(t, e)
			if !slices.Equal(slices.Sorted(slices.Values(keys)), strings.Split("abcdefgh", "")) {
				t.Errorf("the base data has keys %v", keys)
			}
			return !slices.IsSorted(keys)
		},
		"early-heartbeats=ignored": func(t *testing.T, e *Emulator) bool {
			s := newStream(t, e, 1)
			held := beat(t, e, s.tunnel, s.client)
			again := beat(t, e, s.tunnel, s.client, report(held[0], tunnelpb.ChannelStatus_TERMINATED))
			ignored := listing(again) == listing(held)
			time.Sleep(time.Second)
			if again := beat(t, e, s.tunnel, s.client, report(held[0], tunnelpb.ChannelStatus_TERMINATED)); len(again) != 0 {
				t.Errorf("a second later, the heartbeat is answered with %v", again)
			}
			return ignored
		},
		"early-heartbeats=throttled": func(t *testing.T, e *Emulator) bool {
			s := newStream(t, e, 1)
			beat(t, e, s.tunnel, s.client)
			_, err := call[tunnelpb.HeartbeatResponse](t, e, "/tunnel/heartbeat", &tunnelpb.HeartbeatRequest{TunnelId: &s.tunnel, ClientId: &s.client})
			time.Sleep(time.Second)
			beat(t, e, s.tunnel, s.client)
			if err != nil {
				wantCode(t, err, "OTSTunnelServerUnavailable")
			}
			return err != nil
		},
		"hand-out-at-heartbeat": func(t *testing.T, e *Emulator) bool {
			s := newStream(t, e, 1)
			_, err := call[tunnelpb.GetCheckpointResponse](t, e, "/tunnel/getcheckpoint", &tunnelpb.GetCheckpointRequest{
				TunnelId: &s.tunnel, ClientId: &s.client, ChannelId: new("Stream_0000"),
			})
			if held := beat(t, e, s.tunnel, s.client); len(held) != 1 {
				t.Errorf("at its first heartbeat the client gets %v", held)
			}
			return !s.accepted(err)
		},
		"wrong-checksums": func(t *testing.T, e *Emulator) bool {
			newTableOf(t, e, 1)
			mustWrite(t, e, putOf("a", 1))
			s := &stream{t: t, e: e, tunnel: newTunnelOf(t, e, tunnelpb.TunnelType_BASE_AND_STREAM, nil)}
			s.client = connect(t, e, s.tunnel, 10)
			at, _ := token(t, e, s.tunnel, s.client, "BaseData_0000")
			base := read(t, e, s.tunnel, s.client, "BaseData_0000", at).GetRecords()
			mustWrite(t, e, putOf("a", 2))
			log := e.tables["t"].partitions[0].log
			var page tunnelpb.ReadRecordsResponse
			if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(slices.Concat(log.pieces(0, log.end())...), &page); err != nil {
				t.Fatal(err)
			}
			wrong := func(r *tunnelpb.Record) bool {
				var row plainbuffer.Row
				return errors.Is(row.Decode(r.GetRecord()), plainbuffer.ErrChecksum)
			}
			return wrong(base[0]) && wrong(page.GetRecords()[0])
		},
	}
	for _, setting := range settings(t) {
		t.Run(setting, func(t *testing.T) {
			shows, ok := shows[setting]
			if !ok {
				t.Fatal("nothing shows this setting")
			}
			synctest.Test(t, func(t *testing.T) {
				if shows(t, newEmulator(t, Config{})) {
					t.Error("it shows without the switch")
				}
				s, err := ParseSwitches(setting)
				if err != nil {
					t.Fatal(err)
				}
				if !shows(t, newEmulator(t, Config{Switches: s})) {
					t.Error("it does not show with the switch")
				}
			})
		})
	}
}

// settings are all settings that switches can be given, other than the zero
// values.
func settings(t testing.TB) []string {
	var all []string
	for f := range reflect.TypeFor[Switches]().Fields() {
		name := f.Tag.Get("json")
		switch f.Type {
		case reflect.TypeFor[bool]():
			all = append(all, name)
		case reflect.TypeFor[EarlyHeartbeats]():
			for _, text := range earlyTexts[1:] {
				all = append(all, name+"="+text)
			}
		default:
			t.Fatalf("switch %s has a type that no test knows", f.Name)
		}
	}
	return all
}

// stream is a table with a stream tunnel on it, and a client of that.
type stream struct {
	t              *testing.T
	e              *Emulator
	tunnel, client string
	written        int64
}

func newStream(t *testing.T, e *Emulator, partitions int) *stream {
	t.Helper()
	newTableOf(t, e, partitions)
	s := &stream{t: t, e: e, tunnel: newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)}
	s.client = connect(t, e, s.tunnel, 10)
	return s
}

// write writes changes to keys of their own.
func (s *stream) write(n int) {
	s.t.Helper()
	for range n {
		s.written++
		mustWrite(s.t, s.e, putOf(string(rune('a'+s.written%26)), s.written))
	}
}

// positions are those of a channel's records, from its checkpoint on.
func (s *stream) positions(channel string) []plainbuffer.Sequence {
	s.t.Helper()
	records, _ := drain(s.t, s.e, s.tunnel, s.client, channel)
	var all []plainbuffer.Sequence
	for _, r := range records {
		row := decodeRow(s.t, r)
		all = append(all, row.Sequence)
	}
	return all
}

// gone is a client that is no longer there.
func (s *stream) gone() string {
	s.t.Helper()
	client := connect(s.t, s.e, s.tunnel, 10)
	if err := s.e.ExpireClient("t", "feed", client); err != nil {
		s.t.Fatal(err)
	}
	return client
}

// accepted says whether a call was answered. If it was not, then because its
// client or its hold on the channel is gone.
func (s *stream) accepted(err error) bool {
	s.t.Helper()
	if err != nil {
		wantCode(s.t, err, "OTSResourceGone")
	}
	return err == nil
}

// terminate ends the first channel by Schedule.
func (s *stream) terminate() error {
	_, err := call[tunnelpb.ScheduleResponse](s.t, s.e, "/tunnel/schedule", &tunnelpb.ScheduleRequest{
		TunnelId: &s.tunnel, Channels: []*tunnelpb.Channel{
			{ChannelId: new("Stream_0000"), Version: new(int64(0)), Status: tunnelpb.ChannelStatus_TERMINATED.Enum()},
		},
	})
	return err
}

// baseKeys are the keys of the base data of a table with the keys a to h, page
// by page.
func baseKeys(t *testing.T, e *Emulator) []string {
	t.Helper()
	newTableOf(t, e, 1)
	for k := range strings.SplitSeq("abcdefgh", "") {
		mustWrite(t, e, putOf(k, 1))
	}
	id := newTunnelOf(t, e, tunnelpb.TunnelType_BASE_DATA, nil)
	client := connect(t, e, id, 10)
	e.config.PageRecords = 3
	records, _ := drain(t, e, id, client, "BaseData_0000")
	var keys []string
	for _, r := range records {
		row := decodeRow(t, r)
		keys = append(keys, string(row.Key[0].Value.Bytes()))
	}
	return keys
}

func TestSwitchesReadAsTextAndJSON(t *testing.T) {
	for _, setting := range settings(t) {
		s, err := ParseSwitches(setting)
		if err != nil || s == (Switches{}) {
			t.Fatalf("%s gives %+v, %v", setting, s, err)
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var again Switches
		if err := json.Unmarshal(b, &again); err != nil || again != s {
			t.Errorf("%s gives %s, and that %+v, %v", setting, b, again, err)
		}
	}
	if s, err := ParseSwitches("epoch-rises", "epoch-rises=false", "early-heartbeats=taken"); err != nil || s != (Switches{}) {
		t.Errorf("a later text does not win: %+v, %v", s, err)
	}
	for text, says := range map[string]string{
		"epoch":                 "epoch-rises, timestamps-step-back",
		"":                      "there is no switch",
		"epoch-rises=perhaps":   "neither true nor false",
		"early-heartbeats":      "taken, ignored, throttled",
		"early-heartbeats=true": "taken, ignored, throttled",
	} {
		if _, err := ParseSwitches(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q gives %v, want %q", text, err, says)
		}
	}
	if _, err := New(Config{Switches: Switches{EarlyHeartbeats: 9}}); err == nil {
		t.Error("a setting that does not exist is accepted")
	}
}

// TestSwitchesKeepTheLogsOrder writes under switches that change all the time:
// what is read is what was written, in its order, and no two positions are
// equal unless a switch says so.
func TestSwitchesKeepTheLogsOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := newEmulator(t, Config{PageRecords: 3})
		s := newStream(t, e, 1)
		equal := false
		for range rapid.IntRange(1, 30).Draw(rt, "rounds") {
			switches := drawSwitches(rt)
			equal = equal || switches.EqualPositions
			if err := e.SetSwitches(switches); err != nil {
				rt.Fatal(err)
			}
			e.StepClock(time.Duration(rapid.Int64Range(-20, 20).Draw(rt, "step")) * time.Millisecond)
			s.write(rapid.IntRange(1, 5).Draw(rt, "writes"))
		}
		if err := e.SetSwitches(Switches{ForeignReadRecords: true, ForeignGetCheckpoint: true}); err != nil {
			rt.Fatal(err)
		}
		records, _ := drain(t, e, s.tunnel, s.client, "Stream_0000")
		seen := map[plainbuffer.Sequence]bool{}
		for i, r := range records {
			var row plainbuffer.Row
			if err := row.Decode(r.GetRecord()); err != nil && !errors.Is(err, plainbuffer.ErrChecksum) {
				rt.Fatal(err)
			}
			if n := row.Columns[0].Value.Integer(); n != int64(i)+1 {
				rt.Fatalf("record %d is of change %d", i+1, n)
			}
			if seen[row.Sequence] && !equal {
				rt.Fatalf("position %v comes twice", row.Sequence)
			}
			seen[row.Sequence] = true
		}
		if len(records) != int(s.written) {
			rt.Fatalf("%d changes were written, %d are read", s.written, len(records))
		}
	})
}

// drawSwitches draws settings of all switches.
func drawSwitches(rt *rapid.T) Switches {
	var s Switches
	v := reflect.ValueOf(&s).Elem()
	for f := range v.Type().Fields() {
		switch field := v.FieldByIndex(f.Index); field.Kind() {
		case reflect.Bool:
			field.SetBool(rapid.Bool().Draw(rt, f.Name))
		default:
			field.SetUint(uint64(rapid.IntRange(0, len(earlyTexts)-1).Draw(rt, f.Name)))
		}
	}
	return s
}
