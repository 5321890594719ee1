package conformance

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/tunnel/emulator"
)

// operations are the paths of all calls that the official client's source
// names.
func operations(t *testing.T) []string {
	t.Helper()
	pc := reflect.ValueOf(tablestore.NewClient).Pointer()
	file, _ := runtime.FuncForPC(pc).FileLine(pc)
	source, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, d := range source.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		ast.Inspect(g, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if s, err := strconv.Unquote(l.Value); err == nil && strings.HasPrefix(s, "/") {
					paths = append(paths, s)
				}
			}
			return true
		})
	}
	slices.Sort(paths)
	return paths
}

func TestWhatIsLeftOutIsRefusedByName(t *testing.T) {
	e, err := emulator.New(emulator.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s := httptest.NewServer(e)
	defer s.Close()
	answered := []string{
		"/AddDefinedColumn", "/BatchGetRow", "/BatchWriteRow", "/ComputeSplitPointsBySize", "/CreateTable",
		"/DeleteDefinedColumn", "/DeleteRow", "/DeleteTable", "/DescribeStream", "/DescribeTable", "/GetRange", "/GetRow",
		"/GetShardIterator", "/GetStreamRecord", "/ListStream", "/ListTable", "/PutRow", "/UpdateRow", "/UpdateTable",
	}
	var got []string
	all := operations(t)
	for _, path := range all {
		// An empty body: what is answered says which field is missing.
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		sum := md5.Sum(nil)
		q.Header.Set("x-ots-apiversion", tablestore.ApiVersion)
		q.Header.Set("x-ots-instancename", "local")
		q.Header.Set("x-ots-contentmd5", base64.StdEncoding.EncodeToString(sum[:]))
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(a.Body)
		a.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(body, []byte("OTSUnsupportOperation")) {
			got = append(got, path)
		} else if !bytes.Contains(body, []byte("'"+strings.TrimPrefix(path, "/")+"'")) || a.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d %q", path, a.StatusCode, body)
		}
	}
	if d := cmp.Diff(answered, got); d != "" {
		t.Error(d)
	}
	if len(all) < 50 {
		t.Errorf("only %d calls were tried", len(all))
	}
}

func TestTheTableClientIsToldWhatIsLeftOut(t *testing.T) {
	endpoint := serve(t, emulator.Config{})
	c := tableClient(endpoint)
	createTable(t, c, "here", 1, column("k", tablestore.PrimaryKeyType_STRING))
	transaction := "a-transaction"
	p := &tablestore.PutRowChange{TableName: "here", PrimaryKey: key("k", "a"), TransactionId: &transaction}
	p.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	create := func(change func(*tablestore.CreateTableRequest)) func() error {
		return func() error {
			_, err := c.CreateTable(tableRequest(change))
			return err
		}
	}
	for name, call := range map[string]func() error{
		"indexes": create(func(q *tablestore.CreateTableRequest) {
			q.TableMeta.AddDefinedColumn("d", tablestore.DefinedColumn_STRING)
			q.AddIndexMeta(&tablestore.IndexMeta{IndexName: "i", Primarykey: []string{"d"}})
		}),
		"server side encryption": create(func(q *tablestore.CreateTableRequest) {
			s := &tablestore.SSESpecification{}
			s.SetEnable(true)
			s.SetKeyType(tablestore.SSE_KMS_SERVICE)
			q.SSESpecification = s
		}),
		"transactions":                 create(func(q *tablestore.CreateTableRequest) { q.EnableLocalTxn = new(true) }),
		"tables that update full rows": create(func(q *tablestore.CreateTableRequest) { q.TableOption.UpdateFullRow = new(true) }),
		"CreateIndex": func() error {
			_, err := c.CreateIndex(&tablestore.CreateIndexRequest{MainTableName: "here", IndexMeta: &tablestore.IndexMeta{IndexName: "i"}})
			return err
		},
		"DropIndex": func() error {
			_, err := c.DeleteIndex(&tablestore.DeleteIndexRequest{MainTableName: "here", IndexName: "i"})
			return err
		},
		"SQLQuery": func() error {
			_, err := c.SQLQuery(&tablestore.SQLQueryRequest{Query: "select 1"})
			return err
		},
		"ListSearchIndex": func() error {
			_, err := c.ListSearchIndex(&tablestore.ListSearchIndexRequest{TableName: "here"})
			return err
		},
		"StartLocalTransaction": func() error {
			_, err := c.StartLocalTransaction(&tablestore.StartLocalTransactionRequest{TableName: "here", PrimaryKey: key("k", "a")})
			return err
		},
		"local transactions": func() error {
			_, err := c.PutRow(&tablestore.PutRowRequest{PutRowChange: p})
			return err
		},
		"ListDeliveryTask": func() error {
			_, err := c.ListDeliveryTask(&tablestore.ListDeliveryTaskRequest{TableName: "here"})
			return err
		},
		"ListTimeseriesTable": func() error {
			_, err := tablestore.NewTimeseriesClient(endpoint, instance, keyID, secret).ListTimeseriesTable()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			if ots := wantCode(t, call(), "OTSUnsupportOperation"); !strings.Contains(ots.Message, name) {
				t.Errorf("%q does not name it", ots.Message)
			}
		})
	}
}
