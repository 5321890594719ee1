package emulator

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// asServer makes the test's binary serve an emulator with its data in the
// directory that follows, on the address that it prints.
const asServer = "CULVERT_EMULATOR_TEST_AS_SERVER"

func serve(dir string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	e, err := New(Config{Data: dir, PageRecords: 7})
	if err != nil {
		fail(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	fmt.Println(l.Addr())
	fail(http.Serve(l, e))
}

// server is an emulator in a process of its own.
type server struct {
	process *exec.Cmd
	client  *http.Client
	address string
}

func startServer(t *testing.T, dir string) *server {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{process: exec.Command(self), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	s.process.Env = append(os.Environ(), asServer+"="+dir)
	s.process.Stderr = os.Stderr
	out, err := s.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server printed %q: %v", line, err)
	}
	s.address = strings.TrimSpace(line)
	return s
}

// kill is kill -9. It may be called again.
func (s *server) kill() {
	_ = s.process.Process.Kill() // it may be dead
	_ = s.process.Wait()
	s.client.CloseIdleConnections()
}

// errDead is of a call that the server did not answer.
var errDead = errors.New("no answer")

// send makes a call. An error of the service is of type *Error.
func send[A any, M interface {
	*A
	proto.Message
}](t *testing.T, s *server, path string, q proto.Message) (*A, error) {
	body, err := proto.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	r := request(path, "local", "id", "secret", body).WithContext(context.Background())
	r.URL.Scheme, r.URL.Host, r.RequestURI = "http", s.address, ""
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer, err := s.client.Do(r)
	if err != nil {
		return nil, errDead
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, errDead
	}
	if answer.StatusCode != http.StatusOK {
		var fail tablepb.Error // the tunnel API's has the same fields
		if err := proto.Unmarshal(b, &fail); err != nil {
			return nil, err
		}
		return nil, &Error{Code: fail.GetCode(), Message: fail.GetMessage()}
	}
	a := new(A)
	return a, proto.Unmarshal(b, M(a))
}

func mustSend[A any, M interface {
	*A
	proto.Message
}](t *testing.T, s *server, path string, q proto.Message) *A {
	t.Helper()
	a, err := send[A, M](t, s, path, q)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return a
}

// witness is what was acknowledged over all lives of a server.
type witness struct {
	asked, kept [4]int64 // by writer, who counts up its key
	tunnel      string
	seen        []string // records, in their order
	tokens      []string // before each of seen, where a page began; the last is after all
	checkpoint  string
	sequence    int64
}

func putCount(key string, n int64) *tablepb.PutRowRequest {
	return &tablepb.PutRowRequest{
		TableName: new("t"), Row: plainbuffer.Append(nil, new(putOf(key, n).Row)),
		Condition: &tablepb.Condition{RowExistence: tablepb.RowExistenceExpectation_IGNORE.Enum()},
	}
}

// live has writers count up their keys, each with a call of its own, and a
// reader that reads and commits, until the server dies after so many calls.
func (w *witness) live(t *testing.T, s *server, calls int64) {
	var answered atomic.Int64
	count := func() {
		if answered.Add(1) == calls {
			_ = s.process.Process.Kill()
		}
	}
	var all sync.WaitGroup
	for i := range w.asked {
		all.Go(func() {
			for {
				w.asked[i] = w.kept[i] + 1
				_, err := send[tablepb.PutRowResponse](t, s, "/PutRow", putCount(fmt.Sprint("key", i), w.asked[i]))
				if errors.Is(err, errDead) {
					return
				}
				if err != nil {
					t.Errorf("a write failed: %v", err)
					return
				}
				w.kept[i] = w.asked[i]
				count()
			}
		})
	}
	all.Go(func() { w.read(t, s, count) })
	all.Wait()
}

const onlyChannel = "Stream_0000"

func (w *witness) read(t *testing.T, s *server, count func()) {
	failed := func(what string, err error) bool {
		if err != nil && !errors.Is(err, errDead) {
			t.Errorf("%s failed: %v", what, err)
		}
		return err != nil
	}
	c, err := send[tunnelpb.ConnectResponse](t, s, "/tunnel/connect", &tunnelpb.ConnectRequest{TunnelId: &w.tunnel})
	if failed("connecting", err) {
		return
	}
	got, err := send[tunnelpb.GetCheckpointResponse](t, s, "/tunnel/getcheckpoint", &tunnelpb.GetCheckpointRequest{
		TunnelId: &w.tunnel, ClientId: c.ClientId, ChannelId: new(onlyChannel),
	})
	if failed("reading the checkpoint", err) {
		return
	}
	// The last commit may have been kept, and its answer lost.
	if n := got.GetSequenceNumber(); n != w.sequence && n != w.sequence+1 || n == w.sequence && got.GetCheckpoint() != w.checkpoint && n > 0 {
		t.Errorf("the checkpoint is %s, %d; committed was %s, %d", got.GetCheckpoint(), n, w.checkpoint, w.sequence)
	}
	at, sequence := got.GetCheckpoint(), got.GetSequenceNumber()
	place := 0
	for ; place < len(w.tokens) && w.tokens[place] != at; place++ {
	}
	if len(w.tokens) == 0 {
		w.tokens = []string{at}
	} else if place == len(w.tokens) {
		t.Errorf("the checkpoint %s is none that was told before", at)
		return
	}
	for n := 0; ; n++ {
		a, err := send[tunnelpb.ReadRecordsResponse](t, s, "/tunnel/readrecords", &tunnelpb.ReadRecordsRequest{
			TunnelId: &w.tunnel, ClientId: c.ClientId, ChannelId: new(onlyChannel), Token: &at,
		})
		if failed("reading", err) {
			return
		}
		count()
		// What was seen in an earlier life is there, and the same.
		for _, r := range a.GetRecords() {
			record := string(r.GetRecord())
			if place < len(w.seen) && w.seen[place] != record {
				t.Errorf("the record %d is another one than before the restart", place)
				return
			} else if place == len(w.seen) {
				w.seen = append(w.seen, record)
				w.tokens = append(w.tokens, "")
			}
			place++
		}
		at = a.GetNextToken()
		w.tokens[place] = at
		if n%3 != 0 || len(a.GetRecords()) == 0 {
			continue
		}
		_, err = send[tunnelpb.CheckpointResponse](t, s, "/tunnel/checkpoint", &tunnelpb.CheckpointRequest{
			TunnelId: &w.tunnel, ClientId: c.ClientId, ChannelId: new(onlyChannel), Checkpoint: &at, SequenceNumber: new(sequence + 1),
		})
		if failed("committing", err) {
			return
		}
		sequence++
		w.checkpoint, w.sequence = at, sequence
		count()
	}
}

// check compares what a server has after a restart with what was acknowledged.
func (w *witness) check(t *testing.T, s *server) {
	t.Helper()
	for i := range w.kept {
		a := mustSend[tablepb.GetRowResponse](t, s, "/GetRow", &tablepb.GetRowRequest{
			TableName: new("t"), PrimaryKey: plainbuffer.Append(nil, &plainbuffer.Row{Key: keyOf(fmt.Sprint("key", i))}), MaxVersions: new(int32(1)),
		})
		n := int64(0)
		if len(a.GetRow()) > 0 {
			var r plainbuffer.Row
			if err := r.Decode(a.GetRow()); err != nil {
				t.Fatal(err)
			}
			n = r.Columns[0].Value.Integer()
		}
		if n < w.kept[i] || n > w.asked[i] {
			t.Errorf("key%d is %d after the restart: %d was acknowledged, %d asked for", i, n, w.kept[i], w.asked[i])
		}
		w.kept[i] = n
	}
}

func TestNothingThatWasAnsweredIsLostToKill9(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir)
	mustSend[tablepb.CreateTableResponse](t, s, "/CreateTable", &tablepb.CreateTableRequest{
		TableMeta: &tablepb.TableMeta{TableName: new("t"), PrimaryKey: []*tablepb.PrimaryKeySchema{
			{Name: new("k"), Type: tablepb.PrimaryKeyType_STRING.Enum()},
		}},
		ReservedThroughput: &tablepb.ReservedThroughput{CapacityUnit: capacityUnit(0, 0)},
	})
	w := &witness{tunnel: mustSend[tunnelpb.CreateTunnelResponse](t, s, "/tunnel/create", &tunnelpb.CreateTunnelRequest{Tunnel: &tunnelpb.Tunnel{
		TableName: new("t"), TunnelName: new("feed"), TunnelType: tunnelpb.TunnelType_STREAM.Enum(),
	}}).GetTunnelId()}
	for range 5 {
		w.live(t, s, 1+rand.Int64N(300))
		s.kill()
		if s = startServer(t, dir); t.Failed() {
			return
		}
		w.check(t, s)
	}
	// In the end every count of every key is in the log, once and in order.
	w.live(t, s, 300)
	s.kill()
	s = startServer(t, dir)
	w.check(t, s)
	c := mustSend[tunnelpb.ConnectResponse](t, s, "/tunnel/connect", &tunnelpb.ConnectRequest{TunnelId: &w.tunnel})
	var counts [4]int64
	for at := w.tokens[0]; ; {
		a := mustSend[tunnelpb.ReadRecordsResponse](t, s, "/tunnel/readrecords", &tunnelpb.ReadRecordsRequest{
			TunnelId: &w.tunnel, ClientId: c.ClientId, ChannelId: new(onlyChannel), Token: &at,
		})
		for _, r := range a.GetRecords() {
			row := decodeRow(t, r)
			var i int
			if _, err := fmt.Sscanf(string(row.Key[0].Value.Bytes()), "key%d", &i); err != nil {
				t.Fatal(err)
			}
			if n := row.Columns[0].Value.Integer(); n != counts[i]+1 {
				t.Fatalf("in the log, key%d is %d after %d", i, n, counts[i])
			}
			counts[i]++
		}
		if at = a.GetNextToken(); !a.GetMayMoreRecord() {
			break
		}
	}
	if counts != w.kept {
		t.Errorf("the log ends with %v, the rows are %v", counts, w.kept)
	}
}
