package emulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// outcomeOf is what a client sees of one call.
type outcomeOf struct {
	status int // 0: none came
	body   []byte
	cut    bool // the connection was cut, whatever came before
	took   time.Duration
}

// try makes a call on the wire that a fault may spoil.
func try(t *testing.T, e *Emulator, path string, q proto.Message) (got outcomeOf) {
	t.Helper()
	return tryUntil(t.Context(), t, e, path, q)
}

// tryUntil is try by a client that gives up when ctx ends.
func tryUntil(ctx context.Context, t *testing.T, e *Emulator, path string, q proto.Message) (got outcomeOf) {
	t.Helper()
	body, err := proto.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	w.Code = 0
	start := time.Now()
	defer func() {
		got = outcomeOf{status: w.Code, body: w.Body.Bytes(), took: time.Since(start)}
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			got.cut = true
		default:
			panic(p)
		}
	}()
	e.ServeHTTP(w, request(path, e.config.Instance, "", "", body).WithContext(ctx))
	return got
}

// scene is a stream of two partitions with records in each, its client, and one
// fault.
type scene struct {
	*stream
	channels []*tunnelpb.Channel
}

// TestEveryFaultShows sets one fault at a time and plays what shows it. With
// each scene stand the fields of the fault that it shows at work.
func TestEveryFaultShows(t *testing.T) {
	shows := []struct {
		name   string
		fault  string
		fields string
		play   func(*testing.T, *scene)
	}{
		{"an error", "rate=1,call=Checkpoint,code=OTSSequenceNumberNotMatch,status=499,count=2", "kind calls code status count", func(t *testing.T, s *scene) {
			for range 2 {
				got := s.commit(1)
				if got.status != 499 || !strings.Contains(string(got.body), "OTSSequenceNumberNotMatch") {
					t.Errorf("status %d, %q", got.status, got.body)
				}
			}
			s.wantSequence(0)
			if got := s.commit(1); got.status != http.StatusOK {
				t.Errorf("after the count, status %d", got.status)
			}
		}},
		{"an error of the API's own", "kind=error", "kind", func(t *testing.T, s *scene) {
			if got := s.commit(1); got.status != http.StatusServiceUnavailable || !strings.Contains(string(got.body), "OTSTunnelServerUnavailable") {
				t.Errorf("status %d, %q", got.status, got.body)
			}
			if got := try(t, s.e, "/tunnel/list", &tunnelpb.ListTunnelRequest{}); got.status != http.StatusOK {
				t.Errorf("a call that is no worker's has status %d", got.status)
			}
		}},
		{"a part of the calls", "rate=0.25,call=GetCheckpoint", "rate", func(t *testing.T, s *scene) {
			failed := 0
			for range 400 {
				if got := s.getCheckpoint(); got.status != http.StatusOK {
					failed++
				}
			}
			if failed < 70 || failed > 130 {
				t.Errorf("%d of 400 calls failed, want about 100", failed)
			}
		}},
		{"a gateway", "kind=gateway,status=504,call=Heartbeat", "status", func(t *testing.T, s *scene) {
			got := s.heartbeat()
			if got.status != 504 || !strings.Contains(string(got.body), "504 Gateway Timeout") {
				t.Errorf("status %d, %q", got.status, got.body)
			}
		}},
		{"latency", "kind=latency,delay=2s..3s,call=Checkpoint", "delay", func(t *testing.T, s *scene) {
			if got := s.commit(1); got.status != http.StatusOK || got.took < 2*time.Second || got.took > 3*time.Second {
				t.Errorf("status %d after %v", got.status, got.took)
			}
		}},
		{"a cut before the call", "kind=cut-request,call=Checkpoint", "kind", func(t *testing.T, s *scene) {
			if got := s.commit(1); !got.cut || got.status != 0 {
				t.Errorf("%+v", got)
			}
			s.wantSequence(0)
		}},
		{"a cut after the call", "kind=cut-answer,call=Checkpoint", "kind", func(t *testing.T, s *scene) {
			if got := s.commit(1); !got.cut || got.status != 0 {
				t.Errorf("%+v", got)
			}
			s.wantSequence(1)
		}},
		{"a cut body", "kind=cut-body,call=ReadRecords", "kind", func(t *testing.T, s *scene) {
			got := s.read(s.token("Stream_0000"))
			if !got.cut || got.status != http.StatusOK || len(got.body) == 0 || proto.Unmarshal(got.body, new(tunnelpb.ReadRecordsResponse)) == nil {
				t.Errorf("%+v", got)
			}
		}},
		{"a body of nothing, cut", "kind=cut-body,call=Checkpoint", "kind", func(t *testing.T, s *scene) {
			if got := s.commit(1); !got.cut || got.status != 0 {
				t.Errorf("%+v", got)
			}
			s.wantSequence(1)
		}},
		{"garbage", "kind=garbage,call=Checkpoint", "kind", func(t *testing.T, s *scene) {
			got := s.commit(1)
			if got.cut || got.status != http.StatusOK || proto.Unmarshal(got.body, new(tunnelpb.CheckpointResponse)) == nil {
				t.Errorf("%+v", got)
			}
			s.wantSequence(1)
		}},
		{"a lost heartbeat", "kind=drop-request,call=Heartbeat,delay=30s", "delay", func(t *testing.T, s *scene) {
			time.Sleep(9 * time.Second)
			if got := s.heartbeat(); !got.cut || got.status != 0 || got.took != 30*time.Second {
				t.Errorf("%+v", got)
			}
			if got := s.getCheckpoint(); got.status != http.StatusGone {
				t.Errorf("the heartbeat that was lost kept the client alive: %+v", got)
			}
		}},
		{"a lost answer", "kind=drop-answer,call=Heartbeat,delay=9s", "delay", func(t *testing.T, s *scene) {
			time.Sleep(9 * time.Second)
			if got := s.heartbeat(); !got.cut || got.status != 0 || got.took != 9*time.Second {
				t.Errorf("%+v", got)
			}
			if got := s.getCheckpoint(); got.status != http.StatusOK {
				t.Errorf("the heartbeat whose answer was lost did not keep the client alive: %+v", got)
			}
		}},
		{"a client that does not wait", "kind=drop-answer,call=Heartbeat", "delay", func(t *testing.T, s *scene) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			got := tryUntil(ctx, t, s.e, "/tunnel/heartbeat", &tunnelpb.HeartbeatRequest{TunnelId: &s.tunnel, ClientId: &s.client})
			if !got.cut || got.took != time.Second {
				t.Errorf("%+v", got)
			}
		}},
		{"pages of other sizes", "kind=page-size,records=3", "records", func(t *testing.T, s *scene) {
			at := s.token("Stream_0000")
			sizes := map[int]bool{}
			for range 30 {
				sizes[len(s.page(at).GetRecords())] = true
			}
			if got := slices.Sorted(maps.Keys(sizes)); !slices.Equal(got, []int{1, 2, 3}) {
				t.Errorf("the same token gives pages of %v records", got)
			}
			s.readAll()
		}},
		{"pages of few bytes", "kind=page-size,bytes=1", "bytes", func(t *testing.T, s *scene) {
			if n := len(s.page(s.token("Stream_0000")).GetRecords()); n != 1 {
				t.Errorf("a page of %d records", n)
			}
			s.readAll()
		}},
		{"pages that repeat records", "kind=repeat-page,records=2,rate=0.5", "records", func(t *testing.T, s *scene) {
			if repeated := s.readAll(); repeated == 0 {
				t.Error("no record came twice")
			}
		}},
		{"a move", "kind=move,call=GetCheckpoint", "kind", func(t *testing.T, s *scene) {
			other := connect(t, s.e, s.tunnel, 10)
			s.getCheckpoint()
			held := beat(t, s.e, s.tunnel, s.client, s.channels...)
			if !slices.ContainsFunc(held, func(ch *tunnelpb.Channel) bool {
				return ch.GetChannelId() == "Stream_0000" && ch.GetStatus() == tunnelpb.ChannelStatus_CLOSING
			}) {
				t.Fatalf("the call's channel is not asked back: %v", held)
			}
			for i, ch := range held {
				if ch.GetStatus() == tunnelpb.ChannelStatus_CLOSING {
					held[i] = report(ch, tunnelpb.ChannelStatus_CLOSE)
				}
			}
			beat(t, s.e, s.tunnel, s.client, held...)
			if got := listing(beat(t, s.e, s.tunnel, other)); !strings.Contains(got, "Stream_0000 OPEN") {
				t.Errorf("the other client holds %s", got)
			}
		}},
		{"a split", "kind=split,call=ReadRecords", "kind", func(t *testing.T, s *scene) {
			s.read(s.token("Stream_0000"))
			if p := s.e.State().Tables[0].Partitions; len(p) != 4 || !p[0].Split {
				t.Errorf("partitions %+v", p)
			}
		}},
		{"an expired client", "kind=expire-client,call=Heartbeat", "kind", func(t *testing.T, s *scene) {
			if got := s.heartbeat(); got.status != http.StatusGone || !strings.Contains(string(got.body), "OTSResourceGone") {
				t.Errorf("status %d, %q", got.status, got.body)
			}
		}},
		{"an expired tunnel", "kind=expire-tunnel,call=Heartbeat", "kind", func(t *testing.T, s *scene) {
			for range 2 {
				if got := s.heartbeat(); !strings.Contains(string(got.body), "OTSTunnelExpired") {
					t.Errorf("status %d, %q", got.status, got.body)
				}
			}
		}},
		{"a clock that steps", "kind=step-clock,step=-5s,call=Heartbeat", "step", func(t *testing.T, s *scene) {
			s.heartbeat()
			if off := time.Until(s.e.State().Now); off != -5*time.Second {
				t.Errorf("the clock is off by %v", off)
			}
		}},
	}

	unseen, fields := map[FaultKind]bool{}, map[string]bool{}
	for _, k := range FaultKinds() {
		unseen[k] = true
	}
	for f := range reflect.TypeFor[Fault]().Fields() {
		fields[strings.ToLower(f.Name)] = true
	}
	for _, tt := range shows {
		f, err := ParseFault(tt.fault)
		if err != nil {
			t.Fatal(err)
		}
		delete(unseen, f.Kind)
		for name := range strings.FieldsSeq(tt.fields) {
			delete(fields, name)
		}
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				if err := s.e.SetFaults(Faults{Seed: 1, Rules: []Fault{f}}); err != nil {
					t.Fatal(err)
				}
				tt.play(t, s)
				counts := s.e.FaultCounts()
				if n := counts[f.Kind]; n == 0 || len(counts) > 1 {
					t.Errorf("faults are counted as %v", counts)
				}
			})
		})
	}
	if len(unseen) > 0 || len(fields) > 0 {
		t.Errorf("nothing shows the kinds %v and the fields %v", slices.Collect(maps.Keys(unseen)), slices.Collect(maps.Keys(fields)))
	}
}

