// A handler built with fc-runtime-go-sdk alone, that does as it is told: by
// the variable START before it asks for events, and by each event.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/aliyun/fc-runtime-go-sdk/fc"
	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
)

type order struct {
	Do   string
	Text string
	Size int
}

type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

func main() {
	start := os.Getenv("START")
	if len(os.Args) > 2 { // the second argument takes its place
		start = os.Args[2]
	}
	switch {
	case start == "exit":
		fmt.Println("cannot find my settings")
		os.Exit(3)
	case start == "hang":
		fmt.Println("preparing for ever")
		block()
	case start == "ask and exit":
		fmt.Println("one look is enough")
		send("GET /2020-11-11/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
		post("nowhere", "") // by the time this is answered, that has arrived
		os.Exit(4)
	case start == "stubborn":
		signal.Ignore(syscall.SIGTERM)
	case strings.HasPrefix(start, "dial "):
		conn, err := net.Dial("tcp", strings.TrimPrefix(start, "dial "))
		if err != nil {
			panic(err)
		}
		defer conn.Close()
	}
	fc.Start(handle)
}

func handle(ctx context.Context, payload []byte) (any, error) {
	var o order
	if err := json.Unmarshal(payload, &o); err != nil {
		return nil, err
	}
	fc, _ := fccontext.FromContext(ctx)
	switch o.Do {
	case "echo":
		return json.RawMessage(payload), nil
	case "nothing":
		return nil, nil
	case "bytes":
		return []byte(o.Text), nil
	case "count":
		return len(payload), nil
	case "fill":
		return strings.Repeat("x", o.Size), nil
	case "print":
		fmt.Print(o.Text)
		return nil, nil
	case "pid":
		return os.Getpid(), nil
	case "arguments":
		return strings.Join(os.Args[1:], " "), nil
	case "environment":
		return os.Getenv(o.Text), nil
	case "told":
		deadline, _ := ctx.Deadline()
		return map[string]any{
			"Deadline": deadline.UnixMilli(), "Timeout": fc.Function.Timeout,
			"Name": fc.Function.Name, "Request": fc.RequestID,
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
	case "killed":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		block()
	case "hang":
		fmt.Println("hanging")
		block()
	case "hold": // until the one who listens hangs up
		conn, err := net.Dial("tcp", o.Text)
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, conn)
		return "held", conn.Close()
	case "grandchild": // holds the output open, and would outlive its parent
		cmd := exec.Command("sleep", "1000")
		cmd.Stdout = os.Stdout
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		os.Exit(8)
	case "wrong id": // answers another request, then its own
		return post("1-2-3/response", `"for another"`), nil
	case "twice": // answers its own twice: the SDK posts the second one
		return post(fc.RequestID+"/response", `"the first"`), nil
	case "half": // an answer that is cut off
		send("POST /2020-11-11/runtime/invocation/" + fc.RequestID + "/response HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"batchItem")
		os.Exit(9)
	case "begin an answer": // and give another one
		begun = send("POST /2020-11-11/runtime/invocation/" + fc.RequestID + "/response HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n\"late")
		post("nowhere", "") // by the time this is answered, that has arrived
		return "in time", nil
	case "end it":
		defer begun.Close()
		fmt.Fprint(begun, ` one"`)
		resp, err := http.ReadResponse(bufio.NewReader(begun), nil)
		if err != nil {
			return nil, err
		}
		return resp.StatusCode, resp.Body.Close()
	case "text error":
		post(fc.RequestID+"/error", o.Text)
	case "ask elsewhere": // and wait for ever
		send("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
	case "answer elsewhere":
		return postTo("/2018-06-01/runtime/invocation/"+fc.RequestID+"/response", "{}"), nil
	case "elsewhere":
		return post("nowhere", "{}"), nil
	}
	return nil, nil
}

func post(to, body string) int { return postTo("/2020-11-11/runtime/invocation/"+to, body) }

func postTo(path, body string) int {
	resp, err := http.Post("http://"+os.Getenv("FC_RUNTIME_API")+path, "application/json", strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// begun is the connection of an answer that is not yet whole.
var begun net.Conn

// send writes to the runtime API and leaves the connection open.
func send(text string) net.Conn {
	conn, err := net.Dial("tcp", os.Getenv("FC_RUNTIME_API"))
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
