package rowfile_test

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/culvertio/culvert/internal/rowfile"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// write puts a file into a directory of its own.
func write(t interface {
	Helper()
	Fatal(...any)
}, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func goOn() error { return nil }

// read reads a file whole: its columns and its rows, as text.
func read(spec rowfile.Spec) (columns, rows []string, err error) {
	f, err := rowfile.Open(spec)
	if err != nil {
		return nil, nil, err
	}
	if err := f.Check(goOn); err != nil {
		return nil, nil, err
	}
	for _, c := range f.Columns() {
		text := c.Name
		for _, typ := range c.Types {
			text += " " + rowfile.TypeName(typ)
		}
		columns = append(columns, text)
	}
	err = f.Rows(func(r rowfile.Row) error {
		text := fmt.Sprint(r.Line, ":")
		for _, c := range append(r.Key, r.Columns...) {
			text += fmt.Sprintf(" %s=%s", c.Name, valueText(c.Value))
		}
		rows = append(rows, text)
		return nil
	})
	if err == nil && len(rows) != f.Count() {
		err = fmt.Errorf("%d rows and then %d", f.Count(), len(rows))
	}
	return columns, rows, err
}

func valueText(v plainbuffer.Value) string {
	switch v.Type() {
	case plainbuffer.Integer:
		return strconv.FormatInt(v.Integer(), 10)
	case plainbuffer.Double:
		return fmt.Sprintf("double %v", v.Double())
	case plainbuffer.Boolean:
		return strconv.FormatBool(v.Boolean())
	}
	return strconv.Quote(string(v.Bytes()))
}

func TestFilesAreReadAsTheyAreMeant(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file, text string
		key              []string
		types            map[string]plainbuffer.Type
		columns, rows    []string
	}{
		{
			name: "types that all cells fit", file: "a.csv",
			text:    "id,n,d,b,s,none\n1,1,1,true,x,\n2,-5,2.50,FALSE,1,\n3,,-1e3,,true,\n",
			key:     []string{"id"},
			columns: []string{"id integer", "n integer", "d double", "b boolean", "s string", "none"},
			rows: []string{
				`2: id=1 n=1 d=double 1 b=true s="x"`,
				`3: id=2 n=-5 d=double 2.5 b=false s="1"`,
				`4: id=3 d=double -1000 s="true"`,
			},
		},
		{
			name: "digits that a number would lose stay a string", file: "a.csv",
			text: "zip,big,mixed,precise,minus\n" +
				"01234,9223372036854775808,9007199254740993,0.123456789012345678,-0\n" +
				"99999,1,0.5,1,1\n",
			key:     []string{"zip"},
			columns: []string{"zip string", "big string", "mixed string", "precise string", "minus double"},
			rows: []string{
				`2: zip="01234" big="9223372036854775808" mixed="9007199254740993" precise="0.123456789012345678" minus=double -0`,
				`3: zip="99999" big="1" mixed="0.5" precise="1" minus=double 1`,
			},
		},
		{
			name: "a byte order mark, quotes, line breaks, CRLF, blanks about names, columns without a name", file: "A.CSV",
			text:    "\ufeffid, note ,,\r\n\"a,1\",\"she said \"\"hi\"\"\r\ntwice\",,\r\nb, x ,,\r\n",
			key:     []string{"note", "id"},
			columns: []string{"id string", "note string"},
			rows:    []string{`2: note="she said \"hi\"\ntwice" id="a,1"`, `4: note=" x " id="b"`},
		},
		{
			name: "a key of doubles is a string, as its text is", file: "a.csv",
			text: "k\n1.50\n2\n", key: []string{"k"}, columns: []string{"k string"}, rows: []string{`2: k="1.50"`, `3: k="2"`},
		},
		{
			name: "types that are forced", file: "a.csv",
			text: "id,a,b\n1,1,true\n2,2,\n", key: []string{"id"},
			types:   map[string]plainbuffer.Type{"id": plainbuffer.String, "a": plainbuffer.Double, "b": plainbuffer.String},
			columns: []string{"id string", "a double", "b string"},
			rows:    []string{`2: id="1" a=double 1 b="true"`, `3: id="2" a=double 2`},
		},
		{
			name: "JSON lines", file: "a.jsonl",
			text: "\ufeff" + `{"id":9223372036854775807,"a":1,"n":{"x": [1, 2]},"s":"\u00e9\n","b":true,"gone":null}` + "\r\n\n" +
				`{"a":1.0,"id":2,"n":[ ],"s":"","wide":12345678901234567890}`,
			key:     []string{"id"},
			columns: []string{"id integer", "a integer double", "n string", "s string", "b boolean", "gone", "wide string"},
			rows: []string{
				`1: id=9223372036854775807 a=1 n="{\"x\":[1,2]}" s="é\n" b=true`,
				`3: id=2 a=double 1 n="[]" s="" wide="12345678901234567890"`,
			},
		},
		{
			name: "JSON forced", file: "a.ndjson",
			text:    `{"id":1,"a":1,"b":"true"}` + "\n" + `{"id":"x","a":1.5,"b":false}`,
			key:     []string{"id"},
			types:   map[string]plainbuffer.Type{"id": plainbuffer.String, "a": plainbuffer.Double, "b": plainbuffer.Boolean},
			columns: []string{"id string", "a double", "b boolean"},
			rows:    []string{`1: id="1" a=double 1 b=true`, `2: id="x" a=double 1.5 b=false`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			columns, rows, err := read(rowfile.Spec{Path: write(t, t.TempDir(), c.file, c.text), Key: c.key, Types: c.types})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.columns, columns); diff != "" {
				t.Error("columns (-want +got):\n", diff)
			}
			if diff := cmp.Diff(c.rows, rows); diff != "" {
				t.Error("rows (-want +got):\n", diff)
			}
		})
	}
}

