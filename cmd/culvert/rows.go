package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/culvertio/culvert/internal/check"
	"github.com/culvertio/culvert/internal/rowfile"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// rowFeed is the rows of a user's own file. All of them are base data; next
// puts some row again, as it is in the file. Rows are not marked: their
// columns' versions tell the puts of one key apart.
type rowFeed struct {
	file    *rowfile.File
	path    string
	name    string // of the table
	console *console
	random  *rand.Rand
	now     func() time.Time

	rows        []ownRow
	byKey       map[string]int // as the checker writes keys; places in rows
	filled      []int          // places of the rows that have columns: only these can be put again and be told apart
	overwritten int            // rows whose key came again later
}

// ownRow is the row of a key, as its last line in the file has it.
type ownRow struct {
	row   plainbuffer.Row
	write check.Write // Version is that of the last put
}

// openRows reads the file for the first time: what is wrong with it is known
// before anything is started.
func openRows(ctx context.Context, c *localCommand, console *console) (*rowFeed, error) {
	types, err := parseTypes(c.Types)
	if err != nil {
		return nil, err
	}
	f := &rowFeed{
		path: c.Data, name: c.Table, console: console,
		random: rand.New(rand.NewPCG(c.Seed, 1)), now: time.Now, byKey: map[string]int{},
	}
	if f.name == "" {
		f.name = tableName(c.Data)
	}
	if !tableForm.MatchString(f.name) {
		return nil, usage("--table: %q is no name of a table: a letter or _, then letters, digits and _, at most %d", f.name, longestTable)
	}
	for _, column := range c.Key {
		if !keyForm.MatchString(column) {
			return nil, usage("--key: %q is no name of a key column: a letter or _, then letters, digits and _; rename it in the file", column)
		}
	}
	if info, err := os.Stat(c.Data); err == nil && info.IsDir() {
		return nil, usage("--data: %s is a directory; want a CSV file with a header, or JSON lines", c.Data)
	}
	if f.file, err = rowfile.Open(rowfile.Spec{Path: c.Data, Key: c.Key, Types: types}); err != nil {
		return nil, usage("--data: %w", err)
	}
	f.file.Progress = f.progress("reading " + f.path)
	err = f.file.Check(ctx.Err)
	switch {
	case ctx.Err() != nil:
		return nil, unlessInterrupted(ctx, ctx.Err())
	case err != nil:
		return nil, usage("--data: %w", err)
	}
	return f, nil
}

const longestTable = 200 // its tunnel's name is longer

var (
	tableForm = regexp.MustCompile(fmt.Sprintf(`^[A-Za-z_][A-Za-z0-9_]{0,%d}$`, longestTable-1))
	keyForm   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)
	notName   = regexp.MustCompile(`[^A-Za-z0-9_]+`)
)

// tableName is the name of a table that is called like a file.
func tableName(path string) string {
	base := filepath.Base(path)
	name := notName.ReplaceAllString(strings.TrimSuffix(base, filepath.Ext(base)), "_")
	if name == "" || '0' <= name[0] && name[0] <= '9' {
		name = "_" + name
	}
	return name[:min(len(name), longestTable)]
}

// parseTypes reads COLUMN:TYPE, as often as it is given.
func parseTypes(texts []string) (map[string]plainbuffer.Type, error) {
	types := map[string]plainbuffer.Type{}
	for _, text := range texts {
		at := strings.LastIndexByte(text, ':')
		if at < 1 {
			return nil, usage("--types: %q: want COLUMN:TYPE[,COLUMN:TYPE], such as zip:string", text)
		}
		typ, err := rowfile.ParseType(text[at+1:])
		if err != nil {
			return nil, usage("--types: %q: %w", text, err)
		}
		types[text[:at]] = typ
	}
	return types, nil
}

// progress shows how far the file has been read.
func (f *rowFeed) progress(name string) func(int64) {
	return func(read int64) { f.console.task(name, read, f.file.Size()) }
}

func (f *rowFeed) table() emulator.TableSpec {
	spec := emulator.TableSpec{Name: f.name}
	names := f.file.Key()
	for i, typ := range f.file.KeyTypes() {
		spec.Key = append(spec.Key, emulator.KeyColumn{Name: names[i], Type: typ})
	}
	return spec
}

