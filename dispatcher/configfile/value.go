package configfile

import (
	"errors"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// expansion is a value that came from the environment, in part at least. It
// may be a secret and is shown as it was written.
type expansion struct{ written, value string }

// unexpanded is a message about the setting with its value as it was written.
func (r *reader) unexpanded(path, message string) string {
	e, ok := r.expanded[path]
	if !ok || e.value == "" {
		return message
	}
	return strings.NewReplacer(strconv.Quote(e.value), strconv.Quote(e.written), e.value, e.written).Replace(message)
}

// scalar is the text of a single value with variables put in. Numbers and
// booleans are taken as they are written: a key secret of digits is text.
// Whatever is wrong has been noted when ok is false.
func (r *reader) scalar(path string, n ast.Node) (text string, ok bool) {
	at := nodePlace(n)
	switch n := n.(type) {
	case *ast.StringNode:
		text = n.Value
	case *ast.LiteralNode:
		text = n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		text = n.GetToken().Value
	case *ast.NullNode:
		r.mistake(path, r.seen[path], "has no value: give it one or leave it out")
		return "", false
	default:
		r.mistake(path, at, "%s: write a single value", kind(n))
		return "", false
	}
	r.seen[path] = at
	expanded, problem := expand(text)
	if problem != "" {
		r.mistake(path, at, "%s", problem)
		return "", false
	}
	if expanded != text {
		r.expanded[path] = expansion{written: text, value: expanded}
	}
	if expanded == "" {
		r.mistake(path, at, "is empty: give it a value or leave it out")
		return "", false
	}
	return expanded, true
}

// shown is the setting's text as it was written, for a message.
func (r *reader) shown(path, text string) string {
	if e, ok := r.expanded[path]; ok {
		text = e.written
	}
	return strconv.Quote(text)
}

var variable = regexp.MustCompile(`\$?\$\{[^}]*\}?`)
var variableName = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

// expand puts the environment's variables in. A problem is told in words; it
// shows no more of the text than a variable's name.
func expand(text string) (expanded, problem string) {
	expanded = variable.ReplaceAllStringFunc(text, func(v string) string {
		if strings.HasPrefix(v, "$$") {
			return v[1:]
		}
		name := variableName.FindStringSubmatch(v)
		if name == nil {
			problem = "${ must be followed by the name of an environment variable and }; write $${ for the text ${"
			return ""
		}
		value, ok := os.LookupEnv(name[1])
		if !ok {
			problem = "the environment variable " + name[1] + " is not set"
		}
		return value
	})
	return expanded, problem
}

func (r *reader) text(to *string) reading {
	return func(path string, n ast.Node) {
		if text, ok := r.scalar(path, n); ok {
			*to = text
		}
	}
}

func (r *reader) oneOf(words []string, set func(word string)) reading {
	return func(path string, n ast.Node) {
		text, ok := r.scalar(path, n)
		if !ok {
			return
		}
		for _, word := range words {
			if word == text {
				set(word)
				return
			}
		}
		r.mistake(path, r.seen[path], "%s is none of %s", r.shown(path, text), strings.Join(words, ", "))
	}
}

// nonZero notes a zero that somebody wrote: in a dispatcher.Config it would
// silently mean the default.
func (r *reader) nonZero(path string, isZero bool) {
	if isZero {
		r.mistake(path, r.seen[path], "0 is out of range; leave it out for the default")
	}
}

func (r *reader) count(to *int) reading {
	return func(path string, n ast.Node) {
		text, ok := r.scalar(path, n)
		if !ok {
			return
		}
		v, err := strconv.ParseInt(text, 10, 0)
		if errors.Is(err, strconv.ErrRange) {
			r.mistake(path, r.seen[path], "%s is out of range", r.shown(path, text))
			return
		}
		if err != nil {
			r.mistake(path, r.seen[path], "%s is not a whole number", r.shown(path, text))
			return
		}
		r.nonZero(path, v == 0)
		*to = int(v)
	}
}

func (r *reader) duration(to *time.Duration) reading {
	return func(path string, n ast.Node) {
		before := len(r.mistakes)
		r.durationOrZero(to)(path, n)
		if len(r.mistakes) == before {
			r.nonZero(path, *to == 0)
		}
	}
}

func (r *reader) durationOrZero(to *time.Duration) reading {
	return func(path string, n ast.Node) {
		text, ok := r.scalar(path, n)
		if !ok {
			return
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			r.mistake(path, r.seen[path], "%s is not a duration: write 200ms, 30s, 5m or 1h30m", r.shown(path, text))
			return
		}
		*to = d
	}
}

var size = regexp.MustCompile(`^(-?[0-9]+) ?(B|KiB|MiB|GiB)?$`)

func (r *reader) bytes(to *int64) reading {
	return func(path string, n ast.Node) {
		text, ok := r.scalar(path, n)
		if !ok {
			return
		}
		parts := size.FindStringSubmatch(text)
		if parts == nil {
			r.mistake(path, r.seen[path], "%s is not a size: write a number of bytes, or 64KiB, 4MiB, 1GiB", r.shown(path, text))
			return
		}
		v, err := strconv.ParseInt(parts[1], 10, 64)
		unit := map[string]int64{"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[parts[2]]
		if err != nil || v*unit/unit != v {
			r.mistake(path, r.seen[path], "%s is out of range", r.shown(path, text))
			return
		}
		r.nonZero(path, v == 0)
		*to = v * unit
	}
}

var database = regexp.MustCompile(`^(/[0-9]{0,9})?$`)

// redis reads the URL of a Redis server. It is never shown: it may hold a
// password.
func (r *reader) redis(to *string) reading {
	return func(path string, n ast.Node) {
		text, ok := r.scalar(path, n)
		if !ok {
			return
		}
		u, err := url.Parse(text)
		switch {
		case err == nil && u.Scheme == "rediss":
			r.mistake(path, r.seen[path], "rediss:// is not yet supported: use redis:// within a trusted network")
		case err != nil || u.Scheme != "redis" || u.Hostname() == "" || !database.MatchString(u.Path) || u.RawQuery != "" || u.Fragment != "":
			r.mistake(path, r.seen[path], "not the URL of a Redis server: write redis://[USER:PASSWORD@]HOST[:PORT][/DB]")
		default:
			*to = text
		}
	}
}
