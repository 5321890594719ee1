package rowfile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// mostLine bounds a line of JSON in bytes, so that a file of another kind is
// not taken into memory whole.
const mostLine = 64 << 20

// eachJSON reads a row a line. Lines without anything are passed over.
func (f *File) eachJSON(in *bufio.Reader, yield func(*rawRow) error) error {
	row := &rawRow{}
	for line := 1; ; line++ {
		text, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return &Error{Path: f.spec.Path, Line: line, Err: plain(err)}
		}
		ended := err != nil
		if len(bytes.TrimSpace(text)) > 0 {
			row.line, row.cells = line, row.cells[:0]
			if err := f.parse(text, row); err != nil {
				return err
			}
			if err := yield(row); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
	}
}

// readLine reads up to the next newline, or to the end with io.EOF.
func readLine(in *bufio.Reader) (line []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > mostLine:
			return nil, fmt.Errorf("a line of more than %d MiB", mostLine>>20)
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		}
	}
}

// parse reads one object.
func (f *File) parse(text []byte, row *rawRow) error {
	fail := func(offset int64, err error) error {
		return &Error{Path: f.spec.Path, Line: row.line, Offset: int(offset), Err: err}
	}
	if !utf8.Valid(text) {
		return fail(0, errNotUTF8)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	syntax := func(err error) error {
		var wrong *json.SyntaxError
		switch {
		case errors.As(err, &wrong):
			return fail(decoder.InputOffset()+1, wrong)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return fail(int64(len(bytes.TrimRight(text, "\r\n"))), errors.New("the object does not end: each must be in one line"))
		}
		return fail(decoder.InputOffset()+1, err)
	}
	switch first, err := decoder.Token(); {
	case err != nil:
		return syntax(err)
	case first == json.Delim('['):
		return fail(1, errors.New("an array: write one object a line, without brackets and commas around them (jq -c '.[]' does that)"))
	case first != json.Delim('{'):
		return fail(1, errors.New("not an object: a row is one, such as {\"id\":1,\"name\":\"Ada\"}"))
	}
	met := map[string]bool{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return syntax(err)
		}
		name, _ := token.(string) // the decoder lets nothing else pass
		at := decoder.InputOffset()
		switch {
		case name == "":
			return fail(at, errors.New("a column without a name"))
		case met[name]:
			return fail(at, fmt.Errorf("column %q twice in one row", name))
		}
		met[name] = true
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return syntax(err)
		}
		if cell, ok := f.cellOf(name, value, row.line); ok {
			row.cells = append(row.cells, cell)
		}
	}
	if _, err := decoder.Token(); err != nil { // the closing brace
		return syntax(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fail(decoder.InputOffset(), errors.New("something follows the object: one row a line"))
	}
	return nil
}

// cellOf takes a value that is right JSON. A null makes no cell, but a column.
func (f *File) cellOf(name string, value json.RawMessage, line int) (rawCell, bool) {
	cell := rawCell{column: f.column(name), line: line, text: string(value)}
	switch value[0] {
	case 'n':
		return cell, false
	case '"':
		cell.kind = quoted
		_ = json.Unmarshal(value, &cell.text) // it has been parsed
	case 't', 'f':
		cell.kind = boolean
	case '{', '[':
		cell.kind = nested
		var compact bytes.Buffer
		_ = json.Compact(&compact, value) // it has been parsed
		cell.text = compact.String()
	default:
		cell.kind = number
	}
	return cell, true
}
