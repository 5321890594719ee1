package functions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// version is what every event of this shape says of itself.
const version = "Sync-v1"

// jsonSpace is what JSON takes for white space, which is less than Unicode.
const jsonSpace = " \t\r\n"

// Decode reads an event from the payload of an invocation. The encoding is
// told by the first byte; today it is JSON. The event does not alias payload.
//
// Every failure is a [*DecodeError]. Unknown fields are ignored, so that a
// newer dispatcher may add some; a version other than Sync-v1 is refused.
func Decode(payload []byte) (*Event, error) {
	text := bytes.TrimLeft(payload, jsonSpace)
	switch {
	case len(text) == 0:
		return nil, &DecodeError{Err: errors.New("the payload is empty"), Hint: "invoke this function from a Culvert trigger"}
	case text[0] == '{':
		return decodeJSON(text)
	case text[0]>>5 == 5: // CBOR's major type 5, a map
		return nil, &DecodeError{Err: errors.New("the payload is CBOR"), Hint: "set the trigger's format to json"}
	}
	return nil, &DecodeError{
		Err:  fmt.Errorf("the payload begins with byte %#02x", text[0]),
		Hint: "an event is a JSON object; is something other than a Culvert trigger invoking this function?",
	}
}

func decodeJSON(text []byte) (*Event, error) {
	e := new(Event)
	if err := json.Unmarshal(text, e); err != nil {
		return nil, &DecodeError{Err: err, Hint: "an event has the shape of Function Compute's Tablestore trigger"}
	}
	if e.Version != version {
		return nil, &DecodeError{
			Err:  fmt.Errorf("the version is %q, not %q", e.Version, version),
			Hint: "build the handler with the functions package that belongs to the dispatcher",
		}
	}
	for i, r := range e.Records {
		if r == nil {
			return nil, &DecodeError{Err: fmt.Errorf("record %d is null", i), Hint: "an event has the shape of Function Compute's Tablestore trigger"}
		}
	}
	return e, nil
}

// DecodeError says why a payload is no event.
type DecodeError struct {
	Err  error
	Hint string // what the operator may do
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("functions: decode the event: %v (%s)", e.Err, e.Hint)
}

func (e *DecodeError) Unwrap() error { return e.Err }
