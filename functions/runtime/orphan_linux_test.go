package runtime_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/culvertio/culvert/functions/runtime"
)

func TestPastItsDeadlineNothingWorksOnTheEventAnyMore(t *testing.T) {
	r, _ := start(t, runtime.Config{Timeout: short})
	for range 5 {
		e := fails[*runtime.DeadlineError](t, r, event("hang", ""))
		if err := syscall.Kill(e.PID, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there: %v", e.PID, err)
		}
	}
}

func TestHandlersDieWithADispatcherThatIsKilled(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()

	dispatcher := exec.CommandContext(t.Context(), os.Args[0])
	dispatcher.Env = append(os.Environ(), "CULVERT_TEST_PARENT="+alone, "CULVERT_TEST_DIAL="+listener.Addr().String())
	dispatcher.Stderr = os.Stderr
	said, err := dispatcher.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := dispatcher.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(said).ReadString('\n'); line != "started\n" {
		t.Fatal(line, err)
	}
	// The handler dialled before it asked for an event; while it lives, this
	// connection is open.
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()

	if err := dispatcher.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = dispatcher.Wait()
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the handler lives on: %v", err)
	}
}
