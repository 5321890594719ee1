package tunnel

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/culvertio/culvert/tunnel/internal/sign"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// exchanged is one call: what it sends, and what it makes of the answer.
type exchanged struct {
	name   string
	path   string
	call   func(ctx context.Context, c *Client) (any, error)
	sent   proto.Message // what the server must see
	answer proto.Message
	want   any
}

func exchanges() []exchanged {
	at := time.Unix(1_700_000_000, 123)
	ns := at.UnixNano()
	info := &tunnelpb.TunnelInfo{
		TunnelId: new("id-1"), TunnelType: new("BaseAndStream"), TableName: new("orders"),
		InstanceName: new("local"), StreamId: new("s"), Stage: new("ProcessStream"),
		Expired: new(true), TunnelName: new("feed"), Public: new(true), CreateTime: &ns,
		StreamTunnelConfig: &tunnelpb.StreamTunnelConfig{
			Flag: tunnelpb.StartOffsetFlag_EARLIEST.Enum(), EndOffset: new(uint64(ns)),
		},
	}
	wantInfo := TunnelInfo{
		ID: "id-1", Name: "feed", Type: BaseAndStream, Table: "orders", Instance: "local", StreamID: "s",
		Stage: "ProcessStream", Expired: true, Public: true, CreatedAt: at,
		Stream: StreamOptions{Earliest: true, End: at},
	}
	rpo := &tunnelpb.GetRpoResponse{
		TunnelId:       new("id-1"),
		RpoInfos:       []byte(`{"c":{"ch":{"ChannelTyp":"Stream","Status":"OPEN","TotalCount":9007199254740993,"AccessTime":2,"RpoTime":3}}}`),
		TunnelRpoInfos: []byte(`{"Stream":{"Status":"OPEN","TotalCount":1,"AccessTime":2,"RpoTime":3}}`),
	}
	wantRpo := GetRpoResponse{
		TunnelID: "id-1",
		Clients:  map[string]map[string]Rpo{"c": {"ch": {ChannelType: "Stream", Status: "OPEN", TotalCount: 9007199254740993, AccessTime: 2, RpoTime: 3}}},
		Types:    map[string]Rpo{"Stream": {Status: "OPEN", TotalCount: 1, AccessTime: 2, RpoTime: 3}},
	}
	held := []*tunnelpb.Channel{
		{ChannelId: new("a"), Version: new(int64(1)), Status: tunnelpb.ChannelStatus_OPEN.Enum()},
		{ChannelId: new("b"), Version: new(int64(7)), Status: tunnelpb.ChannelStatus_TERMINATED.Enum()},
	}
	holding := []HeartbeatChannel{{"a", 1, StatusOpen}, {"b", 7, StatusTerminated}}
	return []exchanged{
		{
			"CreateTunnel", "/tunnel/create",
			func(ctx context.Context, c *Client) (any, error) {
				return c.CreateTunnel(ctx, CreateTunnelRequest{Table: "orders", Tunnel: "feed", Type: BaseAndStream})
			},
			&tunnelpb.CreateTunnelRequest{Tunnel: &tunnelpb.Tunnel{TableName: new("orders"), TunnelName: new("feed"), TunnelType: tunnelpb.TunnelType_BASE_AND_STREAM.Enum()}},
			&tunnelpb.CreateTunnelResponse{TunnelId: new("id-1")},
			CreateTunnelResponse{TunnelID: "id-1"},
		},
		{
			"CreateTunnel, between two times", "/tunnel/create",
			func(ctx context.Context, c *Client) (any, error) {
				return c.CreateTunnel(ctx, CreateTunnelRequest{Table: "orders", Tunnel: "feed", Type: Stream, Stream: StreamOptions{Start: at, End: at.Add(1)}})
			},
			&tunnelpb.CreateTunnelRequest{Tunnel: &tunnelpb.Tunnel{
				TableName: new("orders"), TunnelName: new("feed"), TunnelType: tunnelpb.TunnelType_STREAM.Enum(),
				StreamTunnelConfig: &tunnelpb.StreamTunnelConfig{StartOffset: new(uint64(ns)), EndOffset: new(uint64(ns + 1))},
			}},
			&tunnelpb.CreateTunnelResponse{TunnelId: new("id-1")},
			CreateTunnelResponse{TunnelID: "id-1"},
		},
		{
			"CreateTunnel, from the earliest", "/tunnel/create",
			func(ctx context.Context, c *Client) (any, error) {
				return c.CreateTunnel(ctx, CreateTunnelRequest{Table: "orders", Tunnel: "feed", Type: Stream, Stream: StreamOptions{Earliest: true}})
			},
			&tunnelpb.CreateTunnelRequest{Tunnel: &tunnelpb.Tunnel{
				TableName: new("orders"), TunnelName: new("feed"), TunnelType: tunnelpb.TunnelType_STREAM.Enum(),
				StreamTunnelConfig: &tunnelpb.StreamTunnelConfig{Flag: tunnelpb.StartOffsetFlag_EARLIEST.Enum()},
			}},
			&tunnelpb.CreateTunnelResponse{TunnelId: new("id-1")},
			CreateTunnelResponse{TunnelID: "id-1"},
		},
		{
			"CreateTunnel, up to a time", "/tunnel/create",
			func(ctx context.Context, c *Client) (any, error) {
				return c.CreateTunnel(ctx, CreateTunnelRequest{Table: "orders", Tunnel: "feed", Type: Stream, Stream: StreamOptions{End: at}})
			},
			&tunnelpb.CreateTunnelRequest{Tunnel: &tunnelpb.Tunnel{
				TableName: new("orders"), TunnelName: new("feed"), TunnelType: tunnelpb.TunnelType_STREAM.Enum(),
				StreamTunnelConfig: &tunnelpb.StreamTunnelConfig{Flag: tunnelpb.StartOffsetFlag_LATEST.Enum(), EndOffset: new(uint64(ns))},
			}},
			&tunnelpb.CreateTunnelResponse{TunnelId: new("id-1")},
			CreateTunnelResponse{TunnelID: "id-1"},
		},
		{
			"DeleteTunnel", "/tunnel/delete",
			func(ctx context.Context, c *Client) (any, error) {
				return nil, c.DeleteTunnel(ctx, DeleteTunnelRequest{Table: "orders", Tunnel: "feed"})
			},
			&tunnelpb.DeleteTunnelRequest{TableName: new("orders"), TunnelName: new("feed")},
			&tunnelpb.DeleteTunnelResponse{}, nil,
		},
		{
			"ListTunnel", "/tunnel/list",
			func(ctx context.Context, c *Client) (any, error) {
				return c.ListTunnel(ctx, ListTunnelRequest{Table: "orders"})
			},
			&tunnelpb.ListTunnelRequest{TableName: new("orders")},
			&tunnelpb.ListTunnelResponse{Tunnels: []*tunnelpb.TunnelInfo{info}},
			ListTunnelResponse{Tunnels: []TunnelInfo{wantInfo}},
		},
		{
			"DescribeTunnel", "/tunnel/describe",
			func(ctx context.Context, c *Client) (any, error) {
				return c.DescribeTunnel(ctx, DescribeTunnelRequest{Table: "orders", Tunnel: "feed"})
			},
			&tunnelpb.DescribeTunnelRequest{TableName: new("orders"), TunnelName: new("feed")},
			&tunnelpb.DescribeTunnelResponse{Tunnel: info, TunnelRpo: &ns, Channels: []*tunnelpb.ChannelInfo{
				{ChannelId: new("ch"), ChannelType: new("Stream"), ChannelStatus: new("OPEN"), ClientId: new("c"), ChannelRpo: &ns, ChannelCount: new(int64(5))},
				{ChannelId: new("waiting")},
			}},
			DescribeTunnelResponse{Tunnel: wantInfo, Consumed: at, Channels: []ChannelInfo{
				{ID: "ch", Type: "Stream", Status: "OPEN", ClientID: "c", Consumed: at, Count: 5},
				{ID: "waiting"},
			}},
		},
		{
			"GetRpo", "/tunnel/getrpo",
			func(ctx context.Context, c *Client) (any, error) {
				return c.GetRpo(ctx, GetRpoRequest{TunnelID: "id-1", Limit: 5})
			},
			&tunnelpb.GetRpoRequest{TunnelId: new("id-1"), Limit: new(int32(5))}, rpo, wantRpo,
		},
		{
			"GetRpoByOffset", "/tunnel/getrpobyoffset",
			func(ctx context.Context, c *Client) (any, error) {
				return c.GetRpoByOffset(ctx, GetRpoRequest{TunnelID: "id-1"})
			},
			&tunnelpb.GetRpoRequest{TunnelId: new("id-1")}, rpo, wantRpo,
		},
		{
			"Schedule", "/tunnel/schedule",
			func(ctx context.Context, c *Client) (any, error) {
				return nil, c.Schedule(ctx, ScheduleRequest{TunnelID: "id-1", Channels: holding})
			},
			&tunnelpb.ScheduleRequest{TunnelId: new("id-1"), Channels: held},
			&tunnelpb.ScheduleResponse{}, nil,
		},
		{
			"Connect", "/tunnel/connect",
			func(ctx context.Context, c *Client) (any, error) {
				return c.Connect(ctx, ConnectRequest{TunnelID: "id-1", Timeout: 1500 * time.Millisecond, ClientTag: "host"})
			},
			&tunnelpb.ConnectRequest{TunnelId: new("id-1"), ClientConfig: &tunnelpb.ClientConfig{Timeout: new(int64(2)), ClientTag: new("host")}},
			&tunnelpb.ConnectResponse{ClientId: new("c")},
			ConnectResponse{ClientID: "c"},
		},
		{
			"Heartbeat", "/tunnel/heartbeat",
			func(ctx context.Context, c *Client) (any, error) {
				return c.Heartbeat(ctx, HeartbeatRequest{TunnelID: "id-1", ClientID: "c", Channels: holding})
			},
			&tunnelpb.HeartbeatRequest{TunnelId: new("id-1"), ClientId: new("c"), Channels: held},
			&tunnelpb.HeartbeatResponse{Channels: held},
			HeartbeatResponse{Channels: holding},
		},
		{
			"Shutdown", "/tunnel/shutdown",
			func(ctx context.Context, c *Client) (any, error) {
				return nil, c.Shutdown(ctx, ShutdownRequest{TunnelID: "id-1", ClientID: "c"})
			},
			&tunnelpb.ShutdownRequest{TunnelId: new("id-1"), ClientId: new("c")},
			&tunnelpb.ShutdownResponse{}, nil,
		},
		{
			"GetCheckpoint", "/tunnel/getcheckpoint",
			func(ctx context.Context, c *Client) (any, error) {
				return c.GetCheckpoint(ctx, GetCheckpointRequest{TunnelID: "id-1", ClientID: "c", ChannelID: "ch"})
			},
			&tunnelpb.GetCheckpointRequest{TunnelId: new("id-1"), ClientId: new("c"), ChannelId: new("ch")},
			&tunnelpb.GetCheckpointResponse{Checkpoint: new("token"), SequenceNumber: new(int64(41))},
			GetCheckpointResponse{Checkpoint: "token", SequenceNumber: 41},
		},
		{
			"Checkpoint", "/tunnel/checkpoint",
			func(ctx context.Context, c *Client) (any, error) {
				return nil, c.Checkpoint(ctx, CheckpointRequest{TunnelID: "id-1", ClientID: "c", ChannelID: "ch", Checkpoint: "token", SequenceNumber: 42})
			},
			&tunnelpb.CheckpointRequest{TunnelId: new("id-1"), ClientId: new("c"), ChannelId: new("ch"), Checkpoint: new("token"), SequenceNumber: new(int64(42))},
			&tunnelpb.CheckpointResponse{}, nil,
		},
		{
			"ReadRecords", "/tunnel/readrecords",
			func(ctx context.Context, c *Client) (any, error) {
				return c.ReadRecords(ctx, ReadRecordsRequest{TunnelID: "id-1", ClientID: "c", ChannelID: "ch", Token: "token"})
			},
			&tunnelpb.ReadRecordsRequest{TunnelId: new("id-1"), ClientId: new("c"), ChannelId: new("ch"), Token: new("token")},
			&tunnelpb.ReadRecordsResponse{NextToken: new("next"), MayMoreRecord: new(true), Records: []*tunnelpb.Record{
				{ActionType: tunnelpb.ActionType_DELETE_ROW.Enum(), Record: []byte("row"), OriginRecord: []byte("before")},
			}},
			&Page{NextToken: "next", More: true, Size: 25, Records: []Record{{Action: DeleteRow, Row: []byte("row"), Origin: []byte("before")}}},
		},
	}
}

