package emulator

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/internal/sign"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

func TestARequestThatIsNotRightIsToldWhy(t *testing.T) {
	e := newEmulator(t, Config{Instance: "i", AccessKeyID: "id", AccessKeySecret: "s3cr3t"})
	signed := func(r *http.Request) *http.Request {
		api := sign.API(r.Header.Get(sign.APIVersion))
		r.Header.Set(sign.Signature, sign.Request(api, "s3cr3t", r.URL.Path, r.Header))
		return r
	}
	ok := func() *http.Request { return request("/ListTable", "i", "id", "s3cr3t", nil) }
	without := func(name string) *http.Request {
		r := ok()
		r.Header.Del(name)
		return r
	}
	with := func(name, value string) *http.Request {
		r := ok()
		r.Header.Set(name, value)
		return signed(r)
	}
	get := ok()
	get.Method = http.MethodGet
	for _, tt := range []struct {
		name    string
		request *http.Request
		status  int
		code    string
		says    string
	}{
		{"wrong secret", request("/ListTable", "i", "id", "other", nil), 403, "OTSAuthFailed", "Signature mismatch"},
		{"wrong secret, tunnel", request("/tunnel/list", "i", "id", "other", nil), 403, "OTSAuthFailed", "Signature mismatch"},
		{"wrong secret names the key", request("/ListTable", "i", "id", "other", nil), 403, "OTSAuthFailed", "AccessKeyID id"},
		{"unknown key", request("/ListTable", "i", "nobody", "s3cr3t", nil), 403, "OTSAuthFailed", "nobody"},
		{"wrong instance", request("/ListTable", "j", "id", "s3cr3t", nil), 403, "OTSAuthFailed", "The instance is not found"},
		{"no signature", without(sign.Signature), 400, "OTSMissingHeader", "x-ots-signature"},
		{"no date", without(sign.Date), 400, "OTSMissingHeader", "x-ots-date"},
		{"no instance", without(sign.InstanceName), 400, "OTSMissingHeader", "x-ots-instancename"},
		{"no MD5", without(sign.ContentMD5), 400, "OTSMissingHeader", "x-ots-contentmd5"},
		{"wrong MD5", with(sign.ContentMD5, "x"), 403, "OTSAuthFailed", "MD5"},
		{"wrong version", with(sign.APIVersion, "2014-08-08"), 400, "OTSParameterInvalid", "2014-08-08"},
		{"no date at all", with(sign.Date, "yesterday"), 400, "OTSParameterInvalid", "yesterday"},
		{"old date", with(sign.Date, "2014-06-07T14:25:40.000Z"), 403, "OTSAuthFailed", "Mismatch between system time"},
		{"any fraction", with(sign.Date, time.Now().UTC().Format("2006-01-02T15:04:05")+".11213Z"), 200, "", ""},
		{"compressed", with("x-ots-request-compress-type", "zlib"), 400, "OTSUnsupportOperation", "compress"},
		{"method", get, 405, "OTSMethodNotAllowed", "POST"},
		{"unknown call", request("/HelloWorld", "i", "id", "s3cr3t", nil), 400, "OTSUnsupportOperation", "HelloWorld"},
		{"unknown tunnel call", request("/tunnel/other", "i", "id", "s3cr3t", nil), 400, "OTSUnsupportOperation", "tunnel/other"},
		{"not protobuf", request("/DeleteTable", "i", "id", "s3cr3t", []byte("\xff\xff")), 400, "OTSParameterInvalid", "ProtoBuf"},
		{"a required field is missing", request("/DeleteTable", "i", "id", "s3cr3t", nil), 400, "OTSParameterInvalid", "table_name"},
		{"too large", request("/PutRow", "i", "id", "s3cr3t", make([]byte, maxBody+1)), 413, "OTSRequestBodyTooLarge", "8388608"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			e.ServeHTTP(w, tt.request)
			if w.Code != tt.status {
				t.Errorf("status %d, want %d", w.Code, tt.status)
			}
			if tt.code == "" {
				return
			}
			err := wireError(t, tt.request.URL.Path, w)
			if err.Code != tt.code || !strings.Contains(err.Message, tt.says) || strings.Contains(err.Message, "s3cr3t") {
				t.Errorf("%v, want %s and %q", err, tt.code, tt.says)
			}
		})
	}
}

