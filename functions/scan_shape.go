package functions

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// shape is how records are scanned into one type of struct.
type shape struct {
	fields []field
	err    error // the type is wrong
}

// field is one field of a struct that has a column.
type field struct {
	index  []int
	name   string // Order.Amount
	typ    reflect.Type
	column string
	key    bool
	change bool // it is a Change
	set    setter
}

// shapes holds the shape of every type that was scanned into. It only saves
// work: what is in it follows from the type.
var shapes sync.Map // of reflect.Type to *shape

func shapeOf(dst any) (into reflect.Value, s *shape, err error) {
	pointer := reflect.ValueOf(dst)
	if pointer.Kind() != reflect.Pointer || pointer.IsNil() || pointer.Elem().Kind() != reflect.Struct {
		return into, nil, &StructError{Type: reflect.TypeOf(dst), Problems: []string{"it must be a pointer to a struct, and not nil"}}
	}
	t := pointer.Type().Elem()
	known, ok := shapes.Load(t)
	if !ok {
		known, _ = shapes.LoadOrStore(t, newShape(t))
	}
	s = known.(*shape)
	return pointer.Elem(), s, s.err
}

// level is a struct whose fields are looked at: the one that is scanned into,
// or one embedded in it.
type level struct {
	typ   reflect.Type
	index []int
	name  string
}

// survey looks at a struct's fields, depth by depth, so that it meets the
// least deeply embedded one of a name first.
type survey struct {
	fields   []field
	problems []string
	above    map[string]bool   // columns that have a field at a lesser depth
	here     map[string]string // at this depth, with their fields' names
	deeper   []level
}

func newShape(t reflect.Type) *shape {
	s := survey{above: map[string]bool{}}
	for depth := []level{{typ: t, name: cmp.Or(t.Name(), "struct")}}; len(depth) > 0; depth = s.deeper {
		s.here, s.deeper = map[string]string{}, nil
		for _, l := range depth {
			for i := range l.typ.NumField() {
				s.visit(l, i)
			}
		}
		for column := range s.here {
			s.above[column] = true
		}
	}
	if len(s.problems) == 0 && len(s.fields) == 0 {
		s.problems = []string{"no field has a tag such as `ots:\"column\"`"}
	}
	if len(s.problems) > 0 {
		return &shape{err: &StructError{Type: t, Problems: s.problems}}
	}
	return &shape{fields: s.fields}
}

// visit looks at field i of a struct.
func (s *survey) visit(l level, i int) {
	f := l.typ.Field(i)
	name := l.name + "." + f.Name
	index := append(slices.Clone(l.index), i)
	tag, tagged := f.Tag.Lookup("ots")
	switch {
	case tag == "-":
	case tagged:
		made, err := newField(f, tag)
		if err != nil {
			s.problem(name, err.Error())
			return
		}
		if s.above[made.column] {
			return
		}
		if other, taken := s.here[made.column]; taken {
			s.problem(name, fmt.Sprintf("column %q is that of %s already", made.column, other))
			return
		}
		s.here[made.column] = name
		made.index, made.name = index, name
		s.fields = append(s.fields, made)
	case !f.Anonymous:
	case f.Type.Kind() == reflect.Struct:
		s.deeper = append(s.deeper, level{f.Type, index, name})
	case f.Type.Kind() == reflect.Pointer && hasTags(f.Type.Elem()):
		s.problem(name, "embed the struct itself, not a pointer to it")
	}
}

func (s *survey) problem(field, what string) { s.problems = append(s.problems, field+": "+what) }

func hasTags(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	for i := range t.NumField() {
		if _, tagged := t.Field(i).Tag.Lookup("ots"); tagged {
			return true
		}
	}
	return false
}

// newField reads a tag: the column's name, and perhaps ",key".
func newField(f reflect.StructField, tag string) (made field, err error) {
	column, option, hasOption := strings.Cut(tag, ",")
	switch {
	case !f.IsExported():
		return made, errors.New("the field has a tag but is not exported")
	case column == "":
		return made, fmt.Errorf("the tag `ots:%q` names no column", tag)
	case hasOption && option != "key":
		return made, fmt.Errorf("the tag `ots:%q` has an unknown option; there is key, after the column's name", tag)
	}
	made = field{typ: f.Type, column: column, key: hasOption}
	value := f.Type
	if made.change = isChange(f.Type); made.change {
		if made.key {
			return made, errors.New("a column of the primary key does not change: use its type without Change")
		}
		value = f.Type.Field(changeValue).Type
	}
	if made.set = setterOf(value); made.set == nil {
		return made, fmt.Errorf("no column fits into the type %s", f.Type)
	}
	return made, nil
}

// isChange says whether t is a [Change] of anything, rather than a struct that
// has one embedded.
func isChange(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	c, ok := reflect.Zero(t).Interface().(interface{ changeType() reflect.Type })
	return ok && c.changeType() == t
}

func (Change[T]) changeType() reflect.Type { return reflect.TypeFor[Change[T]]() }