func TestAMistakeIsNamedWithItsLine(t *testing.T) {
	t.Parallel()
	integer := map[string]plainbuffer.Type{"a": plainbuffer.Integer}
	for _, c := range []struct {
		file, text string
		types      map[string]plainbuffer.Type
		want       string
	}{
		{"f.txt", "", nil, `f.txt: a file's name must end in .csv`},
		{"f.csv", "", nil, "f.csv: it is empty: its first line must name the columns"},
		{"f.csv", "id,a\n", nil, "f.csv: there is no row in it"},
		{"f.jsonl", "\n\n", nil, "f.jsonl: there is no row in it"},
		{"f.csv", "a,b\n1,2\n", nil, `f.csv:1: there is no column "id", which the key names; the header has: a, b`},
		{"f.csv", "id;a\n1;2\n", nil, "columns are separated by commas"},
		{"f.csv", "id,a,a\n1,2,3\n", nil, `f.csv:1: column "a": the header names it twice`},
		{"f.csv", "id,a\n1,2\n1,2,3\n", nil, "f.csv:3: 3 cells, and the header names 2 columns"},
		{"f.csv", "id,a\n1,\"2\n3,4\n", nil, "(it began in line 2)"},
		{"f.csv", "id,a\n1,2\"3\n", nil, "f.csv:2:4: a quote in a cell that is not in quotes"},
		{"f.csv", "id,a\n1,\"2\"3\n", nil, "f.csv:2:5: a quote that is not at its place"},
		{"f.csv", "id,a\n1,2\n,2\n", nil, `f.csv:3: column "id": this row has no value in it, and it is of the key; it has: a`},
		{"f.csv", "id,a\n1,\"x\ny\"\n2,caf\xe9\n", nil, `f.csv:4:3: column "a": not UTF-8`},
		{"f.csv", "id,a,\n1,2,3\n", nil, "f.csv:2:5: the header has no name for the third column"},
		{"f.csv", "\xff\xfei\x00d\x00", nil, "f.csv:1: it is UTF-16: save it as UTF-8"},
		{"f.csv", "id,a\n1,2\n2,x\n", integer, `f.csv:3: column "a": "x" is no integer of 64 bits`},
		{"f.csv", "id,b\n1,2\n", integer, `there is no column "a" to give a type; there are: id, b`},
		{"f.jsonl", "{\"id\":1}\n{\"id\":2", nil, "f.jsonl:2:7: the object does not end: each must be in one line"},
		{"f.jsonl", "{\"id\":1}\n{\"id\":2 x}", nil, "f.jsonl:2:9: invalid character 'x'"},
		{"f.jsonl", "[{\"id\":1}]", nil, "f.jsonl:1:1: an array: write one object a line"},
		{"f.jsonl", "17", nil, "f.jsonl:1:1: not an object"},
		{"f.jsonl", "{\"id\":1}{\"id\":2}", nil, "something follows the object: one row a line"},
		{"f.jsonl", "{\"id\":1,\"id\":2}", nil, `column "id" twice in one row`},
		{"f.jsonl", "{\"id\":1,\"\":2}", nil, "a column without a name"},
		{"f.jsonl", "{\"a\":1}", nil, `f.jsonl:1: column "id": this row has no value in it, and it is of the key; it has: a`},
		{"f.jsonl", "{\"id\":null,\"a\":1}", nil, `column "id": this row has no value in it`},
		{"f.jsonl", "{\"id\":1}\n{\"id\":\"x\"}", nil, `f.jsonl:2: column "id": "x" is a string, and in line 1 it was an integer; a key column has one type (--types id:string makes all of them strings)`},
		{"f.jsonl", "{\"id\":1.5}", nil, `f.jsonl:1: column "id": a double cannot be of the key, and "1.5" is one; an integer or a string can (--types id:string makes it one)`},
		{"f.jsonl", "{\"id\":1,\"a\":[1]}", integer, `f.jsonl:1: column "a": "[1]" is no integer of 64 bits`},
		{"f.jsonl", "{\"id\":\"\xe9\"}", nil, "f.jsonl:1: not UTF-8"},
	} {
		dir := t.TempDir()
		_, _, err := read(rowfile.Spec{Path: write(t, dir, c.file, c.text), Key: []string{"id"}, Types: c.types})
		var mistake *rowfile.Error
		if !errors.As(err, &mistake) || !strings.Contains(strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), ""), c.want) {
			t.Errorf("%q: %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestAFileThatCannotBeReadTwiceOrAtAllIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	there := write(t, dir, "there.csv", "id\n1\n")
	for want, spec := range map[string]rowfile.Spec{
		"no such file or directory":     {Path: filepath.Join(dir, "none.csv"), Key: []string{"id"}},
		"not a regular file":            {Path: t.TempDir() + "/..csv", Key: []string{"id"}},
		"0 key columns":                 {Path: there},
		"5 key columns":                 {Path: there, Key: []string{"a", "b", "c", "d", "e"}},
		"named twice":                   {Path: there, Key: []string{"a", "a"}},
		"a double cannot be of the key": {Path: there, Key: []string{"a"}, Types: map[string]plainbuffer.Type{"a": plainbuffer.Double}},
	} {
		if strings.HasSuffix(spec.Path, "/..csv") {
			if err := os.Mkdir(spec.Path, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := rowfile.Open(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestWhatIsReadCanBeStoppedAndIsCounted(t *testing.T) {
	t.Parallel()
	f, err := rowfile.Open(rowfile.Spec{Path: write(t, t.TempDir(), "f.csv", "id\n1\n2\n3\n"), Key: []string{"id"}})
	if err != nil {
		t.Fatal(err)
	}
	var read int64
	f.Progress = func(n int64) { read = n }
	enough := errors.New("enough")
	if err := f.Check(func() error { return enough }); !errors.Is(err, enough) || f.Count() != 1 {
		t.Errorf("%v after %d rows", err, f.Count())
	}
	if f, err = rowfile.Open(rowfile.Spec{Path: write(t, t.TempDir(), "f.csv", "id\n1\n2\n3\n"), Key: []string{"id"}}); err != nil {
		t.Fatal(err)
	}
	f.Progress = func(n int64) { read = n }
	if err := f.Check(goOn); err != nil || read != f.Size() || f.Count() != 3 {
		t.Errorf("%v: %d of %d bytes, %d rows", err, read, f.Size(), f.Count())
	}
	rows := 0
	if err := f.Rows(func(rowfile.Row) error { rows++; return enough }); !errors.Is(err, enough) || rows != 1 {
		t.Errorf("%v after %d rows", err, rows)
	}
}

// Whatever a column's type comes to, its cells read back as they were written:
// a number's text means the same number, any other text is the same.
func TestCSVLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cell := rapid.OneOf(
		rapid.Map(rapid.Int64(), func(n int64) string { return strconv.FormatInt(n, 10) }),
		rapid.Map(rapid.Float64(), func(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) }),
		rapid.StringMatching(`-?[0-9]{1,22}(\.[0-9]{1,3})?`),
		rapid.SampledFrom([]string{"true", "FALSE", "", "null", " 1", "1 ", "NaN", "-", "+1", "1e400"}),
		rapid.Map(rapid.String(), func(s string) string { return strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\r", "") }),
	)
	rapid.Check(t, func(t *rapid.T) {
		column := rapid.SliceOfN(cell, 1, 5).Draw(t, "column")
		var text strings.Builder
		w := csv.NewWriter(&text)
		_ = w.Write([]string{"n", "v"})
		for i, v := range column {
			_ = w.Write([]string{strconv.Itoa(i), v})
		}
		w.Flush()
		f, err := rowfile.Open(rowfile.Spec{Path: write(t, dir, "f.csv", text.String()), Key: []string{"n"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Check(goOn); err != nil {
			t.Fatal(err)
		}
		i := 0
		err = f.Rows(func(r rowfile.Row) error {
			want := column[i]
			i++
			if want == "" {
				if len(r.Columns) > 0 {
					t.Errorf("an empty cell made %v", r.Columns)
				}
				return nil
			}
			switch v := r.Columns[0].Value; v.Type() {
			case plainbuffer.Integer:
				if strconv.FormatInt(v.Integer(), 10) != want {
					t.Errorf("%q became %d", want, v.Integer())
				}
			case plainbuffer.Double:
				if n, err := strconv.ParseFloat(want, 64); err != nil || n != v.Double() || strings.HasPrefix(strings.TrimPrefix(want, "-"), "00") {
					t.Errorf("%q became %v", want, v.Double())
				}
				if n, err := strconv.ParseInt(want, 10, 64); err == nil && int64(v.Double()) != n {
					t.Errorf("%q became %v", want, v.Double())
				}
			case plainbuffer.Boolean:
				if strconv.FormatBool(v.Boolean()) != strings.ToLower(want) {
					t.Errorf("%q became %v", want, v.Boolean())
				}
			default:
				if string(v.Bytes()) != want {
					t.Errorf("%q became %q", want, v.Bytes())
				}
			}
			return nil
		})
		if err != nil || i != len(column) {
			t.Fatalf("%d of %d rows: %v", i, len(column), err)
		}
	})
}

// A file that passes the check gives as many rows as it counted, each with
// its key; any other is refused with a line. No file makes it panic.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{"id,a\n1,2\n", "id\n\"x\"\n", `{"id":1,"a":[{}]}`, "{\"id\":\"\\ud800\"}\n{\"id\":\"b\",\"c\":1e999}", "\ufeffid,\n1,\n", "id\n1\r\n\r\n2"} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string, asJSON bool) {
		name := "f.csv"
		if asJSON {
			name = "f.jsonl"
		}
		file, err := rowfile.Open(rowfile.Spec{Path: write(t, dir, name, text), Key: []string{"id"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Check(goOn); err != nil {
			var mistake *rowfile.Error
			if !errors.As(err, &mistake) {
				t.Fatal(err)
			}
			return
		}
		rows, types := 0, file.KeyTypes()
		err = file.Rows(func(r rowfile.Row) error {
			rows++
			if len(r.Key) != 1 || string(r.Key[0].Name) != "id" || r.Key[0].Value.Type() != types[0] {
				t.Fatalf("row %+v", r)
			}
			return nil
		})
		if err != nil || rows != file.Count() {
			t.Fatalf("%d of %d rows: %v", rows, file.Count(), err)
		}
	})
}
