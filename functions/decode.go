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

// selfDescribed is the tag that CBOR may begin with to say that it is CBOR.
const selfDescribed = "\xd9\xd9\xf7"

const shapeHint = "an event has the shape of Function Compute's Tablestore trigger"

// Decode reads an event from the payload of an invocation, in JSON or in
// CBOR. The event does not alias payload.
//
// The first byte tells the formats apart: an event is an object, which begins
// with { or the white space before it in JSON, and with a map's head in CBOR,
// or with the tag that says "this is CBOR". No byte can be both.
//
// Every failure is a [*DecodeError]. Fields may come in any order, and
// unknown ones are ignored, so that a newer dispatcher may add some; a version
// other than Sync-v1 is refused. CBOR may have indefinite lengths.
func Decode(payload []byte) (*Event, error) {
	if text := bytes.TrimLeft(payload, jsonSpace); len(text) == 0 {
		return nil, &DecodeError{Err: errors.New("the payload is empty"), Hint: "invoke this function from a Culvert trigger"}
	} else if text[0] == '{' {
		e := new(Event)
		return e.checked(json.Unmarshal(text, e))
	}
	if isCBOR(payload) {
		e := new(Event)
		return e.checked(decodingCBOR.Unmarshal(payload, e))
	}
	return nil, &DecodeError{
		Err:  fmt.Errorf("the payload begins with byte %#02x", payload[0]),
		Hint: "an event is a JSON object or a CBOR map; is something other than a Culvert trigger invoking this function?",
	}
}

// isCBOR says whether a payload begins as an event in CBOR does: with a map,
// which is major type 5.
func isCBOR(payload []byte) bool {
	item := bytes.TrimPrefix(payload, []byte(selfDescribed))
	return len(item) > 0 && item[0]>>5 == 5
}

// checked is the event if it was read and is one.
func (e *Event) checked(err error) (*Event, error) {
	if err != nil {
		return nil, &DecodeError{Err: err, Hint: shapeHint}
	}
	if e.Version != version {
		return nil, &DecodeError{
			Err:  fmt.Errorf("the version is %q, not %q", e.Version, version),
			Hint: "build the handler with the functions package that belongs to the dispatcher",
		}
	}
	for i, r := range e.Records {
		if r == nil {
			return nil, &DecodeError{Err: fmt.Errorf("record %d is null", i), Hint: shapeHint}
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
