package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// ordersFile writes a file of rows and gives its path.
func ordersFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const someOrders = "order_id,customer,amount,zip\n1001,Ada,12.50,01234\n1002,\"Grace, H.\",7,99999\n1003,李雷 \"<x>\u2028,,10115\n1002,Grace,8.25,99999\n"

func TestTheUsersOwnRowsArriveAndAreJudged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"orders.csv", []string{"--key", "order_id"}, []string{
			"into the table orders (key: order_id, an integer)", "order_id             integer, of the key", "amount               double", "zip                  string",
			"warning: 1 of the file's 4 rows were overwritten by later ones with the same key, which is order_id; if rows", "with --key too",
			"  written             3\n", "  delivered           3\n",
		}},
		{"2026 orders.csv", []string{"--key", "zip,order_id", "--types", "order_id:string"}, []string{
			"table _2026_orders made", "(key: zip, a string; order_id, a string)", "  delivered           3\n",
		}},
		{"orders.jsonl", []string{"--key", "order_id", "--table", "mine"}, []string{
			"table mine made", "n                    integer or string", "warning: 1 numbers do not fit 64 bits", "  delivered           2\n",
		}},
	} {
		text := strings.ReplaceAll(someOrders, `"<x>`, `<x>`)
		if strings.HasSuffix(c.name, "l") {
			text = `{"order_id":"a","n":9223372036854775807,"x":{"y":[1.50]},"s":"\u0007\ud83d\ude00\u2028/"}` + "\n" +
				`{"order_id":"b","n":123456789012345678901,"f":1e-300,"g":100.0,"b":true}` + "\n"
		}
		args := append([]string{"local", "--once", "--handler", recorder, "--data", ordersFile(t, c.name, text)}, c.args...)
		start(t, nil, args...).exits(exitDone, append(c.want, "nothing lost, each key in order")...)
	}
}

func TestTheUsersOwnRowsAreWrittenOnAtARate(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "local", "--handler", recorder, "--data", ordersFile(t, "orders.csv", strings.ReplaceAll(someOrders, `"<x>`, "")), "--key", "order_id", "--rate", "200")
	p.awaits("from here on 200 changes a second")
	waitUntil(t, func() bool {
		all := regexp.MustCompile(`([0-9]+) written`).FindAllStringSubmatch(p.text(), -1)
		return len(all) > 0 && len(all[len(all)-1][1]) > 2 // hundreds
	})
	p.signal(syscall.SIGINT)
	p.exits(exitDone, "nothing lost, each key in order")
	if strings.Contains(p.text(), "what others wrote") {
		t.Error("its own changes are taken for those of others")
	}
}

func TestNothingIsLostInTroubleThatASeedMakes(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString("order_id,n\n")
	for i := range 2000 {
		fmt.Fprintf(&text, "%d,%d\n", i, i%7)
	}
	p := start(t, nil, "local", "--once", "--handler", recorder, "--data", ordersFile(t, "orders.csv", text.String()), "--key", "order_id", "--faults", "3")
	p.exits(exitDone, "  delivered        2000\n", "nothing lost, each key in order", " faults\n", "--faults 3: trouble is made between dispatcher and emulator")
	if !regexp.MustCompile(`the faults by their kinds: [a-z-]+ [1-9]`).MatchString(p.text()) {
		t.Error("there was no fault")
	}
}

func TestAMistakeInTheDataIsNamedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, args, want string }{
		{"orders.csv", "id,a\n1,2\n1,2,3\n", "--key id", "orders.csv:3: 3 cells, and the header names 2 columns"},
		{"orders.csv", "id,a\n1,2\n", "--key order_id", `orders.csv:1: there is no column "order_id", which the key names; the header has: id, a`},
		{"orders.csv", "id,a\n1,2\n,3\n", "--key id", `orders.csv:3: column "id": this row has no value in it, and it is of the key`},
		{"orders.csv", "id,a\n1,2\n", "--key id --types b:string", `there is no column "b" to give a type; there are: id, a`},
		{"orders.csv", "id,a\n1,x\n", "--key id --types a:integer", `orders.csv:2: column "a": "x" is no integer of 64 bits`},
		{"orders.csv", "id,a\n1,x\n", "--key id --types a:number", "a type is integer, double, boolean or string"},
		{"orders.csv", "id,a\n1,x\n", "--key id --types a", "want COLUMN:TYPE"},
		{"orders.csv", "id,a\n1.5,x\n", "--key id --types id:double", "a double cannot be of the key"},
		{"orders.jsonl", "{\"id\":1.5}\n", "--key id", "a double cannot be of the key"},
		{"orders.csv", "order id\n1\n", "--key order\tid", `"order\tid" is no name of a key column`},
		{"orders.csv", "id\n1\n", "--key id --table 1st", `"1st" is no name of a table`},
		{"orders.csv", "id\n1\n", "--key a,b,c,d,e", "5 key columns: a row has 1 to 4"},
		{"orders.jsonl", "{\"id\":1}\n{\"id\":1\n", "--key id", "orders.jsonl:2:7: the object does not end"},
		{"orders.txt", "id\n1\n", "--key id", "must end in .csv (with a header) or .jsonl"},
		{"orders.csv", "id\n" + strings.Repeat("k", 1025) + "\n", "--key id", "orders.csv:2: "}, // of the service's limits
	} {
		args := []string{"local", "--once", "--handler", recorder, "--data", ordersFile(t, c.name, c.text)}
		p := start(t, nil, append(args, strings.Split(c.args, " ")...)...)
		p.exits(exitUsage, "culvert: --", c.want)
		if strings.Contains(p.text(), "attempt") {
			t.Error("something was delivered")
		}
	}
	start(t, nil, "local", "--handler", recorder, "--key", "id", "--data", "nowhere/orders.csv").
		exits(exitUsage, "nowhere/orders.csv: no such file or directory")
	start(t, nil, "local", "--handler", recorder, "--key", "id", "--data", "testdata").
		exits(exitUsage, "testdata is a directory")
}

func TestReadingAndLoadingAFileIsShown(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString("id,text\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "%d,%s\n", i, strings.Repeat("x", 50))
	}
	c := &console{}
	f, err := openRows(t.Context(), &localCommand{Data: ordersFile(t, "orders.csv", text.String()), Key: []string{"id"}}, c)
	if err != nil {
		t.Fatal(err)
	}
	if task := c.view.task; task == nil || !strings.HasPrefix(task.name, "reading ") {
		t.Errorf("%+v", task)
	}
	var versions []int64
	rows, err := f.load(t.Context(), func(s sample) error {
		versions = append(versions, s.write.Version)
		return nil
	})
	if err != nil || rows != 1000 || len(versions) != rows {
		t.Fatalf("%d rows, %v", rows, err)
	}
	if c.view.task != nil {
		t.Error("it is shown although it has ended")
	}
}