func (f *rowFeed) load(ctx context.Context, write func(sample) error) (rows int, err error) {
	f.file.Progress = f.progress("loading " + f.path)
	defer f.console.done()
	err = f.file.Rows(func(r rowfile.Row) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		own := ownRow{row: plainbuffer.Row{Key: r.Key, Columns: r.Columns}, write: check.Write{
			Key: keyText(r.Key), Kind: check.PutRow, Values: valueTexts(r.Columns),
		}}
		at, again := f.byKey[own.write.Key]
		if again {
			f.overwritten++
			own.write.Version = f.rows[at].write.Version
			f.rows[at] = own
		} else {
			at = len(f.rows)
			f.byKey[own.write.Key] = at
			f.rows = append(f.rows, own)
		}
		if err := write(f.put(at)); err != nil {
			return usage("--data: %w", &rowfile.Error{Path: f.path, Line: r.Line, Err: err})
		}
		return nil
	})
	for at, own := range f.rows {
		if len(own.row.Columns) > 0 {
			f.filled = append(f.filled, at)
		}
	}
	return len(f.rows), err
}

// put writes a row of the file, as a version that its key has not had.
func (f *rowFeed) put(at int) sample {
	own := &f.rows[at]
	own.write.Version = max(own.write.Version+1, f.now().UnixMilli())
	for i := range own.row.Columns {
		own.row.Columns[i].HasTimestamp = true
		own.row.Columns[i].Timestamp = own.write.Version
	}
	return sample{change: emulator.Change{Action: tunnelpb.ActionType_PUT_ROW, Row: own.row}, write: own.write}
}

func (f *rowFeed) next() (sample, bool) {
	if len(f.filled) == 0 {
		return sample{}, false
	}
	return f.put(f.filled[f.random.IntN(len(f.filled))]), true
}

func (f *rowFeed) more() int { return 0 }

func (f *rowFeed) ours(key string) bool {
	_, ok := f.byKey[key]
	return ok
}

func (f *rowFeed) describe(w io.Writer, rows int) {
	fmt.Fprintf(w, "table %s made; %s left %d rows in it: the base data of the tunnel %s\n", f.name, f.path, rows, tunnelOf(f.name))
	for _, c := range f.file.Columns() {
		var types []string
		for _, typ := range c.Types {
			types = append(types, rowfile.TypeName(typ))
		}
		note := ""
		switch {
		case c.Key:
			note = ", of the key"
		case len(types) == 0:
			types = []string{"empty in every row"}
		case len(types) > 1:
			note = fmt.Sprintf(" (--types %s:%s makes it one)", c.Name, types[len(types)-1])
		}
		fmt.Fprintf(w, "  %-20s %s%s\n", c.Name, strings.Join(types, " or "), note)
	}
	if f.overwritten > 0 {
		fmt.Fprintf(w, "warning: %d of the file's %d rows were overwritten by later ones with the same key, which is %s; if rows are to be told apart by more columns, name those with --key too\n",
			f.overwritten, rows+f.overwritten, strings.Join(f.file.Key(), ", "))
	}
	if n := f.file.WideIntegers(); n > 0 {
		fmt.Fprintf(w, "warning: %d numbers do not fit 64 bits and are strings, with all their digits\n", n)
	}
}

// keyText is a key as the checker writes it.
func keyText(key []plainbuffer.Cell) string {
	var parts []string
	for _, c := range key {
		parts = append(parts, string(c.Name), valueText(c.Value))
	}
	return check.KeyText(parts...)
}

// valueTexts are the columns' values for the checker.
func valueTexts(columns []plainbuffer.Cell) map[string]string {
	texts := make(map[string]string, len(columns))
	for _, c := range columns {
		texts[string(c.Name)] = valueText(c.Value)
	}
	return texts
}

// valueText is a value in JSON: a double always with a point or an exponent.
func valueText(v plainbuffer.Value) string {
	switch v.Type() {
	case plainbuffer.Integer:
		return strconv.FormatInt(v.Integer(), 10)
	case plainbuffer.Boolean:
		return strconv.FormatBool(v.Boolean())
	case plainbuffer.Double:
		text := strconv.FormatFloat(v.Double(), 'g', -1, 64)
		if !strings.ContainsAny(text, ".e") {
			text += ".0"
		}
		return text
	}
	text, _ := json.Marshal(string(v.Bytes())) // a string can always be encoded
	return string(text)
}
