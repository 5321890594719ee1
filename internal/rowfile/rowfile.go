// Package rowfile reads the rows of a table from a file: CSV with a header
// (RFC 4180), or JSON lines, one object a line. It knows files and rows, and
// no table.
//
// A file is read twice. [File.Check] reads all of it, finds every column's
// type and the first mistake, if there is one; [File.Rows] then reads it
// again and gives the rows. So nothing is done with any row before it is
// known that all of them can be used. Neither pass keeps rows in memory.
//
// In CSV a column has one type, the narrowest that all its cells fit: integer
// (64 bits, no leading zero), double (at most 17 digits), boolean (true or
// false), string. An empty cell is no column. In JSON lines a value has the
// type that it is written with: a number with a point or an exponent is a
// double, without one an integer; one beyond 64 bits becomes a string, since
// its digits matter more than its kind; an object or array becomes its text;
// null is no column.
package rowfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// MostRows bounds the rows of a file.
const MostRows = 1_000_000

// mostKeyColumns bounds the columns of a key, as Tablestore does.
const mostKeyColumns = 4

// Spec says which file is read, and what is known of its columns.
type Spec struct {
	Path string   // ends in .csv, .jsonl or .ndjson
	Key  []string // the columns of the primary key, 1 to 4, in their order
	// Types forces columns to a type: plainbuffer.Integer, Double, Boolean or
	// String; a key column to Integer or String. The others' are inferred.
	Types map[string]plainbuffer.Type
}

// Row is one row of the file. It shares nothing with later ones but the names
// of columns, which must not be changed.
type Row struct {
	Line    int // where it begins
	Key     []plainbuffer.Cell
	Columns []plainbuffer.Cell // in the file's order
}

// Column is what [File.Check] has found out about a column.
type Column struct {
	Name   string
	Key    bool
	Forced bool
	// Types are the types of its values: at most one in CSV, in the order in
	// which they were met in JSON lines, none where all cells are empty.
	Types []plainbuffer.Type
}