func newScene(t *testing.T) *scene {
	s := &scene{stream: newStream(t, newEmulator(t, Config{}), 2)}
	s.write(40)
	s.channels = beat(t, s.e, s.tunnel, s.client)
	return s
}

// commit commits the first channel's checkpoint anew, under a number.
func (s *scene) commit(sequence int64) outcomeOf {
	s.t.Helper()
	at := s.e.tunnels[s.tunnel].byID["Stream_0000"].checkpoint
	return try(s.t, s.e, "/tunnel/checkpoint", &tunnelpb.CheckpointRequest{
		TunnelId: &s.tunnel, ClientId: &s.client, ChannelId: new("Stream_0000"), Checkpoint: &at, SequenceNumber: &sequence,
	})
}

func (s *scene) wantSequence(want int64) {
	s.t.Helper()
	if n := s.e.State().Tunnels[0].Channels[0].Sequence; n != want {
		s.t.Errorf("the checkpoint has number %d, want %d", n, want)
	}
}

// token is a channel's checkpoint, without a call.
func (s *scene) token(channel string) string { return s.e.tunnels[s.tunnel].byID[channel].checkpoint }

func (s *scene) getCheckpoint() outcomeOf {
	s.t.Helper()
	return try(s.t, s.e, "/tunnel/getcheckpoint", &tunnelpb.GetCheckpointRequest{
		TunnelId: &s.tunnel, ClientId: &s.client, ChannelId: new("Stream_0000"),
	})
}

