package emulator

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// askControl makes a call of the control API and gives its status and body.
func askControl(t *testing.T, e *Emulator, method, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	e.Control().ServeHTTP(w, httptest.NewRequest(method, "/emulator/"+path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func TestTheControlAPISetsWhatItIsTold(t *testing.T) {
	e := newEmulator(t, Config{Switches: Switches{EpochRises: true}})
	post := func(path, body string) string {
		t.Helper()
		status, answer := askControl(t, e, http.MethodPost, path, body)
		if status != http.StatusOK {
			t.Fatalf("%s %s: %d %s", path, body, status, answer)
		}
		return answer
	}
	// What is not named stays.
	post("switches", `{"early-heartbeats": "throttled"}`)
	if diff := cmp.Diff(Switches{EpochRises: true, EarlyHeartbeats: EarlyThrottled}, e.Switches()); diff != "" {
		t.Error(diff)
	}
	post("faults", `{"seed": 4, "rules": [{"kind": "latency", "delay": "1s..2s", "rate": 0.5}]}`)
	if diff := cmp.Diff(Faults{Seed: 4, Rules: []Fault{{Kind: FaultLatency, Delay: Span{time.Second, 2 * time.Second}, Rate: 0.5}}}, e.Faults()); diff != "" {
		t.Error(diff)
	}
	post("faults", `{"random": 7, "tables": true}`)
	if diff := cmp.Diff(RandomFaults(7, true), e.Faults()); diff != "" {
		t.Error(diff)
	}
	post("faults", `{}`)
	if n := len(e.Faults().Rules); n != 0 {
		t.Errorf("%d faults remain", n)
	}
	post("step-clock", `{"by": "-1h"}`)
	if now := e.State().Now; time.Since(now) < 59*time.Minute {
		t.Errorf("it is %v", now)
	}
	e.injector.happened(FaultError)
	post("reset", "")
	s := e.State()
	if s.Switches != (Switches{EpochRises: true}) || time.Since(s.Now) > time.Minute || len(s.Counts) != 0 {
		t.Errorf("after a reset: %+v", s)
	}
}

func TestTheControlAPICommands(t *testing.T) {
	e := newEmulator(t, Config{})
	s := newStream(t, e, 2)
	other := connect(t, e, s.tunnel, 10)
	held := beat(t, e, s.tunnel, s.client)
	beat(t, e, s.tunnel, s.client, held[0], report(held[1], tunnelpb.ChannelStatus_CLOSE))
	do := func(path, body string) {
		t.Helper()
		if status, answer := askControl(t, e, http.MethodPost, path, body); status != http.StatusOK || answer != "{}\n" {
			t.Fatalf("%s %s: %d %s", path, body, status, answer)
		}
	}
	const first = `"table": "t", "tunnel": "feed", "channel": "Stream_0000"`
	channel := func(i int) ChannelState { return e.State().Tunnels[0].Channels[i] }
	do("move", `{`+first+`, "client": "`+other+`"}`)
	if ch := channel(0); ch.Status != "CLOSING" || ch.Client != s.client {
		t.Errorf("a move makes it %+v", ch)
	}
	do("suspend", `{`+first+`}`)
	if ch := channel(0); !ch.Suspended {
		t.Errorf("suspended, it is %+v", ch)
	}
	do("resume", `{`+first+`}`)
	if ch := channel(0); ch.Suspended {
		t.Errorf("resumed, it is %+v", ch)
	}
	do("expire-client", `{"table": "t", "tunnel": "feed", "client": "`+s.client+`"}`)
	for i := range 2 {
		if ch := channel(i); ch.Client != other {
			t.Errorf("the other client expired, and it is %+v", ch)
		}
	}
	do("split", `{"table": "t", "partition": 1}`)
	if p := e.State().Tables[0].Partitions; len(p) != 4 || !p[1].Split || p[2].Parent != 1 {
		t.Errorf("partitions %+v", p)
	}
	do("expire-tunnel", `{"table": "t", "tunnel": "feed"}`)
	if !e.State().Tunnels[0].Expired {
		t.Error("the tunnel has not expired")
	}
}

func TestTheControlAPIRefusesWhatItDoesNotKnow(t *testing.T) {
	e := newEmulator(t, Config{})
	newStream(t, e, 1)
	for _, tt := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{http.MethodPost, "split", `{"table": "t"}`, 400, `the field \"partition\" is missing; the fields are: table, partition`},
		{http.MethodPost, "split", `{"table": "t", "partition": 0, "at": 1}`, 400, `there is no field \"at\"`},
		{http.MethodPost, "split", `{"table": "t", "partition": "0"}`, 400, "partition"},
		{http.MethodPost, "split", `{"table": "t", "partition": 7}`, 400, "no partition 7"},
		{http.MethodPost, "split", `{"table": "x", "partition": 0}`, 404, "OTSObjectNotExist"},
		{http.MethodPost, "split", `[]`, 400, "object"},
		{http.MethodPost, "split", `{} {}`, 400, "more than one"},
		{http.MethodPost, "split", `{`, 400, "unexpected EOF"},
		{http.MethodPost, "move", `{"table": "t", "tunnel": "feed", "channel": "Stream_0007"}`, 400, "no channel Stream_0007"},
		{http.MethodPost, "move", `{"table": "t", "tunnel": "feed", "channel": "Stream_0000", "client": "x"}`, 404, "OTSResourceGone"},
		{http.MethodPost, "move", `{"table": "t", "tunnel": "x", "channel": "Stream_0000"}`, 400, "x of table t"},
		{http.MethodPost, "expire-client", `{"table": "t", "tunnel": "feed", "client": "x"}`, 404, "OTSResourceGone"},
		{http.MethodPost, "step-clock", `{"by": "soon"}`, 400, "no time"},
		{http.MethodPost, "reset", `{"data": true}`, 400, "data"},
		{http.MethodPost, "switches", `{"epoch": true}`, 400, "epoch"},
		{http.MethodPost, "switches", `{"early-heartbeats": "later"}`, 400, "taken, ignored, throttled"},
		{http.MethodPost, "faults", `{"rules": [{"kind": "eror"}]}`, 400, `no kind`},
		{http.MethodPost, "faults", `{"rules": [{"kind": "error", "colour": 1}]}`, 400, "colour"},
		{http.MethodPost, "faults", `{"random": 1, "seed": 2}`, 400, "leave seed and rules out"},
		{http.MethodPost, "faults", `{"tables": true}`, 400, "random alone"},
		{http.MethodGet, "nothing", "", 404, "no GET /emulator/nothing"},
		{http.MethodDelete, "state", "", 404, "DELETE"},
	} {
		status, answer := askControl(t, e, tt.method, tt.path, tt.body)
		if status != tt.status || !strings.Contains(answer, tt.says) || !json.Valid([]byte(answer)) {
			t.Errorf("%s %s %s: %d %s, want %d and %q", tt.method, tt.path, tt.body, status, answer, tt.status, tt.says)
		}
	}
	if status, answer := askControl(t, e, http.MethodGet, "switches", ""); status != http.StatusOK || !strings.Contains(answer, `"epoch-rises": false`) {
		t.Errorf("after all that: %d %s", status, answer)
	}
	if status, answer := askControl(t, e, http.MethodGet, "faults", ""); status != http.StatusOK || !strings.Contains(answer, `"rules": []`) {
		t.Errorf("after all that: %d %s", status, answer)
	}
}

func TestAPageOfAnotherOriginMayNotCommand(t *testing.T) {
	e := newEmulator(t, Config{})
	r := httptest.NewRequest(http.MethodPost, "/emulator/reset", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	e.Control().ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("status %d", w.Code)
	}
}

func TestTheStateIsTold(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	mustWrite(t, e, putOf("a", 1))
	id := newTunnelOf(t, e, tunnelpb.TunnelType_BASE_AND_STREAM, nil)
	mustWrite(t, e, putOf("a", 2))
	client := connect(t, e, id, 10)
	at, _ := token(t, e, id, client, "BaseData_0000")
	read(t, e, id, client, "BaseData_0000", at)
	if err := commit(t, e, id, client, "BaseData_0000", finished, 1); err != nil {
		t.Fatal(err)
	}
	status, answer := askControl(t, e, http.MethodGet, "state", "")
	var got State
	if err := json.NewDecoder(strings.NewReader(answer)).Decode(&got); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s: %v", status, answer, err)
	}
	if len(got.Tunnels) != 1 || len(got.Tunnels[0].Clients) != 1 || got.Tunnels[0].Clients[0].ID != client || got.Tunnels[0].Clients[0].Timeout != 10 {
		t.Fatalf("%s", answer)
	}
	got.Now, got.Tunnels[0].Clients = time.Time{}, nil
	want := State{
		Instance: "local",
		Tables:   []TableState{{Name: "t", Rows: 1, StreamHours: 168, Partitions: []PartitionState{{Parent: -1, Records: 1}}}},
		Tunnels: []TunnelState{{
			Table: "t", Name: "feed", ID: id, Type: "BaseAndStream", Stage: "ProcessBaseData", Remaining: 1,
			Channels: []ChannelState{
				{ID: "BaseData_0000", Type: "BaseData", Status: "OPEN", Version: 1, Client: client, Records: 1, Committed: 1, Sequence: 1},
				{ID: "Stream_0000", Type: "Stream", Status: "WAIT", Records: 1},
			},
		}},
		Faults: Faults{Rules: []Fault{}},
		Counts: map[FaultKind]int64{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	empty := newEmulator(t, Config{})
	if _, answer := askControl(t, empty, http.MethodGet, "state", ""); !strings.Contains(answer, `"tables": []`) {
		t.Errorf("%s", answer)
	}
}
