package functions

import (
	"context"
	"fmt"
	"os"

	"github.com/aliyun/fc-runtime-go-sdk/fc"
	"github.com/aws/aws-lambda-go/lambda"
)

// Handler handles one event. Its error fails the whole batch, which is then
// invoked again, and so does a panic; [Record.Fail] fails single records.
// ctx ends at the invocation's deadline.
type Handler func(ctx context.Context, e *Event) error

// Start runs the handler under the platform that the environment names, and
// does not return:
//
//   - FC_RUNTIME_API: Function Compute (runtime go1), or Culvert's local
//     runtime, which serves both APIs and sets both variables.
//   - AWS_LAMBDA_RUNTIME_API alone: AWS Lambda (runtime provided.al2023).
//   - neither: it says on stderr how to run a handler and exits with 2.
//
// Events may come in JSON or in CBOR, whatever the platform: see [Decode]. But
// the service AWS Lambda takes no payload other than JSON: what invokes a
// function there must send JSON, and CBOR does not reach the handler.
//
// If CULVERT_JOURNAL names a directory, every invocation is recorded in it; a
// journal that cannot be written fails the invocation. Each process appends
// to a file of its own, one JSON object a line, before the handler runs
//
//	{"time":"…","phase":"begin","event":{…}}
//
// and after it
//
//	{"time":"…","phase":"end","batch":"…","attempt":1,"outcome":"ok","failures":[],"error":""}
//
// where event is the payload as it was received, or the same in JSON if that
// was CBOR, outcome is ok or failed, and failures lists the records that were
// marked. A line is one write, so a killed process leaves at most its last line
// torn.
func Start(h Handler) {
	f := &function{handler: h, journal: OpenJournal(os.Getenv(journalVariable))}
	switch {
	case os.Getenv("FC_RUNTIME_API") != "":
		// A []byte argument is given the payload as it is. The result is
		// encoded as JSON whatever it is, so it must not be bytes.
		fc.Start(func(ctx context.Context, payload []byte) (*Answer, error) {
			return f.invoke(ctx, payload)
		})
	case os.Getenv("AWS_LAMBDA_RUNTIME_API") != "":
		lambda.Start(lambdaHandler{f})
	}
	fmt.Fprintln(os.Stderr, "This program is a Culvert handler: a platform starts it and gives it events.\n"+
		"On this machine, run it with\n\n\tculvert local --handler DIR\n\n"+
		"where DIR holds its source. On Function Compute and AWS Lambda, deploy it;\n"+
		"they set FC_RUNTIME_API or AWS_LAMBDA_RUNTIME_API, and neither is set.")
	os.Exit(2)
}

// function is a handler as the platforms see it: payload in, answer out.
type function struct {
	handler Handler
	journal *Journal
}

// invoke answers nil when no record failed.
func (f *function) invoke(ctx context.Context, payload []byte) (*Answer, error) {
	e, err := Decode(payload)
	if err != nil {
		return nil, err
	}
	if err := f.journal.Begin(payload, e); err != nil {
		return nil, err
	}
	// A panic goes on to the platform's SDK, which reports it with its stack;
	// the journal only has to know that the handler did not return.
	returned := false
	defer func() {
		if !returned {
			f.journal.endInPanic(e)
		}
	}()
	failed := f.handler(ctx, e)
	returned = true
	if failed == nil {
		failed = failedUnnamed(e)
	}
	if err := f.journal.End(e, failed); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	return answerOf(e), nil
}

// failedUnnamed is the error of a marked record that has no id for an answer to
// name it by, as in events of the native trigger, which reads no answer either.
func failedUnnamed(e *Event) error {
	for i, r := range e.Records {
		if r.failed != nil && r.ID == "" {
			return fmt.Errorf("record %d, which has no Id, failed: %w", i, r.failed)
		}
	}
	return nil
}

// answerOf lists the records that were marked, and says why on stderr: an
// answer has no place for reasons.
func answerOf(e *Event) *Answer {
	var a Answer
	for _, r := range e.Records {
		if r.failed != nil {
			fmt.Fprintf(os.Stderr, "record %s of batch %s failed: %v\n", r.ID, e.Batch.ID, r.failed)
			a.BatchItemFailures = append(a.BatchItemFailures, ItemFailure{ItemIdentifier: r.ID})
		}
	}
	if a.BatchItemFailures == nil {
		return nil
	}
	return &a
}