func (s *scene) heartbeat() outcomeOf {
	s.t.Helper()
	return try(s.t, s.e, "/tunnel/heartbeat", &tunnelpb.HeartbeatRequest{TunnelId: &s.tunnel, ClientId: &s.client, Channels: s.channels})
}

func (s *scene) read(token string) outcomeOf {
	s.t.Helper()
	return try(s.t, s.e, "/tunnel/readrecords", &tunnelpb.ReadRecordsRequest{
		TunnelId: &s.tunnel, ClientId: &s.client, ChannelId: new("Stream_0000"), Token: &token,
	})
}

func (s *scene) page(token string) *tunnelpb.ReadRecordsResponse {
	s.t.Helper()
	var page tunnelpb.ReadRecordsResponse
	if got := s.read(token); got.status != http.StatusOK || proto.Unmarshal(got.body, &page) != nil {
		s.t.Fatalf("%+v", got)
	}
	return &page
}

// readAll reads the first channel to where nothing more is there. The order of
// the log must hold: no record comes before one that stands ahead of it has
// come. It gives how many came again.
func (s *scene) readAll() (repeated int) {
	s.t.Helper()
	log := &s.e.tables["t"].partitions[0].log
	at, end := s.token("Stream_0000"), log.end()
	seen := map[string]bool{}
	for range 10_000 {
		page := s.page(at)
		for _, r := range page.GetRecords() {
			row := decodeRow(s.t, r)
			place := fmt.Sprint(row.Sequence)
			if seen[place] {
				repeated++
				continue
			}
			if want := log.timestamp(len(seen)); row.Sequence.Timestamp != want {
				s.t.Fatalf("record %d is of %d, want %d", len(seen), row.Sequence.Timestamp, want)
			}
			seen[place] = true
		}
		if at = page.GetNextToken(); len(seen) == end && len(page.GetRecords()) == 0 {
			return repeated
		}
	}
	s.t.Fatalf("%d of %d records were read", len(seen), end)
	return 0
}

