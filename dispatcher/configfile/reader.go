package configfile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// reading takes the value of the setting at path; the node is never nil.
type reading func(path string, n ast.Node)

// section is what each key of a mapping means.
type section map[string]reading

// reader walks through a file and notes every mistake on the way.
type reader struct {
	mistakes []Mistake
	seen     map[string]place     // where each setting is: its value, or the key of a section
	wrong    map[string]bool      // settings that a mistake was found in
	expanded map[string]expansion // settings whose value came from the environment
}

type place struct{ line, column int }

var start = place{1, 1}

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return start
	}
	return place{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// nodePlace is where a node begins. A mapping's own token is the colon after
// its first key.
func nodePlace(n ast.Node) place {
	if n == nil {
		return start
	}
	if mapping, ok := n.(*ast.MappingNode); ok && !mapping.IsFlowStyle && len(mapping.Values) > 0 {
		return placeOf(mapping.Values[0].Key.GetToken())
	}
	return placeOf(n.GetToken())
}

// mistake notes that a setting is wrong.
func (r *reader) mistake(path string, at place, format string, args ...any) {
	r.wrong[path] = true
	r.note(path, at, format, args...)
}

// note notes a mistake within a section that says nothing of the rest of it.
func (r *reader) note(path string, at place, format string, args ...any) {
	r.mistakes = append(r.mistakes, Mistake{Line: at.line, Column: at.column, Path: path, Message: fmt.Sprintf(format, args...)})
}

// isWrong says whether a mistake was found in the setting or in a section
// around it.
func (r *reader) isWrong(path string) bool {
	for ; path != ""; path = parent(path) {
		if r.wrong[path] {
			return true
		}
	}
	return r.wrong[""]
}

// placeFor is where the setting is, or the nearest section around it.
func (r *reader) placeFor(path string) place {
	for ; path != ""; path = parent(path) {
		if at, ok := r.seen[path]; ok {
			return at
		}
	}
	return start
}

func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// section reads a mapping. One with nothing in it is like one left out.
func (r *reader) section(s section) reading {
	return func(path string, n ast.Node) {
		if n == nil || n.Type() == ast.NullType {
			return
		}
		mapping, ok := n.(ast.MapNode)
		if !ok {
			r.mistake(path, nodePlace(n), "%s: write settings, KEY: VALUE", kind(n))
			return
		}
		for entries := mapping.MapRange(); entries.Next(); {
			r.entry(s, path, entries.Key(), entries.Value())
		}
	}
}

func (r *reader) entry(s section, path string, key ast.MapKeyNode, value ast.Node) {
	at := placeOf(key.GetToken())
	name, ok := key.(*ast.StringNode)
	if !ok {
		r.note(path, at, "a key is a plain word, without anchor, alias, tag or merging")
		return
	}
	read, ok := s[name.Value]
	if !ok {
		hint := ""
		if meant := nearest(name.Value, slices.Sorted(maps.Keys(s))); meant != "" {
			hint = "; did you mean " + meant + "?"
			r.wrong[join(path, meant)] = true // so that it is not missed as well
		}
		r.note(path, at, "there is no setting %q%s", name.Value, hint)
		return
	}
	here := join(path, name.Value)
	r.seen[here] = at
	if value == nil {
		r.mistake(here, at, "has no value")
		return
	}
	read(here, value)
}

// list reads a sequence; each item is taken by a reading of its own.
func (r *reader) list(item func() reading) reading {
	return func(path string, n ast.Node) {
		if n.Type() == ast.NullType {
			return // like one left out
		}
		sequence, ok := n.(*ast.SequenceNode)
		if !ok {
			r.mistake(path, nodePlace(n), "%s: write a list, each item after a dash", kind(n))
			return
		}
		for i, n := range sequence.Values {
			here := path + "[" + strconv.Itoa(i) + "]"
			r.seen[here] = nodePlace(n)
			item()(here, n)
		}
	}
}

// later refuses a setting that has a meaning in the design and none in this
// program; instead says what holds without it, where that may matter.
func (r *reader) later(instead string) reading {
	return func(path string, _ ast.Node) {
		r.mistake(path, r.seen[path], "is not yet supported: leave it out%s", instead)
	}
}

// kind says what a node is.
func kind(n ast.Node) string {
	switch n.Type() {
	case ast.MappingType, ast.MappingValueType:
		return "this has settings of its own"
	case ast.SequenceType:
		return "this is a list"
	case ast.NullType:
		return "this is empty"
	case ast.AnchorType:
		return "anchors are not supported"
	case ast.AliasType:
		return "aliases are not supported"
	case ast.TagType:
		return "tags are not supported"
	}
	return "this is a single value"
}
