package runtime_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/culvertio/culvert/functions/runtime"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func accept(t *testing.T, listener net.Listener) net.Conn {
	t.Helper()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// hungUp fails the test unless the other side, a process, ends.
func hungUp(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the process lives on: %v", err)
	}
}

func replaces(t *testing.T, r *runtime.Runtime, command ...string) {
	t.Helper()
	if err := r.Replace(t.Context(), command); err != nil {
		t.Fatal(err)
	}
}

func TestAReplacementTakesOverAndTheOldProcessEnds(t *testing.T) {
	lives := listen(t)
	r, _ := start(t, runtime.Config{Env: []string{"START=dial " + lives.Addr().String()}})
	old := accept(t, lives)
	answers(t, r, event("arguments", ""), `""`)
	replaces(t, r, alone, "second")
	for range 20 {
		answers(t, r, event("arguments", ""), `"second"`)
	}
	hungUp(t, old)
	accept(t, lives)
	answers(t, r, event("arguments", ""), `"second"`)
}

func TestAReplacementTakesWhatWaitsAndTheOldProcessFinishesWhatItIsAt(t *testing.T) {
	held, lives := listen(t), listen(t)
	r, _ := start(t, runtime.Config{Env: []string{"START=dial " + lives.Addr().String()}})
	old := accept(t, lives)
	var atIt, waiting sync.WaitGroup
	atIt.Go(func() {
		if got, err := r.Invoke(t.Context(), event("hold", held.Addr().String())); string(got) != `"held"` {
			t.Errorf("%s, %v", got, err)
		}
	})
	holding := accept(t, held)
	waiting.Go(func() { answers(t, r, event("arguments", ""), `"second"`) })
	replaces(t, r, alone, "second")
	waiting.Wait()
	answers(t, r, event("arguments", ""), `"second"`) // beside the old one, which is still at it
	if err := holding.Close(); err != nil {
		t.Error(err)
	}
	atIt.Wait()
	hungUp(t, old)
}

func TestAReplacementThatDoesNotStartLeavesEverythingAsItWas(t *testing.T) {
	r, _ := start(t, runtime.Config{Processes: 2})
	e, ok := errors.AsType[*runtime.StartError](r.Replace(t.Context(), []string{alone, "second", "exit"}))
	if !ok || e.Code != 3 || e.LogTail != "cannot find my settings\n" {
		t.Errorf("%+v", e)
	}
	if err := r.Replace(t.Context(), []string{filepath.Join(t.TempDir(), "missing")}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if e, ok := errors.AsType[*runtime.ConfigError](r.Replace(t.Context(), nil)); !ok || e.Field != "Command" {
		t.Errorf("%+v", e)
	}
	for range 4 {
		answers(t, r, event("arguments", ""), `""`)
	}
}

func TestAReplacementCanBeBrokenOff(t *testing.T) {
	r, out := start(t, runtime.Config{StartTimeout: time.Minute})
	before := pid(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	var call sync.WaitGroup
	call.Go(func() {
		if err := r.Replace(ctx, []string{alone, "second", "hang"}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	out.waitFor(t, "preparing for ever", 1)
	queued, give := context.WithTimeout(t.Context(), short)
	defer give()
	if err := r.Replace(queued, []string{alone, "third"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("behind another: %v", err)
	}
	cancel()
	call.Wait()
	if after := pid(t, r); after != before {
		t.Errorf("process %s became %s", before, after)
	}
}

func TestAReplacementMendsAHandlerThatNoLongerStarts(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "handler")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec "+alone+" first\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := runtime.Start(t.Context(), runtime.Config{Command: []string{script}, Output: io.Discard, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err := os.Remove(script); err != nil {
		t.Fatal(err)
	}
	_ = fails[*runtime.ExitError](t, r, event("exit", ""))
	_ = fails[*runtime.StartError](t, r, event("nothing", ""))
	replaces(t, r, alone, "mended")
	answers(t, r, event("arguments", ""), `"mended"`)
}

func TestCloseEndsAReplacement(t *testing.T) {
	r, out := start(t, runtime.Config{StartTimeout: time.Minute})
	var call sync.WaitGroup
	call.Go(func() {
		if err := r.Replace(t.Context(), []string{alone, "second", "hang"}); !errors.Is(err, runtime.ErrClosed) {
			t.Error(err)
		}
	})
	out.waitFor(t, "preparing for ever", 1)
	if err := r.Close(context.Background()); err != nil {
		t.Error(err)
	}
	call.Wait()
	if err := r.Replace(t.Context(), []string{alone}); !errors.Is(err, runtime.ErrClosed) {
		t.Error(err)
	}
}

func TestNoEventIsLostWhileReplacementsFollowOneAnother(t *testing.T) {
	r, _ := start(t, runtime.Config{Processes: 3})
	done, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for range 6 {
		callers.Go(func() {
			for done.Err() == nil {
				if _, err := r.Invoke(t.Context(), event("nothing", "")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		replaces(t, r, alone, "again")
	}
	cancel()
	callers.Wait()
}
