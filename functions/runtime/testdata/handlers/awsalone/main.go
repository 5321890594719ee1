// A handler built with aws-lambda-go alone, that does as it is told: by the
// variable START before it asks for events, and by each event.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type order struct {
	Do   string
	Text string
	Size int
}

type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

// raw is given the payload as it is, and its answer is sent as it is.
type raw struct{}

func (raw) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	answer, err := handle(ctx, payload)
	if err != nil {
		return nil, err
	}
	if text, ok := answer.(string); ok {
		return []byte(text), nil
	}
	return json.Marshal(answer)
}

func main() {
	switch os.Getenv("START") {
	case "unready":
		post("2018-06-01/runtime/init/error", `{"errorType":"Runtime.NoSettings","errorMessage":"cannot find my settings"}`)
		os.Exit(1)
	case "sigterm":
		lambda.StartWithOptions(raw{}, lambda.WithEnableSIGTERM(func() {
			fmt.Println("the light goes out")
			os.Exit(0)
		}))
	case "stream":
		lambda.Start(func(context.Context, json.RawMessage) (io.Reader, error) {
			return io.MultiReader(strings.NewReader(`{"batchItem`), breaks{}), nil
		})
	}
	lambda.Start(raw{})
}

// breaks is an answer that breaks off while it is sent.
type breaks struct{}

func (breaks) Read([]byte) (int, error) { return 0, &refusal{"the shelf fell over"} }

func handle(ctx context.Context, payload []byte) (any, error) {
	var o order
	if err := json.Unmarshal(payload, &o); err != nil {
		return nil, err
	}
	told, _ := lambdacontext.FromContext(ctx)
	invocation := "2018-06-01/runtime/invocation/" + told.AwsRequestID
	switch o.Do {
	case "echo":
		return string(payload), nil
	case "say":
		return o.Text, nil
	case "nothing":
		return nil, nil
	case "fill":
		return strings.Repeat("x", o.Size), nil
	case "pid":
		return os.Getpid(), nil
	case "environment":
		return os.Getenv(o.Text), nil
	case "told":
		deadline, _ := ctx.Deadline()
		return map[string]any{
			"Deadline": deadline.UnixMilli(), "ARN": told.InvokedFunctionArn, "Request": told.AwsRequestID,
			"Trace": os.Getenv("_X_AMZN_TRACE_ID"), "Name": lambdacontext.FunctionName,
			"Memory": lambdacontext.MemoryLimitInMB, "Version": lambdacontext.FunctionVersion,
		}, nil
	case "fail":
		return nil, errors.New(o.Text)
	case "refuse":
		return nil, &refusal{o.Text}
	case "panic":
		panic(o.Text)
	case "exit":
		fmt.Println(o.Text)
		os.Exit(7)
	case "panic elsewhere":
		go panic(o.Text)
		block()
	case "hang":
		fmt.Println("hanging")
		block()
	case "ignore the deadline": // the context ends, and nothing else stops it
		<-ctx.Done()
		fmt.Println("past the deadline")
		block()
	case "wrong id":
		return post("2018-06-01/runtime/invocation/1-2-3/response", `"for another"`), nil
	case "answered": // the SDK's own answer is then the second one
		return post(invocation+"/response", `"the first"`), nil
	case "text error":
		return post(invocation+"/error", o.Text), nil
	case "other API":
		return post("2020-11-11/runtime/invocation/"+told.AwsRequestID+"/response", `"over the other"`), nil
	case "unready":
		return post("2018-06-01/runtime/init/error", `{"errorType":"TooLate"}`), nil
	case "half": // an answer that is cut off
		send("POST /" + invocation + "/response HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"batchItem")
		os.Exit(9)
	case "broken off": // and one whose connection is closed, before the whole one
		send("POST /" + invocation + "/response HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"batchItem").Close()
		return "whole", nil
	}
	return nil, nil
}

// post returns the status and the body's errorType.
func post(to, body string) string {
	resp, err := http.Post("http://"+os.Getenv("AWS_LAMBDA_RUNTIME_API")+"/"+to, "application/json", strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	var told struct{ ErrorType, Status string }
	_ = json.NewDecoder(resp.Body).Decode(&told)
	answer := fmt.Sprint(resp.StatusCode, " ", told.ErrorType, told.Status)
	fmt.Println(answer)
	return answer
}

// send writes to the runtime API and leaves the connection open.
func send(text string) net.Conn {
	conn, err := net.Dial("tcp", os.Getenv("AWS_LAMBDA_RUNTIME_API"))
	if err != nil {
		panic(err)
	}
	fmt.Fprint(conn, text)
	return conn
}

// block blocks for ever; a bare select would be reported as a deadlock.
func block() {
	never := make(chan os.Signal, 1)
	signal.Notify(never, syscall.SIGUSR1)
	<-never
}
