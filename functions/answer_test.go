package functions

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestAnswersThatListNoFailuresAreSuccess(t *testing.T) {
	for _, answer := range []string{
		"", " \n", "null", "true", "0", "-1.5", `""`, `"ok"`, `"null"`, `"batchItemFailures"`, "[]", "[1,2]", `[{"id":"x"}]`, "{}",
		`{"ok":true}`, `{"statusCode":200,"body":"x"}`, `{"failures":0}`, `{"failures":[]}`, `{"batch":"b1","items":["x"]}`,
		`{"batchItemFailures":null}`, `{"batchItemFailures":[]}`, `{"batchItemFailures":[],"ok":true}`,
		"ok", "processed 3 records\n", "größer",
		`"{\"ok\":true}"`, `"{\"batchItemFailures\":[]}"`, `"{not json"`,
		`"bnVsbA=="`, // base64 of null, which is what a []byte makes of it
	} {
		if got, err := ParseAnswer([]byte(answer)); err != nil || len(got.BatchItemFailures) > 0 {
			t.Errorf("%s: %+v, %v", answer, got, err)
		}
	}
}

func TestAnswersThatListFailuresAreReadWithTheirIds(t *testing.T) {
	want := Answer{BatchItemFailures: []ItemFailure{{"r1"}, {"r2"}}}
	for _, answer := range []string{
		`{"batchItemFailures":[{"itemIdentifier":"r1"},{"itemIdentifier":"r2"}]}`,
		" {\"batchItemFailures\" : [ {\"itemIdentifier\" : \"r1\"} , {\"itemIdentifier\":\"r\\u0032\"} ] }\n",
		`{"ok":false,"batchItemFailures":[{"itemIdentifier":"r1","reason":"x"},{"itemIdentifier":"r2"}]}`,
		`"{\"batchItemFailures\":[{\"itemIdentifier\":\"r1\"},{\"itemIdentifier\":\"r2\"}]}"`,
		`"eyJiYXRjaEl0ZW1GYWlsdXJlcyI6W3siaXRlbUlkZW50aWZpZXIiOiJyMSJ9LHsiaXRlbUlkZW50aWZpZXIiOiJyMiJ9XX0="`,
	} {
		got, err := ParseAnswer([]byte(answer))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %s, %v", answer, diff, err)
		}
	}
}

func TestAnAnswerThatMayHaveMeantFailuresIsNeverTakenForSuccess(t *testing.T) {
	for _, answer := range []string{
		// a misspelt key
		`{"BatchItemFailures":[]}`, `{"batchItemFailure":[{"itemIdentifier":"x"}]}`, `{"batch_item_failures":[]}`, `{"batchitemfailures":null}`,
		`{"batchItemsFailures":[]}`, `{"batchItemFalures":[]}`, `{"batchItemFailed":[]}`, `{" batchItemFailures":[]}`, `{"batchItemFailures":[],"BatchItemFailures":[]}`,
		`{"failures":[{"itemIdentifier":"x"}]}`, `{"failures":["x",{"ItemIdentifier":"x"}]}`, `[{"itemIdentifier":"x"}]`,
		// the wrong shape
		`{"batchItemFailures":{}}`, `{"batchItemFailures":"x"}`, `{"batchItemFailures":true}`, `{"batchItemFailures":["x"]}`,
		`{"batchItemFailures":[null]}`, `{"batchItemFailures":[[]]}`, `{"batchItemFailures":[{}]}`, `{"batchItemFailures":[{"itemIdentifier":null}]}`,
		`{"batchItemFailures":[{"itemIdentifier":""}]}`, `{"batchItemFailures":[{"itemIdentifier":7}]}`, `{"batchItemFailures":[{"itemIdentifer":"x"}]}`,
		`{"batchItemFailures":[{"id":"x"}]}`, `{"batchItemFailures":[{"itemIdentifier":"x","ItemIdentifier":"y"}]}`,
		// said twice
		`{"batchItemFailures":[{"itemIdentifier":"x"}],"batchItemFailures":[]}`, `{"batchItemFailures":[{"itemIdentifier":"x","itemIdentifier":"y"}]}`,
		// cut short, or not the function's
		`{"batchItemFailures":[{"itemIdentifier":"x"}`, `[`, `"ok`, `{"ok":true}}`, `{'batchItemFailures': []}`, "<html>502</html>", "\x00\x01", "\xa1\x71batchItemFailures", "\x1f\x8b",
		// in a wrapping, as web frameworks and gateways have them
		`{"code":0,"data":{"batchItemFailures":[{"itemIdentifier":"x"}]}}`, `{"data":[1e999,{"batch_item_failures":["x"]}]}`,
		`{"statusCode":200,"body":"{\"batchItemFailures\":[{\"itemIdentifier\":\"x\"}]}"}`, `[{"batchItemFailures":[]}]`,
		`"[{\"itemIdentifier\":\"x\"}]"`, `"W3siaXRlbUlkZW50aWZpZXIiOiJ4In1d"`,
		// packed as a string
		`"{\"batchItemFailure\":[]}"`, `"eyJiYXRjaEl0ZW1GYWlsdXJlcyI6W3t9XX0="`,
	} {
		got, err := ParseAnswer([]byte(answer))
		if _, ok := errors.AsType[*AnswerError](err); !ok || len(got.BatchItemFailures) > 0 {
			t.Errorf("%q: %+v, %v", answer, got, err)
		}
	}
}

func TestEveryAnswerThatIsMarshalledIsParsed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOf(rapid.StringN(1, -1, -1)).Draw(t, "ids")
		var a Answer
		for _, id := range ids {
			a.BatchItemFailures = append(a.BatchItemFailures, ItemFailure{id})
		}
		b, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseAnswer(b)
		if diff := cmp.Diff(a, back); diff != "" || err != nil {
			t.Fatal(diff, err)
		}
	})
}

// FuzzParseAnswer: no answer makes it panic; what it reads, it reads again
// from what that marshals to; and no identifier that the standard library
// sees is overlooked.
func FuzzParseAnswer(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAnswer(b)
		if err != nil {
			if _, ok := errors.AsType[*AnswerError](err); !ok {
				t.Fatalf("%T", err)
			}
			return
		}
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseAnswer(text)
		if diff := cmp.Diff(a, back); diff != "" || err != nil {
			t.Fatal(diff, err)
		}
		var lenient Answer // takes keys of any case
		if json.Unmarshal(b, &lenient) == nil && len(lenient.BatchItemFailures) != len(a.BatchItemFailures) {
			t.Fatalf("%q: %+v, leniently %+v", b, a, lenient)
		}
	})
}
