package emulator

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/internal/sign"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(asServer); dir != "" {
		serve(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func newEmulator(t testing.TB, c Config) *Emulator {
	t.Helper()
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// request makes a call's request, with the headers of a client that has these
// credentials.
func request(path, instance, id, secret string, body []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	api := sign.Table
	if strings.HasPrefix(path, "/tunnel/") {
		api = sign.Tunnel
	}
	sum := md5.Sum(body)
	r.Header.Set(sign.APIVersion, string(api))
	r.Header.Set(sign.InstanceName, instance)
	r.Header.Set(sign.ContentMD5, base64.StdEncoding.EncodeToString(sum[:]))
	r.Header.Set(sign.Date, time.Now().UTC().Format(sign.DateLayout))
	r.Header.Set(sign.AccessKeyID, id)
	r.Header.Set(sign.Signature, sign.Request(api, secret, path, r.Header))
	return r
}

// call makes a call on the wire. The error is the service's.
func call[A any, M interface {
	*A
	proto.Message
}](t testing.TB, e *Emulator, path string, q proto.Message) (*A, error) {
	t.Helper()
	body, err := proto.MarshalOptions{AllowPartial: true}.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, request(path, e.config.Instance, e.config.AccessKeyID, e.config.AccessKeySecret, body))
	if w.Header().Get(sign.RequestID) == "" {
		t.Errorf("the answer of %s has no request id", path)
	}
	if w.Code != http.StatusOK {
		return nil, wireError(t, path, w)
	}
	a := new(A)
	if err := proto.Unmarshal(w.Body.Bytes(), M(a)); err != nil {
		t.Fatalf("the answer of %s: %v", path, err)
	}
	return a, nil
}

// wireError reads the error out of an answer.
func wireError(t testing.TB, path string, w *httptest.ResponseRecorder) *Error {
	t.Helper()
	if strings.HasPrefix(path, "/tunnel/") {
		var m tunnelpb.Error
		if err := proto.Unmarshal(w.Body.Bytes(), &m); err != nil {
			t.Fatalf("the error of %s: %v", path, err)
		}
		return &Error{Code: m.GetCode(), Message: m.GetMessage()}
	}
	var m tablepb.Error
	if err := proto.Unmarshal(w.Body.Bytes(), &m); err != nil {
		t.Fatalf("the error of %s: %v", path, err)
	}
	return &Error{Code: m.GetCode(), Message: m.GetMessage()}
}

// must makes a call that has to succeed.
func must[A any, M interface {
	*A
	proto.Message
}](t testing.TB, e *Emulator, path string, q proto.Message) *A {
	t.Helper()
	a, err := call[A, M](t, e, path, q)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return a
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code != code {
		t.Errorf("error %v, want %s", err, code)
	}
}

// newTableOf makes a table with one string key column "k".
func newTableOf(t testing.TB, e *Emulator, partitions int) {
	t.Helper()
	err := e.CreateTable(TableSpec{Name: "t", Key: []KeyColumn{{Name: "k", Type: plainbuffer.String}}, Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
}

func keyOf(k string) []plainbuffer.Cell {
	return []plainbuffer.Cell{{Name: []byte("k"), Value: plainbuffer.StringValue(k)}}
}

func putOf(k string, n int64) Change {
	return Change{tunnelpb.ActionType_PUT_ROW, plainbuffer.Row{
		Key:     keyOf(k),
		Columns: []plainbuffer.Cell{{Name: []byte("n"), Value: plainbuffer.IntegerValue(n)}},
	}}
}

func mustWrite(t testing.TB, e *Emulator, c Change) {
	t.Helper()
	if err := e.Write("t", c); err != nil {
		t.Fatal(err)
	}
}

func newTunnelOf(t testing.TB, e *Emulator, kind tunnelpb.TunnelType, config *tunnelpb.StreamTunnelConfig) string {
	t.Helper()
	return must[tunnelpb.CreateTunnelResponse](t, e, "/tunnel/create", &tunnelpb.CreateTunnelRequest{Tunnel: &tunnelpb.Tunnel{
		TableName: new("t"), TunnelName: new("feed"), TunnelType: kind.Enum(), StreamTunnelConfig: config,
	}}).GetTunnelId()
}

func connect(t testing.TB, e *Emulator, tunnel string, timeout int64) string {
	t.Helper()
	return must[tunnelpb.ConnectResponse](t, e, "/tunnel/connect", &tunnelpb.ConnectRequest{
		TunnelId: &tunnel, ClientConfig: &tunnelpb.ClientConfig{Timeout: &timeout},
	}).GetClientId()
}

// beat is a heartbeat that reports channels; it gives what the server answers.
func beat(t testing.TB, e *Emulator, tunnel, client string, channels ...*tunnelpb.Channel) []*tunnelpb.Channel {
	t.Helper()
	return must[tunnelpb.HeartbeatResponse](t, e, "/tunnel/heartbeat", &tunnelpb.HeartbeatRequest{
		TunnelId: &tunnel, ClientId: &client, Channels: channels,
	}).GetChannels()
}

func report(ch *tunnelpb.Channel, status tunnelpb.ChannelStatus) *tunnelpb.Channel {
	return &tunnelpb.Channel{ChannelId: ch.ChannelId, Version: new(ch.GetVersion() + 1), Status: status.Enum()}
}

func token(t testing.TB, e *Emulator, tunnel, client, channel string) (string, int64) {
	t.Helper()
	a := must[tunnelpb.GetCheckpointResponse](t, e, "/tunnel/getcheckpoint", &tunnelpb.GetCheckpointRequest{
		TunnelId: &tunnel, ClientId: &client, ChannelId: &channel,
	})
	return a.GetCheckpoint(), a.GetSequenceNumber()
}

func read(t testing.TB, e *Emulator, tunnel, client, channel, token string) *tunnelpb.ReadRecordsResponse {
	t.Helper()
	return must[tunnelpb.ReadRecordsResponse](t, e, "/tunnel/readrecords", &tunnelpb.ReadRecordsRequest{
		TunnelId: &tunnel, ClientId: &client, ChannelId: &channel, Token: &token,
	})
}

func commit(t testing.TB, e *Emulator, tunnel, client, channel, token string, sequence int64) error {
	t.Helper()
	_, err := call[tunnelpb.CheckpointResponse](t, e, "/tunnel/checkpoint", &tunnelpb.CheckpointRequest{
		TunnelId: &tunnel, ClientId: &client, ChannelId: &channel, Checkpoint: &token, SequenceNumber: &sequence,
	})
	return err
}

// decodeRow decodes a record's row.
func decodeRow(t testing.TB, r *tunnelpb.Record) plainbuffer.Row {
	t.Helper()
	var row plainbuffer.Row
	if err := row.Decode(r.GetRecord()); err != nil {
		t.Fatal(err)
	}
	return row
}