// The table clients of other languages verify answers by these headers, those
// that refuse something too.
func TestTableAnswersAreSigned(t *testing.T) {
	e := newEmulator(t, Config{AccessKeyID: "id", AccessKeySecret: "s3cr3t"})
	newTableOf(t, e, 1)
	expecting, err := proto.Marshal(&tablepb.DeleteRowRequest{
		TableName:  new("t"),
		PrimaryKey: plainbuffer.Append(nil, &plainbuffer.Row{Key: keyOf("a")}),
		Condition:  &tablepb.Condition{RowExistence: tablepb.RowExistenceExpectation_EXPECT_EXIST.Enum()},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path   string
		id     string
		body   []byte
		status int
		signed bool
	}{
		{"/ListTable", "id", nil, http.StatusOK, true},
		{"/DeleteRow", "id", expecting, http.StatusForbidden, true},
		{"/DeleteRow", "id", nil, http.StatusBadRequest, true},
		{"/ListTable", "another", nil, http.StatusForbidden, false},
	} {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, request(tt.path, "local", tt.id, "s3cr3t", tt.body))
		h := w.Header()
		if w.Code != tt.status {
			t.Errorf("%s: status %d, want %d", tt.path, w.Code, tt.status)
		}
		sum := md5.Sum(w.Body.Bytes())
		if h.Get("x-ots-contentmd5") != base64.StdEncoding.EncodeToString(sum[:]) {
			t.Errorf("%s: the MD5 is not the body's", tt.path)
		}
		if at, err := time.Parse(sign.DateLayout, h.Get("x-ots-date")); err != nil || time.Since(at).Abs() > time.Minute {
			t.Errorf("%s: date %q", tt.path, h.Get("x-ots-date"))
		}
		text := ""
		for _, name := range []string{"x-ots-contentmd5", "x-ots-contenttype", "x-ots-date", "x-ots-requestid"} {
			if h.Get(name) == "" {
				t.Errorf("%s: %s is missing", tt.path, name)
			}
			text += name + ":" + h.Get(name) + "\n"
		}
		mac := hmac.New(sha1.New, []byte("s3cr3t"))
		mac.Write([]byte(text + tt.path))
		want := ""
		if tt.signed {
			want = "OTS id:" + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		}
		if h.Get("Authorization") != want {
			t.Errorf("%s: authorization %q, want %q", tt.path, h.Get("Authorization"), want)
		}
	}
}

func TestWithoutCredentialsAnySignatureWillDo(t *testing.T) {
	e := newEmulator(t, Config{})
	w := httptest.NewRecorder()
	r := request("/ListTable", "local", "any", "any", nil)
	r.Header.Del(sign.Date)
	e.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Errorf("status %d", w.Code)
	}
}

