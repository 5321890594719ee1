package functions

import (
	"encoding"
	"errors"
	"reflect"
)

// setter sets a field to a value, or says why it does not fit.
type setter func(field reflect.Value, v Value) error

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
