package rowfile

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// column is what is known of a column.
type column struct {
	name   string
	cell   []byte // the name, as all cells share it
	key    bool
	forced plainbuffer.Type // None: inferred
	any    bool             // it has a cell

	// CSV: what no cell has ruled out yet.
	noInteger, noDouble, noBoolean bool
	wide                           bool // a cell is an integer that a double cannot hold

	// JSON lines: the types met, and the line of the first.
	met   []plainbuffer.Type
	first int
}

// column finds or makes a column.
func (f *File) column(name string) *column {
	c := f.columns[name]
	if c == nil {
		c = &column{name: name, cell: []byte(name), key: slices.Contains(f.spec.Key, name), forced: plainbuffer.None}
		if forced, ok := f.spec.Types[name]; ok {
			c.forced = forced
		}
		f.columns[name] = c
		f.order = append(f.order, c)
	}
	return c
}

// types of the values, as [Column] gives them.
func (c *column) types() []plainbuffer.Type {
	switch {
	case !c.any:
		return nil
	case c.forced != plainbuffer.None:
		return []plainbuffer.Type{c.forced}
	case c.met != nil:
		return c.met
	}
	return []plainbuffer.Type{c.inferred()}
}

// inferred is the type of a CSV column.
func (c *column) inferred() plainbuffer.Type {
	switch {
	case !c.noInteger:
		return plainbuffer.Integer
	case c.key:
		return plainbuffer.String
	case !c.noDouble && !c.wide:
		return plainbuffer.Double
	case !c.noBoolean:
		return plainbuffer.Boolean
	}
	return plainbuffer.String
}

// observe takes a row into what is known of the columns.
func (f *File) observe(r *rawRow) error {
	for _, cell := range r.cells {
		c := cell.column
		c.any = true
		switch {
		case c.forced != plainbuffer.None:
			if _, err := cell.as(c.forced); err != nil {
				return f.errorf(cell.line, c.name, "%w", err)
			}
		case cell.kind == bare:
			c.observe(cell.text)
		default:
			if err := f.meet(cell); err != nil {
				return err
			}
		}
	}
	return f.hasKey(r)
}

// observe takes a CSV cell.
func (c *column) observe(text string) {
	if !c.noInteger || !c.noDouble {
		integer := isInteger(text)
		c.noInteger = c.noInteger || !integer
		c.noDouble = c.noDouble || !integer && !isDouble(text)
		if integer {
			n, _ := strconv.ParseInt(text, 10, 64) // it is one
			c.wide = c.wide || n > 1<<53 || n < -1<<53
		}
	}
	if !c.noBoolean {
		_, isBoolean := booleans[text]
		c.noBoolean = !isBoolean
	}
}

// meet takes a value of JSON lines.
func (f *File) meet(cell rawCell) error {
	c, typ := cell.column, cell.ownType()
	if cell.kind == number && typ == plainbuffer.String {
		f.wide++
	}
	if c.key {
		switch {
		case typ != plainbuffer.Integer && typ != plainbuffer.String:
			return f.errorf(cell.line, c.name, "a %s cannot be of the key, and %s is one; an integer or a string can (--types %s:string makes it one)", TypeName(typ), shorten(cell.text), c.name)
		case len(c.met) > 0 && c.met[0] != typ:
			return f.errorf(cell.line, c.name, "%s is %s %s, and in line %d it was %s %s; a key column has one type (--types %s:string makes all of them strings)",
				shorten(cell.text), article(typ), TypeName(typ), c.first, article(c.met[0]), TypeName(c.met[0]), c.name)
		}
	}
	if c.met == nil {
		c.first = cell.line
	}
	if !slices.Contains(c.met, typ) {
		c.met = append(c.met, typ)
	}
	return nil
}

// hasKey says whether a row has its whole key.
func (f *File) hasKey(r *rawRow) error {
	for _, name := range f.spec.Key {
		at := slices.IndexFunc(r.cells, func(c rawCell) bool { return c.column.name == name })
		if at < 0 {
			var has []string
			for _, c := range r.cells {
				has = append(has, c.column.name)
			}
			return f.errorf(r.line, name, "this row has no value in it, and it is of the key; it has: %s", strings.Join(has[:min(len(has), 20)], ", "))
		}
	}
	return nil
}