func TestAConfigurationOutOfBoundsIsRefused(t *testing.T) {
	for _, c := range []Config{
		{AccessKeyID: "id"}, {AccessKeySecret: "s3cr3t"}, {Partitions: 1025}, {Partitions: -1}, {ClientTimeout: time.Millisecond},
		{ClientTimeout: 25 * time.Hour}, {PageRecords: -1}, {PageRecords: 100_001}, {PageBytes: -1}, {PageBytes: 65 << 20},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

func TestAClosedEmulatorRefusesCalls(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	e.Close()
	_, err := call[tablepb.ListTableResponse](t, e, "/ListTable", &tablepb.ListTableRequest{})
	wantCode(t, err, "OTSServerUnavailable")
	_, err = call[tunnelpb.ListTunnelResponse](t, e, "/tunnel/list", &tunnelpb.ListTunnelRequest{})
	wantCode(t, err, "OTSTunnelServerUnavailable")
	wantCode(t, e.Write("t", putOf("a", 1)), "OTSServerUnavailable")
	wantCode(t, e.CreateTable(TableSpec{}), "OTSServerUnavailable")
}

// FuzzNoRequestPanics sends any body to any call of an emulator that has
// something to find.
func FuzzNoRequestPanics(f *testing.F) {
	fresh := func(t testing.TB) *Emulator {
		e := newEmulator(t, Config{})
		newTableOf(t, e, 2)
		mustWrite(t, e, putOf("a", 1))
		return e
	}
	paths := slices.Sorted(maps.Keys(fresh(f).routes))
	row := plainbuffer.Append(nil, &plainbuffer.Row{Key: keyOf("a")})
	ignore := &tablepb.Condition{RowExistence: tablepb.RowExistenceExpectation_IGNORE.Enum()}
	filter := marshal(f, filterOf(f, comparisonOf(f, "n", tablepb.ComparatorType_CT_EQUAL, plainbuffer.IntegerValue(1))))
	increment := plainbuffer.Append(nil, &plainbuffer.Row{Key: keyOf("a"), Columns: []plainbuffer.Cell{
		{Name: []byte("n"), Op: plainbuffer.Increment, Value: plainbuffer.IntegerValue(1)},
	}})
	returning := &tablepb.ReturnContent{ReturnType: tablepb.ReturnType_RT_AFTER_MODIFY.Enum(), ReturnColumnNames: []string{"n"}}
	for i, path := range paths {
		for _, q := range []proto.Message{
			&tablepb.PutRowRequest{TableName: new("t"), Row: row, Condition: ignore},
			&tablepb.GetRowRequest{TableName: new("t"), PrimaryKey: row, MaxVersions: new(int32(1))},
			&tablepb.GetRangeRequest{TableName: new("t"), Direction: tablepb.Direction_BACKWARD.Enum(), MaxVersions: new(int32(1)),
				InclusiveStartPrimaryKey: row, ExclusiveEndPrimaryKey: row},
			&tablepb.UpdateRowRequest{TableName: new("t"), RowChange: increment, ReturnContent: returning, Condition: &tablepb.Condition{
				RowExistence: tablepb.RowExistenceExpectation_EXPECT_EXIST.Enum(), ColumnCondition: filter,
			}},
			&tablepb.BatchGetRowRequest{Tables: []*tablepb.TableInBatchGetRowRequest{{
				TableName: new("t"), PrimaryKey: [][]byte{row, nil}, MaxVersions: new(int32(1)), Filter: filter,
			}}},
			&tablepb.BatchWriteRowRequest{IsAtomic: new(true), Tables: []*tablepb.TableInBatchWriteRowRequest{batchOf(
				&tablepb.RowInBatchWriteRowRequest{Type: tablepb.OperationType_UPDATE.Enum(), RowChange: increment, Condition: ignore, ReturnContent: returning},
			)}},
			&tablepb.UpdateTableRequest{TableName: new("t"), TableOptions: &tablepb.TableOptions{TimeToLive: new(int32(86400)), MaxVersions: new(int32(2))},
				StreamSpec: &tablepb.StreamSpecification{EnableStream: new(true), ExpirationTime: new(int32(1))}},
			&tablepb.ComputeSplitPointsBySizeRequest{TableName: new("t"), SplitSize: new(int64(1))},
			&tunnelpb.CreateTunnelRequest{Tunnel: &tunnelpb.Tunnel{TableName: new("t"), TunnelName: new("n"), TunnelType: tunnelpb.TunnelType_STREAM.Enum()}},
			&tunnelpb.ReadRecordsRequest{TunnelId: new("x"), ClientId: new("x"), ChannelId: new("x"), Token: new("x")},
		} {
			body, err := proto.Marshal(q)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(i), body)
		}
		f.Add(uint8(i), []byte(path))
	}
	f.Fuzz(func(t *testing.T, i uint8, body []byte) {
		e := fresh(t)
		w := httptest.NewRecorder()
		r := request(paths[int(i)%len(paths)], "local", "", "", body)
		e.ServeHTTP(w, r)
		if w.Code == http.StatusInternalServerError {
			t.Errorf("status 500: %q", w.Body)
		}
		if w.Code != http.StatusOK && !bytes.Contains(w.Body.Bytes(), []byte("OTS")) {
			t.Errorf("status %d with %q", w.Code, w.Body)
		}
	})
}