// A page of base data is repeated as well, and its end comes in the end.
func TestRepeatedPagesOfBaseDataEnd(t *testing.T) {
	e := newEmulator(t, Config{Faults: Faults{Rules: []Fault{{Kind: FaultRepeatPage, Rate: 0.5}, {Kind: FaultPageSize, Records: 3}}}})
	keys := baseKeys(t, e)
	if got := slices.Compact(slices.Sorted(slices.Values(keys))); len(got) != 8 {
		t.Errorf("keys %v", keys)
	}
	if len(keys) == 8 {
		t.Error("no row came twice")
	}
}

// TestTheSamePlanForTheSameCalls asks two plans about the same calls, in orders
// that differ between the names.
func TestTheSamePlanForTheSameCalls(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		faults := RandomFaults(rapid.Uint64().Draw(rt, "seed"), rapid.Bool().Draw(rt, "tables"))
		// A count is of all calls in their order, so that it is left out.
		for i := range faults.Rules {
			faults.Rules[i].Count = 0
		}
		calls := rapid.SliceOfN(rapid.SampledFrom(CallNames()), 1, 200).Draw(rt, "calls")
		ask := func(calls []string) map[string][]strike {
			p, got := newPlan(faults), make(map[string][]strike)
			for _, c := range calls {
				got[c] = append(got[c], p.next(c))
			}
			return got
		}
		sorted := slices.Sorted(slices.Values(calls))
		if diff := cmp.Diff(ask(calls), ask(sorted), cmp.AllowUnexported(strike{}, pageFault{}, commandFault{})); diff != "" {
			rt.Fatal(diff)
		}
	})
}