// convert gives every cell its type.
func (f *File) convert(r *rawRow) (Row, error) {
	row := Row{Line: r.line, Key: make([]plainbuffer.Cell, len(f.spec.Key)), Columns: make([]plainbuffer.Cell, 0, len(r.cells))}
	if err := f.hasKey(r); err != nil { // the file was changed
		return row, err
	}
	for _, cell := range r.cells {
		typ := cell.ownType()
		if types := cell.column.types(); len(types) == 1 && (cell.kind == bare || cell.column.forced != plainbuffer.None) {
			typ = types[0]
		}
		value, err := cell.as(typ)
		if err != nil {
			return row, f.errorf(cell.line, cell.column.name, "%w", err)
		}
		made := plainbuffer.Cell{Name: cell.column.cell, Value: value}
		if cell.column.key {
			row.Key[slices.Index(f.spec.Key, cell.column.name)] = made
		} else {
			row.Columns = append(row.Columns, made)
		}
	}
	return row, nil
}

// ownType is the type that a value is written with.
func (c rawCell) ownType() plainbuffer.Type {
	switch {
	case c.kind == boolean:
		return plainbuffer.Boolean
	case c.kind != number:
		return plainbuffer.String
	case isInteger(c.text):
		return plainbuffer.Integer
	case strings.ContainsAny(c.text, ".eE"):
		if v, err := strconv.ParseFloat(c.text, 64); err == nil && !math.IsInf(v, 0) {
			return plainbuffer.Double
		}
	}
	return plainbuffer.String // a number that no type of Tablestore holds
}

// as makes a value of a type.
func (c rawCell) as(typ plainbuffer.Type) (plainbuffer.Value, error) {
	switch typ {
	case plainbuffer.Integer:
		if v, err := strconv.ParseInt(c.text, 10, 64); err == nil && c.kind != nested {
			return plainbuffer.IntegerValue(v), nil
		}
		return plainbuffer.Value{}, fmt.Errorf("%s is no integer of 64 bits", shorten(c.text))
	case plainbuffer.Double:
		if v, err := strconv.ParseFloat(c.text, 64); err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) {
			return plainbuffer.DoubleValue(v), nil
		}
		return plainbuffer.Value{}, fmt.Errorf("%s is no double", shorten(c.text))
	case plainbuffer.Boolean:
		if v, ok := booleans[c.text]; ok {
			return plainbuffer.BooleanValue(v), nil
		}
		return plainbuffer.Value{}, fmt.Errorf("%s is neither true nor false", shorten(c.text))
	}
	return plainbuffer.StringValue(c.text), nil
}

var booleans = map[string]bool{
	"true": true, "True": true, "TRUE": true,
	"false": false, "False": false, "FALSE": false,
}

var doubleForm = regexp.MustCompile(`^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$`)

// isInteger says whether text is how an integer of 64 bits is written: no plus
// sign, no leading zero, no minus zero.
func isInteger(text string) bool {
	digits := strings.TrimPrefix(text, "-")
	if digits == "" || digits[0] < '0' || digits[0] > '9' || digits[0] == '0' && text != "0" {
		return false
	}
	_, err := strconv.ParseInt(text, 10, 64)
	return err == nil
}

// mostDigits is how many decimal digits a double tells apart at most.
const mostDigits = 17

// isDouble says whether text is how a double is written, with no more digits
// than it holds.
func isDouble(text string) bool {
	if !doubleForm.MatchString(text) {
		return false
	}
	mantissa, _, _ := strings.Cut(strings.ToLower(text), "e")
	digits := strings.TrimLeft(strings.NewReplacer("-", "", ".", "").Replace(mantissa), "0")
	v, err := strconv.ParseFloat(text, 64)
	return err == nil && !math.IsInf(v, 0) && len(digits) <= mostDigits
}

// TypeName is a type as the command line and messages write it.
func TypeName(t plainbuffer.Type) string {
	switch t {
	case plainbuffer.Integer:
		return "integer"
	case plainbuffer.Double:
		return "double"
	case plainbuffer.Boolean:
		return "boolean"
	case plainbuffer.String:
		return "string"
	}
	return "unknown"
}

// ParseType reads what [TypeName] writes.
func ParseType(name string) (plainbuffer.Type, error) {
	for _, t := range []plainbuffer.Type{plainbuffer.Integer, plainbuffer.Double, plainbuffer.Boolean, plainbuffer.String} {
		if TypeName(t) == name {
			return t, nil
		}
	}
	return plainbuffer.None, errors.New("a type is integer, double, boolean or string")
}

func article(t plainbuffer.Type) string {
	if t == plainbuffer.Integer {
		return "an"
	}
	return "a"
}

// shorten quotes a value for an error.
func shorten(text string) string {
	const most = 40
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return strconv.Quote(text)
}
