package rowfile

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// eachCSV reads the header and then the rows.
func (f *File) eachCSV(in *bufio.Reader, yield func(*rawRow) error) error {
	reader := csv.NewReader(in)
	reader.FieldsPerRecord = -1 // our error says more
	reader.ReuseRecord = true
	header, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return f.errorf(0, "", "it is empty: its first line must name the columns")
	}
	if err != nil {
		return f.syntax(err)
	}
	columns, err := f.header(header)
	if err != nil {
		return err
	}
	row := &rawRow{}
	for {
		fields, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return f.syntax(err)
		}
		row.line, _ = reader.FieldPos(0)
		if len(fields) != len(columns) {
			return f.errorf(row.line, "", "%d cells, and the header names %d columns; a cell with a comma or a line break in it stands in quotes", len(fields), len(columns))
		}
		row.cells = row.cells[:0]
		for i, text := range fields {
			if text == "" {
				continue
			}
			line, offset := reader.FieldPos(i)
			if columns[i] == nil {
				return &Error{Path: f.spec.Path, Line: line, Offset: offset, Err: fmt.Errorf("the header has no name for the %s column", ordinal(i+1))}
			}
			if !utf8.ValidString(text) {
				return &Error{Path: f.spec.Path, Line: line, Offset: offset, Column: columns[i].name, Err: errNotUTF8}
			}
			row.cells = append(row.cells, rawCell{column: columns[i], text: text, line: line})
		}
		if err := yield(row); err != nil {
			return err
		}
	}
}

var errNotUTF8 = errors.New("not UTF-8: save the file in this encoding")

// header makes the columns that the first line names; nil stands for a column
// without a name, which must stay empty.
func (f *File) header(names []string) ([]*column, error) {
	columns := make([]*column, len(names))
	met := map[string]bool{}
	for i, name := range names {
		name = strings.Clone(strings.TrimSpace(name))
		switch {
		case name == "":
			continue
		case !utf8.ValidString(name):
			return nil, f.errorf(1, "", "the header is %w", errNotUTF8)
		case met[name]:
			return nil, f.errorf(1, name, "the header names it twice")
		}
		met[name] = true
		columns[i] = f.column(name)
	}
	for _, name := range f.spec.Key {
		if met[name] {
			continue
		}
		hint := ""
		if len(names) == 1 && strings.ContainsAny(names[0], ";\t|") {
			hint = "; columns are separated by commas"
		}
		return nil, f.errorf(1, "", "there is no column %q, which the key names; the header has: %s%s", name, f.names(), hint)
	}
	return columns, nil
}

// syntax is an error of the CSV reader as ours.
func (f *File) syntax(err error) error {
	e, ok := errors.AsType[*csv.ParseError](err)
	if !ok {
		return &Error{Path: f.spec.Path, Err: plain(err)}
	}
	problem := e.Err
	switch {
	case errors.Is(problem, csv.ErrQuote):
		problem = fmt.Errorf(`a quote that is not at its place: a cell in quotes begins and ends with them, and has each quote within twice (it began in line %d)`, e.StartLine)
	case errors.Is(problem, csv.ErrBareQuote):
		problem = errors.New(`a quote in a cell that is not in quotes: write the cell as "…", with each quote within twice`)
	}
	return &Error{Path: f.spec.Path, Line: e.Line, Offset: e.Column, Err: problem}
}

func ordinal(n int) string {
	switch n {
	case 1:
		return "first"
	case 2:
		return "second"
	case 3:
		return "third"
	}
	return fmt.Sprintf("%dth", n)
}