func TestAMixOfFaultsIsItsSeeds(t *testing.T) {
	for seed := range uint64(50) {
		f := RandomFaults(seed, seed%2 == 0)
		if err := f.validate(CallNames()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(f, RandomFaults(seed, seed%2 == 0)); diff != "" {
			t.Fatalf("the same seed makes another mix: %s", diff)
		}
		if reflect.DeepEqual(f, RandomFaults(seed+1, seed%2 == 0)) {
			t.Fatalf("seeds %d and %d make the same mix", seed, seed+1)
		}
		has := map[FaultKind]bool{}
		for _, r := range f.Rules {
			has[r.Kind] = true
			if r.Kind == FaultExpireTunnel {
				t.Error("tunnels expire")
			}
			for _, c := range r.Calls {
				if seed%2 == 1 && !isTunnelCall(c) {
					t.Errorf("%s hits the table call %s", r.Kind, c)
				}
			}
		}
		if len(has) != len(FaultKinds())-1 {
			t.Errorf("a mix of %v", slices.Collect(maps.Keys(has)))
		}
	}
}

// A naive writer sees no fault of a mix that leaves tables alone.
func TestAMixLeavesTablesAlone(t *testing.T) {
	e := newEmulator(t, Config{Faults: RandomFaults(3, false)})
	newTableOf(t, e, 1)
	for n := range int64(500) {
		mustWrite(t, e, putOf("a", n))
		if got := try(t, e, "/ListTable", &tunnelpb.ListTunnelRequest{}); got.status != http.StatusOK {
			t.Fatalf("%+v", got)
		}
	}
	if n := e.FaultCounts(); len(n) != 0 {
		t.Errorf("faults %v", n)
	}
	if err := e.SetFaults(RandomFaults(3, true)); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		failed := 0
		for range 200 {
			if got := try(t, e, "/ListTable", &tunnelpb.ListTunnelRequest{}); got.status != http.StatusOK || got.cut {
				failed++
			}
		}
		if failed == 0 {
			t.Error("with tables, no call of theirs fails")
		}
	})
}

