package conformance

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/tunnel/emulator"
)

// What the official table client writes reaches a handler that was built with
// fc-runtime-go-sdk alone, through `culvert run` as a process of its own, with
// every value as it was.
func TestWhatTheTableClientWritesReachesAHandlerOfTheRuntimeSDK(t *testing.T) {
	endpoint := serve(t, emulator.Config{Partitions: 3})
	c := tableClient(endpoint)
	createTable(t, c, "values", 3,
		column("s", tablestore.PrimaryKeyType_STRING),
		column("i", tablestore.PrimaryKeyType_INTEGER),
		column("b", tablestore.PrimaryKeyType_BINARY))
	bin := t.TempDir()
	build(t, bin, "culvert", "..", "./cmd/culvert")
	build(t, bin, "recorder", ".", "./recorder")
	record := filepath.Join(t.TempDir(), "events.jsonl")
	config := filepath.Join(t.TempDir(), "culvert.yaml")
	write(t, config, fmt.Sprintf(`
tunnel:
  endpoint: %s
  instance: %s
  table: values
  name: feed
  create: Stream
  credentials: {access_key_id: %s, access_key_secret: %s}
heartbeat: {interval: 200ms, timeout: 10s, gap: 50ms}
checkpoint: {interval: 100ms}
triggers:
  - name: record
    function: process:%s
    parallel: 4
`, endpoint, instance, keyID, secret, filepath.Join(bin, "recorder")))
	stop := start(t, exec.Command(filepath.Join(bin, "culvert"), "run", "--config", config), "RECORD="+record)
	tunnels := tunnelClient(endpoint)
	eventually(t, "the dispatcher has made its tunnel", func() bool {
		return describe(tunnels, "values", "feed") == nil
	})

	// Values whose text is another in JSON, or that a float would lose.
	values := everyType()
	values["least"], values["most"], values["zero"] = int64(math.MinInt64), int64(math.MaxInt64), int64(0)
	values["whole"], values["tiny"], values["huge"], values["minus zero"] = 1.0, math.SmallestNonzeroFloat64, math.MaxFloat64, math.Copysign(0, -1)
	values["text"] = "Grüße, 世界 🚀 \"quoted\" \\ <&> \u2028 \x00\n\t"
	values["empty text"], values["empty blob"] = "", []byte{}
	values["列"] = true
	keys := []*tablestore.PrimaryKey{
		key("s", "", "i", int64(math.MinInt64), "b", []byte{}),
		key("s", "日本 \"x\"", "i", int64(math.MaxInt64), "b", everyByte()),
		key("s", "plain", "i", int64(0), "b", []byte("b")),
	}
	var want []string
	for _, k := range keys {
		put(t, c, "values", k, values)
		want = append(want, "PutRow "+keyText(k)+" "+columnsText(values))

		u := &tablestore.UpdateRowChange{TableName: "values", PrimaryKey: k}
		u.PutColumn("zero", int64(1))
		u.DeleteColumn("text")
		u.DeleteColumnWithTimestamp("most", 1_700_000_000_000)
		u.SetCondition(tablestore.RowExistenceExpectation_EXPECT_EXIST)
		if _, err := c.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: u}); err != nil {
			t.Fatal(err)
		}
		want = append(want, "UpdateRow "+keyText(k)+` most:DeleteOneVersion@1700000000000 text:DeleteAllVersions zero:1`)

		d := &tablestore.DeleteRowChange{TableName: "values", PrimaryKey: k}
		d.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
		if _, err := c.DeleteRow(&tablestore.DeleteRowRequest{DeleteRowChange: d}); err != nil {
			t.Fatal(err)
		}
		want = append(want, "DeleteRow "+keyText(k)+" ")
	}

	eventually(t, "the handler has recorded every change", func() bool { return len(recorded(t, record)) >= len(want) })
	stop()
	got := recorded(t, record)
	for _, k := range keys {
		if diff := cmp.Diff(only(want, keyText(k)), only(got, keyText(k))); diff != "" {
			t.Errorf("key %s (-written +recorded):\n%s", keyText(k), diff)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d changes recorded, %d written", len(got), len(want))
	}
}

// keyText and columnsText are what a JSON event must hold, as text.
func keyText(k *tablestore.PrimaryKey) string {
	var text []string
	for _, column := range k.PrimaryKeys {
		text = append(text, column.ColumnName+":"+valueText(column.Value))
	}
	return strings.Join(text, " ")
}

func columnsText(values map[string]any) string {
	var text []string
	for _, name := range sorted(values) {
		text = append(text, name+":"+valueText(values[name]))
	}
	return strings.Join(text, " ")
}

// valueText writes a value with its type: a double by its bits, a blob by its
// bytes.
func valueText(v any) string {
	switch v := v.(type) {
	case float64:
		return fmt.Sprintf("double %016x", math.Float64bits(v))
	case []byte:
		return fmt.Sprintf("blob %x", v)
	case string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(v)
}

// recorded is every change that the handler has recorded, as text.
func recorded(t *testing.T, path string) (changes []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		var event struct {
			Version string
			Records []struct {
				Type       string
				PrimaryKey []struct {
					ColumnName string
					Value      json.RawMessage
				}
				Columns []struct {
					Type, ColumnName string
					Value            json.RawMessage
					Timestamp        int64
				}
			}
		}
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		for _, r := range event.Records {
			var key []string
			for _, column := range r.PrimaryKey {
				key = append(key, column.ColumnName+":"+jsonText(t, column.Value))
			}
			columns := map[string]string{}
			for _, column := range r.Columns {
				switch column.Type {
				case "Put":
					columns[column.ColumnName] = jsonText(t, column.Value)
				case "DeleteOneVersion":
					columns[column.ColumnName] = fmt.Sprintf("DeleteOneVersion@%d", column.Timestamp)
				default:
					columns[column.ColumnName] = column.Type
				}
			}
			var texts []string
			for _, name := range sorted(columns) {
				texts = append(texts, name+":"+columns[name])
			}
			changes = append(changes, r.Type+" "+strings.Join(key, " ")+" "+strings.Join(texts, " "))
		}
	}
	return changes
}

// jsonText reads a value as a handler would: digits alone are an integer.
func jsonText(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return fmt.Sprint(n)
		}
		f, err := v.Float64()
		if err != nil {
			t.Fatal(err)
		}
		return valueText(f)
	case map[string]any:
		if text, ok := v["Double"].(string); ok {
			f, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			return valueText(f)
		}
		text, _ := v["Base64"].(string)
		blob, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return valueText(blob)
	}
	return valueText(v)
}
