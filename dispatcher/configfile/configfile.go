// Package configfile reads the configuration of a dispatcher from a YAML
// file, and says of every mistake in it where it is: file, line and column.
//
// Every scalar may hold ${NAME}, which stands for the environment variable
// NAME; $${NAME} stands for the text ${NAME}. Durations are written as 200ms,
// 30s, 5m or 1h30m, sizes as a number of bytes or as 64KiB, 4MiB or 1GiB. A
// setting that is left out has its default; see [dispatcher.Config].
// Anchors, aliases, tags and several documents in one file are refused.
package configfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/culvertio/culvert/dispatcher"
)

// File is what a configuration file says.
type File struct {
	Dispatcher dispatcher.Config // validated; what was left out is zero
	Ledger     Ledger
	Log        Log
}

// Ledger says where the ledger is.
type Ledger struct {
	Redis string // redis:// URL, possibly with a password; empty: the embedded one
}

// Log says what is logged, and how.
type Log struct {
	Level  slog.Level // default info
	Format string     // text, json, or auto, the default: text on a terminal
}

// Error lists the mistakes of one file, in the order of their places.
type Error struct {
	File     string
	Mistakes []Mistake // at least one
}

// Mistake is one mistake and its place. Lines and columns count from 1;
// columns are characters.
type Mistake struct {
	Line, Column int
	Path         string // of the setting: triggers[0].batch.records; may be empty
	Message      string // what is wrong, and what would be right; never a secret
}

// Error has one line for each mistake: file:line:column: setting: message.
func (e *Error) Error() string {
	var text strings.Builder
	for i, m := range e.Mistakes {
		if i > 0 {
			text.WriteByte('\n')
		}
		fmt.Fprintf(&text, "%s:%d:%d: ", e.File, m.Line, m.Column)
		if m.Path != "" {
			text.WriteString(m.Path + ": ")
		}
		text.WriteString(m.Message)
	}
	return text.String()
}

// Load reads a file. The error is an [*Error], or says why the file cannot
// be read.
func Load(path string) (File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return File{}, fmt.Errorf("reading the configuration: %w", err)
	}
	return Parse(path, text)
}

// Parse reads the text of a file; name is the file's in errors. The error is
// an [*Error].
func Parse(name string, text []byte) (File, error) {
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	r := reader{seen: map[string]place{}, wrong: map[string]bool{}, expanded: map[string]expansion{}}
	f := File{Log: Log{Format: "auto"}}
	body, ok := r.parse(text)
	if ok {
		r.section(schema(&r, &f))("", body)
		r.validate(f.Dispatcher)
	}
	if len(r.mistakes) == 0 {
		return f, nil
	}
	slices.SortStableFunc(r.mistakes, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return File{}, &Error{File: name, Mistakes: r.mistakes}
}

// parse reads the text as YAML. A body of nil is an empty file.
func (r *reader) parse(text []byte) (body ast.Node, ok bool) {
	file, err := parser.ParseBytes(text, 0)
	if e, ok := errors.AsType[yaml.Error](err); ok {
		// Not the error's own text, which quotes the file and so its secrets.
		r.mistake("", placeOf(e.GetToken()), "not YAML: %s", strings.ReplaceAll(e.GetMessage(), "\t", `\t`))
		return nil, false
	}
	if err != nil {
		r.mistake("", start, "not YAML")
		return nil, false
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			r.mistake("", nodePlace(doc.Body), "a second document: one file is one configuration")
			return nil, false
		}
		body = doc.Body
	}
	return body, true
}

// validate adds what is wrong with the settings' values, each at its place,
// but for settings that something was found wrong with already.
func (r *reader) validate(c dispatcher.Config) {
	err := c.Validate()
	if err == nil {
		return
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		r.mistake("", start, "%v", err)
		return
	}
	for _, err := range joined.Unwrap() {
		e, ok := errors.AsType[*dispatcher.FieldError](err)
		if !ok {
			r.mistake("", start, "%v", err)
		} else if !r.isWrong(e.Path) {
			r.mistake(e.Path, r.placeFor(e.Path), "%s", r.unexpanded(e.Path, e.Message))
		}
	}
}