func TestOfSeveralOutcomesTheFirstRuleHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		err := s.e.SetFaults(Faults{Rules: []Fault{
			{Kind: FaultLatency, Delay: Span{time.Second, time.Second}},
			{Kind: FaultLatency, Delay: Span{time.Second, time.Second}},
			{Kind: FaultGateway},
			{Kind: FaultError},
			{Kind: FaultStepClock, Step: Span{time.Second, time.Second}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.heartbeat(); got.status != http.StatusBadGateway || got.took != 2*time.Second {
			t.Errorf("%+v", got)
		}
		want := map[FaultKind]int64{FaultLatency: 1, FaultGateway: 1, FaultStepClock: 1}
		if diff := cmp.Diff(want, s.e.FaultCounts()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAFaultThatIsNotRightIsToldWhy(t *testing.T) {
	for text, says := range map[string][]string{
		"":                                   {"not NAME=VALUE", "kind, call, rate"},
		"kind":                               {"not NAME=VALUE"},
		"kind=eror":                          {`no kind "eror"`, "cut-request", "step-clock"},
		"call=ReadRecord":                    {`no call "ReadRecord"`, "ReadRecords"},
		"colour=red":                         {`no "colour"`, "kind, call, rate"},
		"rate=2":                             {"rate 2"},
		"rate=0":                             {"never happens"},
		"rate=NaN":                           {"rate NaN"},
		"rate=x":                             {"rate"},
		"count=-1":                           {"count -1"},
		"status=200":                         {"status 200"},
		"delay=1s":                           {"delay has no meaning for error", "latency"},
		"kind=latency,delay=11m":             {"delay 11m0s"},
		"kind=latency,delay=2s..1s":          {"ends before it begins"},
		"kind=latency,delay=x":               {"no time"},
		"kind=latency,code=OTSResourceGone":  {"code has no meaning for latency"},
		"kind=page-size,call=Heartbeat":      {"page-size cannot happen to Heartbeat"},
		"kind=page-size,records=100001":      {"records 100001"},
		"kind=page-size,bytes=-1":            {"bytes -1"},
		"kind=expire-client,call=Connect":    {"expire-client cannot happen to Connect"},
		"kind=move,call=PutRow":              {"move cannot happen to PutRow"},
		"kind=step-clock,step=25h":           {"step 25h0m0s"},
		"rate=3,count=-2,status=1,call=Nope": {"rate 3", "count -2", "status 1", `"Nope"`},
	} {
		_, err := ParseFault(text)
		for _, part := range says {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q gives %v, want %q", text, err, part)
			}
		}
	}
	e := newEmulator(t, Config{})
	bad := Faults{Rules: []Fault{{Kind: FaultError}, {Kind: "x"}, {Kind: FaultError, Rate: math.Inf(1)}}}
	err := e.SetFaults(bad)
	if err == nil || !strings.Contains(err.Error(), "fault 2") || !strings.Contains(err.Error(), "fault 3") {
		t.Errorf("%v", err)
	}
	if _, err := New(Config{Faults: bad}); err == nil {
		t.Error("a configuration with wrong faults is accepted")
	}
	if f := e.Faults(); len(f.Rules) != 0 {
		t.Errorf("wrong faults are set: %+v", f)
	}
}

func TestFaultsReadAsJSON(t *testing.T) {
	for seed := range uint64(20) {
		f := RandomFaults(seed, true)
		b, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var again Faults
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(f, again); diff != "" {
			t.Errorf("%s: %s", b, diff)
		}
	}
}

// What callers are given is theirs: changing it changes nothing.
func TestFaultsAreCopied(t *testing.T) {
	e := newEmulator(t, Config{})
	f := Faults{Rules: []Fault{{Kind: FaultError, Calls: []string{"Heartbeat"}}}}
	if err := e.SetFaults(f); err != nil {
		t.Fatal(err)
	}
	f.Rules[0].Calls[0] = "Connect"
	got := e.Faults()
	got.Rules[0].Calls[0] = "Shutdown"
	if c := e.Faults().Rules[0].Calls[0]; c != "Heartbeat" {
		t.Errorf("the fault is of %s now", c)
	}
	var fail *Error
	if err := e.MoveChannel("t", "feed", "x", ""); !errors.As(err, &fail) {
		t.Errorf("%v", err)
	}
}

func TestEveryTunnelCallHasAName(t *testing.T) {
	for path := range new(Emulator).makeRoutes() {
		if strings.HasPrefix(path, "/tunnel/") != isTunnelCall(callName(path)) {
			t.Errorf("the call of %s is named %s", path, callName(path))
		}
	}
	for _, name := range workerCalls {
		if !slices.Contains(CallNames(), name) {
			t.Errorf("there is no call %s", name)
		}
	}
}

// FuzzParseFault: whatever is accepted can be set, and told as JSON.
func FuzzParseFault(f *testing.F) {
	for _, text := range []string{
		"rate=0.1,call=ReadRecords,code=OTSTunnelServerUnavailable", "kind=latency,delay=20ms..2s,call=Heartbeat,count=3",
		"kind=page-size,records=3,bytes=9", "kind=step-clock,step=-5s..5s", "kind=gateway,status=504", "kind=repeat-page,rate=1e-300",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		fault, err := ParseFault(text)
		if err != nil {
			return
		}
		faults := Faults{Rules: []Fault{fault}}
		e := newEmulator(t, Config{Faults: faults})
		for range 3 {
			for _, name := range workerCalls {
				e.injector.next(name) // must not panic
			}
		}
		b, err := json.Marshal(faults)
		if err != nil {
			t.Fatal(err)
		}
		if status, answer := askControl(t, e, http.MethodPost, "faults", string(b)); status != http.StatusOK && strings.ToValidUTF8(text, "") == text {
			t.Errorf("%q is accepted, and %s refused: %s", text, b, answer)
		}
	})
}