// Error is a mistake in the file.
type Error struct {
	Path   string
	Line   int    // 1 and up; 0: the file as a whole
	Offset int    // in the line, in bytes, 1 and up; 0: unknown
	Column string // its name; empty: the mistake is not in one
	Err    error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	for _, n := range []int{e.Line, e.Offset} {
		if n > 0 {
			fmt.Fprintf(&b, ":%d", n)
		}
	}
	if e.Column != "" {
		fmt.Fprintf(&b, ": column %q", e.Column)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// File is a file that is being read.
type File struct {
	spec    Spec
	json    bool
	size    int64
	columns map[string]*column
	order   []*column // as first met
	rows    int
	wide    int // JSON integers beyond 64 bits

	// Progress, if set, is called after every row with the bytes read so far,
	// of [File.Size], in this pass.
	Progress func(read int64)
}

// Open checks what can be checked without reading the file's content.
func Open(spec Spec) (*File, error) {
	f := &File{spec: spec, columns: map[string]*column{}}
	switch extension := strings.ToLower(filepath.Ext(spec.Path)); extension {
	case ".csv":
	case ".jsonl", ".ndjson":
		f.json = true
	default:
		return nil, &Error{Path: spec.Path, Err: fmt.Errorf("a file's name must end in .csv (with a header) or .jsonl (one JSON object a line), not in %q", extension)}
	}
	info, err := os.Stat(spec.Path)
	if err != nil {
		return nil, &Error{Path: spec.Path, Err: plain(err)}
	}
	if !info.Mode().IsRegular() {
		return nil, &Error{Path: spec.Path, Err: errors.New("not a regular file: it is read twice, so that a pipe will not do")}
	}
	f.size = info.Size()
	if len(spec.Key) < 1 || len(spec.Key) > mostKeyColumns {
		return nil, &Error{Path: spec.Path, Err: fmt.Errorf("%d key columns: a row has 1 to %d", len(spec.Key), mostKeyColumns)}
	}
	for i, name := range spec.Key {
		if slices.Contains(spec.Key[:i], name) {
			return nil, &Error{Path: spec.Path, Column: name, Err: errors.New("named twice in the key")}
		}
		if forced, ok := spec.Types[name]; ok && forced != plainbuffer.Integer && forced != plainbuffer.String {
			return nil, &Error{Path: spec.Path, Column: name, Err: fmt.Errorf("a %s cannot be of the key; an integer or a string can", TypeName(forced))}
		}
	}
	return f, nil
}

// plain is an error of the file system without the operation and the path.
func plain(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}

// Size of the file in bytes.
func (f *File) Size() int64 { return f.size }

// Count is how many rows [File.Check] has found.
func (f *File) Count() int { return f.rows }

// WideIntegers is how many integers of JSON lines do not fit 64 bits and are
// strings therefore.
func (f *File) WideIntegers() int { return f.wide }

// Columns are the columns that [File.Check] has found, in the file's order.
func (f *File) Columns() []Column {
	var all []Column
	for _, c := range f.order {
		all = append(all, Column{Name: c.name, Key: c.key, Forced: c.forced != plainbuffer.None, Types: c.types()})
	}
	return all
}

// Key is the names of the key's columns, in their order.
func (f *File) Key() []string { return f.spec.Key }

// KeyTypes are the types of the key's columns, in the key's order.
func (f *File) KeyTypes() []plainbuffer.Type {
	var types []plainbuffer.Type
	for _, name := range f.spec.Key {
		types = append(types, f.columns[name].types()[0])
	}
	return types
}

// Check reads the whole file. Its error is an [*Error], or what stop returned:
// that is asked after every row, and ends the reading unless it is nil.
func (f *File) Check(stop func() error) error {
	err := f.each(func(r *rawRow) error {
		f.rows++
		if f.rows > MostRows {
			return f.errorf(r.line, "", "more than %d rows: take a part of the file", MostRows)
		}
		if err := f.observe(r); err != nil {
			return err
		}
		return stop()
	})
	if err != nil {
		return err
	}
	for name := range f.spec.Types {
		if f.columns[name] == nil {
			return f.errorf(0, "", "there is no column %q to give a type; there are: %s", name, f.names())
		}
	}
	if f.rows == 0 {
		return f.errorf(0, "", "there is no row in it")
	}
	return nil
}

// Rows reads the file again, after a [File.Check] that found it right, and
// gives its rows to yield, whose error ends the reading and is returned.
func (f *File) Rows(yield func(Row) error) error {
	return f.each(func(r *rawRow) error {
		row, err := f.convert(r)
		if err != nil {
			return err
		}
		return yield(row)
	})
}

func (f *File) errorf(line int, column, format string, args ...any) *Error {
	return &Error{Path: f.spec.Path, Line: line, Column: column, Err: fmt.Errorf(format, args...)}
}

// names are the columns' names, for an error.
func (f *File) names() string {
	const most = 20
	var names []string
	for _, c := range f.order {
		if len(names) == most {
			names = append(names, "…")
			break
		}
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

// rawRow is a row as the file's syntax gives it: its cells have a value, but
// no type yet.
type rawRow struct {
	line  int
	cells []rawCell
}

type rawCell struct {
	column *column
	kind   kind
	text   string
	line   int
}

// kind is how a value was written.
type kind uint8

const (
	bare    kind = iota // in CSV
	quoted              // a JSON string; text is what it says
	number              // a JSON number
	boolean             // true or false in JSON
	nested              // a JSON object or array
)

// each reads the file and gives its rows, whose cells are overwritten by the
// next row's.
func (f *File) each(yield func(*rawRow) error) error {
	opened, err := os.Open(f.spec.Path)
	if err != nil {
		return &Error{Path: f.spec.Path, Err: plain(err)}
	}
	defer opened.Close() //nolint:errcheck // only read
	counted := &countingReader{r: opened}
	in := bufio.NewReaderSize(counted, 1<<16)
	if err := f.skipMark(in); err != nil {
		return err
	}
	read := f.eachCSV
	if f.json {
		read = f.eachJSON
	}
	return read(in, func(r *rawRow) error {
		if err := yield(r); err != nil {
			return err
		}
		if f.Progress != nil {
			f.Progress(counted.read)
		}
		return nil
	})
}

// skipMark skips the byte order mark of UTF-8, and refuses UTF-16's.
func (f *File) skipMark(in *bufio.Reader) error {
	mark, err := in.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return &Error{Path: f.spec.Path, Err: plain(err)}
	}
	switch text := string(mark); {
	case text == "\xef\xbb\xbf":
		_, _ = in.Discard(len(mark)) // they are buffered
	case strings.HasPrefix(text, "\xff\xfe"), strings.HasPrefix(text, "\xfe\xff"):
		return f.errorf(1, "", "it is UTF-16: save it as UTF-8")
	}
	return nil
}

type countingReader struct {
	r    io.Reader
	read int64
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.read += int64(n)
	return n, err
}
