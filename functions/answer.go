package functions

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Answer is what a handler answers when single records failed.
type Answer struct {
	BatchItemFailures []ItemFailure `json:"batchItemFailures"`
}

// ItemFailure names one failed record.
type ItemFailure struct {
	ItemIdentifier string `json:"itemIdentifier"` // the record's Id
}

const (
	failuresKey   = "batchItemFailures"
	identifierKey = "itemIdentifier"
)

// ParseAnswer reads what a function answered to a batch. An answer without
// failures is success. Whether the identifiers name records of the batch is
// for the caller to check; one may come twice.
//
// Native triggers ignore answers, so functions that were written for them
// answer anything at all, and that is success. But an answer that may have
// been meant to list failures is read strictly, since records would be lost
// if it were taken for success. In full:
//
//   - nothing, white space, null, true, a number: success.
//   - an object with the key batchItemFailures: its value is null or a list of
//     objects, each with an itemIdentifier, a string that is not empty. Keys
//     that resemble neither may stand beside them.
//   - an object with a key that resembles batchItemFailures (another case, a
//     missing s, batch_item_failures), and one with a key twice: an error.
//   - an object or a list that has batchItemFailures or itemIdentifier, or what
//     resembles them, anywhere else, such as {"data":{"batchItemFailures":…}}:
//     an error. Any other one, such as {"ok":true}: success.
//   - a string whose content, or whose content out of base64, is an object or
//     a list is judged as that: the Go runtimes answer so when a handler
//     returns its JSON as a string or as bytes. Any other string: success.
//   - text that is not JSON: success, unless it begins like JSON or like a
//     page of HTML ({, [, " or <) or holds control characters: then it is an
//     answer cut short, or not the function's.
//
// Every error is an [*AnswerError].
func ParseAnswer(b []byte) (Answer, error) {
	text := bytes.Trim(b, jsonSpace)
	if len(text) == 0 {
		return Answer{}, nil
	}
	a, err := parseAnswer(text)
	if err != nil {
		return Answer{}, &AnswerError{Answer: excerpt(text), Err: err}
	}
	return a, nil
}

// AnswerError says why an answer was not understood.
type AnswerError struct {
	Answer string // its start
	Err    error
}

func (e *AnswerError) Error() string {
	return fmt.Sprintf(`functions: the function's answer %s: %v (answer nothing, or {"batchItemFailures":[{"itemIdentifier":"<record id>"}]})`, e.Answer, e.Err)
}

func (e *AnswerError) Unwrap() error { return e.Err }

func parseAnswer(text []byte) (Answer, error) {
	if !json.Valid(text) {
		return Answer{}, checkPlain(text)
	}
	switch text[0] {
	case '{':
		return parseObject(text)
	case '[':
		if mentionsFailures(text) {
			return Answer{}, fmt.Errorf("a list with failures in it; they belong into an object, under %s", failuresKey)
		}
	case '"':
		var s string
		if err := json.Unmarshal(text, &s); err != nil {
			return Answer{}, err
		}
		if inner := jsonIn(s); inner != nil {
			return parseAnswer(inner)
		}
	}
	return Answer{}, nil
}

// checkPlain passes text that is meant for people.
func checkPlain(text []byte) error {
	switch text[0] {
	case '{', '[', '"':
		return errors.New("begins like JSON but is not JSON; was it cut short?")
	case '<':
		return errors.New("looks like a page, not like a function's answer; is the address the function's own?")
	}
	if !utf8.Valid(text) || bytes.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }) {
		return errors.New("is neither JSON nor text")
	}
	return nil
}

// jsonIn is the object or list that a string holds, or nil.
func jsonIn(s string) []byte {
	inner := bytes.Trim([]byte(s), jsonSpace)
	if decoded, err := base64.StdEncoding.DecodeString(s); err == nil {
		inner = bytes.Trim(decoded, jsonSpace)
	}
	if len(inner) == 0 || inner[0] != '{' && inner[0] != '[' || !json.Valid(inner) {
		return nil
	}
	return inner
}

func parseObject(text []byte) (Answer, error) {
	var (
		a    Answer
		seen = map[string]bool{}
	)
	err := eachMember(text, func(key string, value json.RawMessage) error {
		switch {
		case seen[key]:
			return fmt.Errorf("the key %q comes twice", key)
		case key == failuresKey:
			var err error
			if a.BatchItemFailures, err = parseFailures(value); err != nil {
				return err
			}
		case resembles(key, failuresKey):
			return fmt.Errorf("the key %q; is %s meant?", key, failuresKey)
		case mentionsFailures(value):
			return fmt.Errorf("the key %q has failures in it; they belong under %s, at the top", key, failuresKey)
		}
		seen[key] = true
		return nil
	})
	if err != nil {
		return Answer{}, err
	}
	return a, nil
}

func parseFailures(text []byte) ([]ItemFailure, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(text, &items); err != nil {
		return nil, fmt.Errorf("%s is not a list", failuresKey)
	}
	var failures []ItemFailure
	for i, item := range items {
		id, err := parseFailure(item)
		if err != nil {
			return nil, fmt.Errorf("%s, entry %d: %w", failuresKey, i, err)
		}
		failures = append(failures, ItemFailure{ItemIdentifier: id})
	}
	return failures, nil
}

func parseFailure(item []byte) (string, error) {
	if item[0] != '{' {
		return "", errors.New("not an object")
	}
	var (
		id    *string
		found bool
	)
	err := eachMember(item, func(key string, value json.RawMessage) error {
		switch {
		case key == identifierKey && found:
			return fmt.Errorf("the key %q comes twice", key)
		case key == identifierKey:
			found = true
			if err := json.Unmarshal(value, &id); err != nil {
				return fmt.Errorf("%s is not a string", identifierKey)
			}
		case resembles(key, identifierKey):
			return fmt.Errorf("the key %q; is %s meant?", key, identifierKey)
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case !found:
		return "", fmt.Errorf("no %s", identifierKey)
	case id == nil || *id == "":
		return "", fmt.Errorf("%s is null or empty", identifierKey)
	}
	return *id, nil
}

// mentionsFailures says whether something like one of the two keys stands
// anywhere in a JSON value, be it within a string.
func mentionsFailures(text []byte) bool {
	var value any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // a number beyond float64 must not hide the rest
	return d.Decode(&value) == nil && mentions(value)
}

func mentions(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			if resembles(key, failuresKey) || resembles(key, identifierKey) || mentions(inner) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(value, mentions)
	case string:
		inner := jsonIn(value)
		return inner != nil && mentionsFailures(inner)
	}
	return false
}

// eachMember calls f for the members of a valid JSON object, in order and
// with repetitions, which a map would hide.
func eachMember(object []byte, f func(key string, value json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return fmt.Errorf("a key that is no string: %v", token)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

// resembles says whether key may be a misspelling of name: at most three
// letters inserted, left out or replaced, whatever the case, and whatever
// stands between the letters.
func resembles(key, name string) bool {
	const most = 3
	a, b := lettersOf(key), lettersOf(name)
	if len(a) > len(b)+most || len(b) > len(a)+most {
		return false
	}
	// Levenshtein's distance; row[j] is that of what was seen of a to b[:j].
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)] <= most
}

// lettersOf is s without anything but letters, in lower case.
func lettersOf(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}
