package store

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// asChild makes the test's binary a process that writes to the store in the
// directory that follows, as fast as it can, and prints what is acknowledged.
const asChild = "CULVERT_STORE_TEST_AS_CHILD"

// Numbers go to the log one by one; once in a while all below a tenth of them
// are dropped. A row holds the last number.
const dropEvery = 100

var lastKey = []byte("last")

// fileLimit makes the child's disk full: no file of it may have more bytes.
const fileLimit = "CULVERT_STORE_TEST_FILE_LIMIT"

func child(dir string) {
	if limit, err := strconv.ParseUint(os.Getenv(fileLimit), 10, 64); err == nil {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			fmt.Println("unlimited", err)
			os.Exit(1)
		}
	}
	s, err := Open(dir, Options{})
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	var next uint64
	err = s.Load(Rows, func(_, value []byte) error {
		next = binary.BigEndian.Uint64(value) + 1
		return nil
	})
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	var (
		mu   sync.Mutex
		out  sync.Mutex
		wait sync.WaitGroup
	)
	key := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	for range 8 {
		wait.Go(func() {
			var b Batch
			for {
				mu.Lock()
				n := next
				next++
				b.Put(Log, key(n), make([]byte, n%1000))
				b.Put(Rows, lastKey, key(n))
				if n > 0 && n%dropEvery == 0 {
					b.Drop(Log, key((n-dropEvery)/10), key(n/10))
				}
				s.Add(&b)
				mu.Unlock()
				if err := s.Sync(); err != nil {
					fmt.Println("failed", err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println("kept", n)
				out.Unlock()
			}
		})
	}
	wait.Wait()
}

// life starts a child and gives the highest number that it acknowledged. It is
// killed after so many lines, in the middle of what it does, or when it says
// something else, which is the second result.
func life(t *testing.T, dir string, lines int, env ...string) (kept uint64, failed string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	process := exec.Command(self)
	process.Env = append(append(os.Environ(), asChild+"="+dir), env...)
	process.Stderr = os.Stderr
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	printed := bufio.NewReader(out)
	for n := 0; ; n++ {
		line, err := printed.ReadString('\n')
		if err != nil {
			break // it is dead, and this line is not whole
		}
		number, ok := strings.CutPrefix(strings.TrimSpace(line), "kept ")
		k, err := strconv.ParseUint(number, 10, 64)
		if !ok || err != nil {
			failed = line
			break
		}
		kept = max(kept, k)
		if n == lines {
			_ = process.Process.Kill() // it goes on printing until it dies
		}
	}
	_ = process.Process.Kill()
	_ = process.Wait()
	return kept, failed
}

// check opens what is left: all numbers to the last one, but for those that
// were dropped. It gives the last.
func check(t *testing.T, dir string, kept uint64) (last uint64) {
	t.Helper()
	s := mustOpen(t, dir)
	defer s.Close()
	if err := s.Load(Rows, func(_, value []byte) error { last = binary.BigEndian.Uint64(value); return nil }); err != nil {
		t.Fatal(err)
	}
	if last < kept {
		t.Errorf("%d was acknowledged, the last on disk is %d", kept, last)
	}
	want := last / dropEvery * dropEvery / 10
	err := s.Load(Log, func(key, value []byte) error {
		if n := binary.BigEndian.Uint64(key); n != want || uint64(len(value)) != n%1000 {
			return fmt.Errorf("%d with %d bytes, want %d", n, len(value), want)
		}
		want++
		return nil
	})
	if err != nil || want != last+1 {
		t.Errorf("the log ends before %d, the last is %d: %v", want, last, err)
	}
	return last
}

func TestNothingAcknowledgedIsLostToKill9(t *testing.T) {
	dir := t.TempDir()
	var last uint64
	for range 8 {
		kept, failed := life(t, dir, rand.IntN(400))
		if failed != "" {
			t.Fatalf("it printed %q", failed)
		}
		last = check(t, dir, kept)
	}
	if last == 0 {
		t.Error("nothing was ever kept")
	}
}

func TestAFullDiskLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, dir).Close()
	kept, failed := life(t, dir, -1, fileLimit+"=1000000")
	if !strings.Contains(failed, "failed store: write") {
		t.Errorf("after %d it printed %q, want that a write failed", kept, failed)
	}
	before := check(t, dir, kept)
	if before == 0 {
		t.Error("nothing was kept before the disk was full")
	}
	// With room again, it goes on.
	kept, failed = life(t, dir, 100)
	if failed != "" || check(t, dir, kept) <= before {
		t.Errorf("with room again: %d after %d, it printed %q", kept, before, failed)
	}
}