// everyCall runs f for each call, as a subtest in a bubble.
func everyCall(t *testing.T, f func(t *testing.T, x exchanged)) {
	for _, x := range exchanges() {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, x) })
		})
	}
}

var uuid4 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestEveryCallSpeaksTheProtocol(t *testing.T) {
	everyCall(t, func(t *testing.T, x exchanged) {
		// The bubble's clock begins at a whole second.
		time.Sleep(7 * time.Millisecond)
		client, _ := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			body := consume(r)
			if r.Method != http.MethodPost || r.URL.Path != x.path {
				t.Errorf("%s %s, want POST %s", r.Method, r.URL.Path, x.path)
			}
			sum := md5.Sum(body)
			for name, want := range map[string]string{
				"x-ots-date":         "2000-01-01T00:00:00.007Z",
				"x-ots-apiversion":   "2018-04-01",
				"x-ots-accesskeyid":  "LTAI5t",
				"x-ots-instancename": "local",
				"x-ots-contentmd5":   base64.StdEncoding.EncodeToString(sum[:]),
				"x-ots-ststoken":     "t0ken",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if id := r.Header.Get("x-ots-trace-id"); !uuid4.MatchString(id) {
				t.Errorf("trace id %q is no UUID", id)
			}
			if agent := r.UserAgent(); !strings.HasPrefix(agent, "culvert/") {
				t.Errorf("user agent %q", agent)
			}
			if !sign.Verify(sign.Tunnel, "s3cr3t", r.URL.Path, r.Header) {
				t.Error("the signature is wrong")
			}
			got := x.sent.ProtoReflect().New().Interface()
			if err := proto.Unmarshal(body, got); err != nil {
				t.Errorf("request: %v", err)
			}
			if !proto.Equal(got, x.sent) {
				t.Errorf("sent\n%s\nwant\n%s", prototext.Format(got), prototext.Format(x.sent))
			}
			write(t, w, http.StatusOK, x.answer)
		}, func(cfg *ClientConfig) { cfg.Credentials = StaticCredentials("LTAI5t", "s3cr3t", "t0ken") })

		got, err := x.call(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(x.want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// decode reads the request into m.
func decode(t *testing.T, r *http.Request, m proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(consume(r), m); err != nil {
		t.Errorf("request: %v", err)
	}
}

// reply writes a body. A client that has left makes it fail, which is
// nothing to the server.
func reply[T []byte | string](w io.Writer, body T) { _, _ = w.Write([]byte(body)) }

// write answers with a message.
func write(t *testing.T, w http.ResponseWriter, status int, m proto.Message) {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Error(err)
	}
	w.Header().Set("x-ots-requestid", "req-1")
	w.WriteHeader(status)
	reply(w, body)
}

// refuse answers with the service's Error.
func refuse(t *testing.T, w http.ResponseWriter, status int, code Code, message string) {
	t.Helper()
	write(t, w, status, &tunnelpb.Error{Code: new(string(code)), Message: &message})
}

func TestEveryCallReportsARefusalWithCodeAndIDs(t *testing.T) {
	everyCall(t, func(t *testing.T, x exchanged) {
		client, mem := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			consume(r)
			refuse(t, w, 400, CodeParameterInvalid, "no such tunnel")
		})
		_, err := x.call(t.Context(), client)
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Fatalf("%T: %v", err, err)
		}
		// What the request names, the error names.
		named := func(field protoreflect.Name) string {
			m := x.sent.ProtoReflect()
			if f := m.Descriptor().Fields().ByName(field); f != nil {
				return m.Get(f).String()
			}
			return ""
		}
		op, _, _ := strings.Cut(x.name, ",")
		want := &Error{
			Op: op, Code: CodeParameterInvalid, Message: "no such tunnel", HTTPStatus: 400, RequestID: "req-1",
			TunnelID: named("tunnel_id"), ClientID: named("client_id"), ChannelID: named("channel_id"), Hint: e.Hint,
		}
		if *e != *want {
			t.Errorf("got  %#v\nwant %#v", e, want)
		}
		if !strings.Contains(e.Hint, `"local"`) || !strings.Contains(e.Hint, "http://tunnel.test") {
			t.Errorf("the hint names neither instance nor endpoint: %s", e.Hint)
		}
		if !errors.Is(err, CodeParameterInvalid) || errors.Is(err, CodeTunnelExpired) {
			t.Error("errors.Is does not find the code")
		}
		if !Fatal(err) || Retryable(err) || e.MayHaveBeenApplied() {
			t.Errorf("fatal %v, retryable %v, may have been applied %v", Fatal(err), Retryable(err), e.MayHaveBeenApplied())
		}
		if mem.dialed() != 1 {
			t.Errorf("%d connections", mem.dialed())
		}
	})
}

func TestConnectionsAreReusedWhateverTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		client, mem := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			consume(r)
			n++
			switch n % 4 {
			case 0:
				write(t, w, 200, &tunnelpb.ListTunnelResponse{})
			case 1:
				refuse(t, w, 400, CodeTunnelExpired, "")
			case 2:
				http.Error(w, strings.Repeat("<html>", 15_000), http.StatusNotFound)
			case 3:
				reply(w, []byte{0xff, 0xff})
			}
		}, func(cfg *ClientConfig) { cfg.Retry.Other.Total = -1 })
		for range 40 {
			_, _ = client.ListTunnel(t.Context(), ListTunnelRequest{Table: "orders"})
		}
		if n != 40 || mem.dialed() != 1 {
			t.Errorf("%d calls over %d connections, want 40 over 1", n, mem.dialed())
		}
	})
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		client, _ := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			consume(r)
			calls++
			http.Redirect(w, r, "http://elsewhere.test/", http.StatusTemporaryRedirect)
		})
		_, err := client.ListTunnel(t.Context(), ListTunnelRequest{Table: "orders"})
		if calls != 1 || !errors.Is(err, CodeClientError) || Retryable(err) {
			t.Errorf("after %d calls: %v", calls, err)
		}
	})
}

func TestMistakesInTheConfigurationAreNamedAllAtOnce(t *testing.T) {
	_, err := NewClient(ClientConfig{
		Endpoint:       "ftp://host",
		Instance:       "two words",
		RequestTimeout: time.Hour,
		Retry: RetryConfig{
			Data:  RetrySchedule{First: time.Second, Max: time.Millisecond},
			Other: RetrySchedule{Max: time.Hour},
		},
	})
	for _, field := range []string{"Endpoint", "Instance", "RequestTimeout", "Retry.Data.First", "Retry.Other.Max"} {
		if err == nil || !strings.Contains(err.Error(), field+":") {
			t.Errorf("%s is not named in: %v", field, err)
		}
	}
}

