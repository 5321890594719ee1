package functions

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"reflect"
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

// setter sets a field to a value, or says why it does not fit.
type setter func(field reflect.Value, v Value) error

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

func newShape(t reflect.Type) *shape {
	s := new(shape)
	var problems []string
	found := map[string]string{} // the field of each column that a lesser depth, or this one, has
	for depth := []level{{typ: t, name: cmp.Or(t.Name(), "struct")}}; len(depth) > 0; {
		var deeper []level
		here := map[string]string{}
		for _, l := range depth {
			for i := range l.typ.NumField() {
				f := l.typ.Field(i)
				name := l.name + "." + f.Name
				index := append(append([]int(nil), l.index...), i)
				tag, tagged := f.Tag.Lookup("ots")
				switch {
				case tag == "-" || !tagged && !f.Anonymous:
				case tagged:
					made, err := newField(f, tag)
					if err != nil {
						problems = append(problems, name+": "+err.Error())
						continue
					}
					if found[made.column] != "" {
						continue
					}
					if other := here[made.column]; other != "" {
						problems = append(problems, fmt.Sprintf("%s: column %q is that of %s already", name, made.column, other))
						continue
					}
					here[made.column] = name
					made.index, made.name = index, name
					s.fields = append(s.fields, made)
				case f.Type.Kind() == reflect.Struct:
					deeper = append(deeper, level{f.Type, index, name})
				case f.Type.Kind() == reflect.Pointer && hasTags(f.Type.Elem()):
					problems = append(problems, name+": embed the struct itself, not a pointer to it")
				}
			}
		}
		for column, name := range here {
			found[column] = name
		}
		depth = deeper
	}
	if len(problems) == 0 && len(s.fields) == 0 {
		problems = []string{"no field has a tag such as `ots:\"column\"`"}
	}
	if len(problems) > 0 {
		s.err = &StructError{Type: t, Problems: problems}
	}
	return s
}

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

// setterOf is nil for a type that no column fits into.
func setterOf(t reflect.Type) setter {
	if t == reflect.TypeFor[Value]() {
		return func(field reflect.Value, v Value) error {
			field.Set(reflect.ValueOf(v))
			return nil
		}
	}
	set := setterOfKind(t)
	if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		set = textSetter(set)
	}
	if set == nil {
		return nil
	}
	return func(field reflect.Value, v Value) error {
		if v.Kind() == None {
			field.SetZero()
			return nil
		}
		return set(field, v)
	}
}

var (
	errNoKey = errors.New("the primary key has no such column")
	errKind  = errors.New("it does not fit into that type")
	errRange = errors.New("it is out of the type's range")
)

func setterOfKind(t reflect.Type) setter {
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return setInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return setUint
	case reflect.Float64:
		return func(field reflect.Value, v Value) error { return setFloat(field, v, 1<<53) }
	case reflect.Float32:
		return func(field reflect.Value, v Value) error { return setFloat(field, v, 1<<24) }
	case reflect.Bool:
		return setBool
	case reflect.String:
		return setString
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return setBytes
		}
	case reflect.Interface:
		if t.NumMethod() == 0 {
			return func(field reflect.Value, v Value) error {
				field.Set(reflect.ValueOf(v.Any()))
				return nil
			}
		}
	case reflect.Pointer:
		if t.Elem().Kind() != reflect.Pointer {
			return pointerSetter(t)
		}
	}
	return nil
}

func setInt(field reflect.Value, v Value) error {
	i, ok := v.Int64()
	if !ok {
		return errKind
	}
	if field.OverflowInt(i) {
		return errRange
	}
	field.SetInt(i)
	return nil
}

func setUint(field reflect.Value, v Value) error {
	i, ok := v.Int64()
	if !ok {
		return errKind
	}
	if i < 0 || field.OverflowUint(uint64(i)) {
		return errRange
	}
	field.SetUint(uint64(i))
	return nil
}

// setFloat takes an integer up to most, below which a float has them all.
func setFloat(field reflect.Value, v Value, most int64) error {
	f, ok := v.Float64()
	if !ok {
		i, isInteger := v.Int64()
		if !isInteger {
			return errKind
		}
		if i < -most || i > most {
			return errRange
		}
		f = float64(i)
	}
	if field.OverflowFloat(f) {
		return errRange
	}
	field.SetFloat(f)
	return nil
}

func setBool(field reflect.Value, v Value) error {
	b, ok := v.Bool()
	if !ok {
		return errKind
	}
	field.SetBool(b)
	return nil
}

func setString(field reflect.Value, v Value) error {
	s, ok := v.Text()
	if !ok {
		return errKind
	}
	field.SetString(s)
	return nil
}

func setBytes(field reflect.Value, v Value) error {
	b, ok := v.Blob()
	if !ok {
		return errKind
	}
	field.SetBytes(b)
	return nil
}

// pointerSetter makes a new value for each record, so that structs scanned
// one after the other do not share it.
func pointerSetter(t reflect.Type) setter {
	set := setterOf(t.Elem())
	if set == nil {
		return nil
	}
	return func(field reflect.Value, v Value) error {
		made := reflect.New(t.Elem())
		if err := set(made.Elem(), v); err != nil {
			return err
		}
		field.Set(made)
		return nil
	}
}

// textSetter gives strings to the type's UnmarshalText, and the rest to what
// suits its kind, which may be nil.
func textSetter(rest setter) setter {
	return func(field reflect.Value, v Value) error {
		if text, ok := v.Text(); ok {
			return field.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
		}
		if rest == nil {
			return errKind
		}
		return rest(field, v)
	}
}
