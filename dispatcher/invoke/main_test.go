package invoke

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/aliyun/fc-runtime-go-sdk/fc"
	"go.uber.org/goleak"
)

// roleVariable makes this test binary a handler: one less to build.
const roleVariable = "CULVERT_TEST_ROLE"

// serve is a program for a custom runtime that does what its event says.
func serve() {
	http.HandleFunc("POST /invoke", func(w http.ResponseWriter, r *http.Request) {
		var event struct{ Do string }
		_ = json.NewDecoder(r.Body).Decode(&event)
		switch event.Do {
		case "nothing":
			_, _ = io.WriteString(w, "null")
		case "answer":
			_, _ = io.WriteString(w, `{"batchItemFailures":[]}`)
		case "pid":
			_, _ = fmt.Fprint(w, os.Getpid())
		case "arguments":
			_, _ = fmt.Fprintf(w, "%q", os.Args[1:])
		case "fail":
			w.Header().Set("x-fc-status", "404")
		case "panic":
			panic("asked to panic")
		case "hang":
			select {}
		case "exit":
			os.Exit(3)
		}
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":"+os.Getenv("FC_SERVER_PORT"), nil))
	os.Exit(1)
}

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "hang":
		fc.Start(func(context.Context, map[string]any) error {
			fmt.Println("hanging")
			select {}
		})
	case "pid":
		fc.Start(func(context.Context, map[string]any) (int, error) { return os.Getpid(), nil })
	case "program":
		serve()
	case "exit":
		fmt.Println("no configuration")
		os.Exit(2)
	}
	goleak.VerifyTestMain(m)
}
