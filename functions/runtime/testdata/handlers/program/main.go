// A program for a custom runtime, that does as it is told: by the variable
// START before it listens, and by each event.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

type order struct {
	Do   string
	Text string
	Size int
}

func main() {
	switch os.Getenv("START") {
	case "exit":
		fmt.Println("cannot find my settings")
		os.Exit(3)
	case "hang":
		fmt.Println("preparing for ever")
		block()
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
	case "polite":
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, syscall.SIGTERM)
		go func() {
			<-asked
			if to := os.Getenv("FAREWELL"); to != "" { // tidying up takes until that one hangs up
				if conn, err := net.Dial("tcp", to); err == nil {
					_, _ = io.Copy(io.Discard, conn)
				}
			}
			fmt.Println("tidied up")
			os.Exit(0)
		}()
	}
	if arguments := os.Args[1:]; len(arguments) > 0 && arguments[0] == "child" { // holds a connection open while it lives
		_, _ = net.Dial("tcp", arguments[1])
		block()
	}
	host := os.Getenv("LISTEN")
	listener, err := net.Listen("tcp", net.JoinHostPort(host, os.Getenv("FC_SERVER_PORT")))
	if err != nil {
		fmt.Println(err)
		os.Exit(4)
	}
	prepared := ""
	http.HandleFunc("POST /initialize", func(w http.ResponseWriter, r *http.Request) {
		if os.Getenv("START") == "unready" {
			http.Error(w, `{"errorType":"NoSettings","errorMessage":"cannot find my settings"}`, 500)
			return
		}
		prepared += r.Header.Get("x-fc-control-path")
	})
	http.HandleFunc("POST /invoke", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var o order
		if err != nil || json.Unmarshal(body, &o) != nil {
			http.Error(w, "no order", 400)
			return
		}
		fmt.Println("FC Invoke Start RequestId: " + r.Header.Get("x-fc-request-id"))
		if o.Do == "stop listening" {
			_ = listener.Close()
		}
		handle(w, r, o, body, prepared)
		fmt.Println("FC Invoke End RequestId: " + r.Header.Get("x-fc-request-id"))
	})
	_ = http.Serve(listener, nil)
	block()
}

func handle(w http.ResponseWriter, r *http.Request, o order, body []byte, prepared string) {
	switch o.Do {
	case "echo":
		_, _ = w.Write(body)
	case "say":
		fmt.Fprint(w, o.Text)
	case "count":
		fmt.Fprint(w, len(body))
	case "fill":
		fmt.Fprint(w, strings.Repeat("x", o.Size))
	case "pid":
		fmt.Fprint(w, os.Getpid())
	case "arguments":
		fmt.Fprint(w, strings.Join(os.Args[1:], " "))
	case "environment":
		fmt.Fprint(w, os.Getenv(o.Text))
	case "prepared":
		fmt.Fprint(w, prepared)
	case "told":
		_ = json.NewEncoder(w).Encode(map[string]string{
			"type": r.Header.Get("Content-Type"), "name": r.Header.Get("x-fc-function-name"),
			"path": r.Header.Get("x-fc-control-path"), "timeout": r.Header.Get("x-fc-function-timeout"),
			"deadline": r.Header.Get("x-fc-function-deadline"), "request": r.Header.Get("x-fc-request-id"),
		})
	case "status": // as x-fc-status; the answer's own is 200
		w.Header().Set("x-fc-status", o.Text)
		fmt.Fprint(w, `{"errorType":"OutOfStock","errorMessage":"no such order"}`)
	case "fail":
		w.Header().Set("Location", "/elsewhere")
		http.Error(w, o.Text, o.Size)
	case "early": // answers before it has read
		w.Header().Set("x-fc-status", "200")
	case "panic":
		panic(o.Text)
	case "hang up":
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		fmt.Fprint(conn, o.Text)
		conn.Close()
	case "exit":
		fmt.Println(o.Text)
		os.Exit(7)
	case "answer and exit":
		w.Header().Set("Content-Length", "7")
		fmt.Fprint(w, "goodbye")
		_ = http.NewResponseController(w).Flush()
		os.Exit(0)
	case "hang":
		fmt.Println("hanging")
		block()
	case "hold": // until the one who listens hangs up; answers with the process
		conn, err := net.Dial("tcp", o.Text)
		if err != nil {
			panic(err)
		}
		_, _ = io.Copy(io.Discard, conn)
		fmt.Fprint(w, os.Getpid())
	case "child": // a process of its own, that is told where to dial
		if err := exec.Command(os.Args[0], "child", o.Text).Start(); err != nil {
			panic(err)
		}
	}
}

// block blocks for ever; a bare select would be reported as a deadlock.
func block() {
	never := make(chan os.Signal, 1)
	signal.Notify(never, syscall.SIGUSR1)
	<-never
}