func TestEndpoints(t *testing.T) {
	for endpoint, good := range map[string]bool{
		"https://shop.cn-hangzhou.ots.aliyuncs.com": true,
		"http://127.0.0.1:8087":                     true,
		"http://[::1]:8087/":                        true,
		"":                                          false,
		"127.0.0.1:8087":                            false,
		"localhost:8087":                            false,
		"http://":                                   false,
		"http://:8087":                              false,
		"http://host/path":                          false,
		"http://host?x=1":                           false,
		"http://host#x":                             false,
		"http://user:s3cr3t@host":                   false,
		"http://user:s3cr3t@ho st":                  false,
		"unix:///tmp/s":                             false,
	} {
		_, err := NewClient(ClientConfig{Endpoint: endpoint, Instance: "local"})
		if (err == nil) != good {
			t.Errorf("%q: %v", endpoint, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: the error tells the password: %v", endpoint, err)
		}
	}
}

func TestTheStandardClientTalksToARealServer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		consume(r)
		reply(w, pageBody(1000, 1000))
	}))
	defer srv.Close()
	client, err := NewClient(ClientConfig{Endpoint: srv.URL + "/", Instance: "local", Credentials: StaticCredentials("id", "secret", "")})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	page, err := client.ReadRecords(t.Context(), ReadRecordsRequest{TunnelID: "t", ClientID: "c", ChannelID: "ch", Token: "x"})
	if err != nil || len(page.Records) != 1000 {
		t.Errorf("%v, %v", page, err)
	}
}

func TestTypesAndStatesAreWrittenAsTheServiceWritesThem(t *testing.T) {
	for _, typ := range []TunnelType{BaseData, Stream, BaseAndStream} {
		if got, err := ParseTunnelType(typ.String()); got != typ || err != nil {
			t.Errorf("%v is read as %v, %v", typ, got, err)
		}
	}
	if got, err := ParseTunnelType("stream"); err == nil {
		t.Errorf("stream is read as %v", got)
	}
	// The official names, in the order of their numbers.
	for i, want := range []string{"ChannelStatus(0)", "OPEN", "CLOSING", "CLOSE", "TERMINATED", "ChannelStatus(5)"} {
		if got := ChannelStatus(i).String(); got != want {
			t.Errorf("state %d is written %s, want %s", i, got, want)
		}
	}
}

func TestAnRpoThatIsNoJSONIsMalformed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			consume(r)
			write(t, w, 200, &tunnelpb.GetRpoResponse{RpoInfos: []byte("{")})
		})
		got, err := client.GetRpo(t.Context(), GetRpoRequest{TunnelID: "id-1"})
		if !errors.Is(err, ErrMalformed) || !errors.Is(err, CodeClientError) {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
