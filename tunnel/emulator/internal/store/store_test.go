package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(asChild); role != "" {
		child(role)
		return
	}
	goleak.VerifyTestMain(m)
}

func mustOpen(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustSync(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
}

// loaded is all that a store gives, by bucket and key.
func loaded(t testing.TB, s *Store) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for b := range bucketCount {
		var before string
		err := s.Load(b, func(key, value []byte) error {
			if string(key) <= before {
				t.Fatalf("%v: key %q after %q", b, key, before)
			}
			before = string(key)
			all[fmt.Sprintf("%v/%s", b, key)] = string(value)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestWhatWasAddedIsThereAfterReopening(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	s := mustOpen(t, dir)
	var b Batch
	b.Put(Rows, []byte("a"), []byte("1"))
	b.Put(Rows, []byte("b"), []byte("2"), []byte("3"))
	b.Put(Log, []byte("a"))
	s.Add(&b)
	b.Put(Rows, []byte("a"), []byte("one"))
	b.Put(Rows, []byte("c"), []byte("4"))
	b.Delete(Rows, []byte("b"))
	b.Delete(Rows, []byte("never there"))
	s.Add(&b)
	mustSync(t, s)
	want := map[string]string{"rows/a": "one", "rows/c": "4", "log/a": ""}
	if diff := cmp.Diff(want, loaded(t, s)); diff != "" {
		t.Error(diff)
	}
	b.Put(Tunnels, []byte("x"), []byte("only closed, not synced"))
	s.Add(&b)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want["tunnels/x"] = "only closed, not synced"
	if diff := cmp.Diff(want, loaded(t, mustOpen(t, dir))); diff != "" {
		t.Error(diff)
	}
}

// What is loaded is what a map would hold that got the same changes, whatever
// groups they were committed in, and however often the store was reopened.
func TestAStoreIsAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		s, err := Open(dir, Options{NoSync: true})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { s.Close() }()
		model := make(map[string]string)
		var b Batch
		key := rapid.IntRange(0, 99)
		bucket := rapid.SampledFrom([]Bucket{Rows, Log, Channels})
		dropped := make(map[Bucket]int) // keys below it were dropped
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				in, k, v := bucket.Draw(rt, "bucket"), key.Draw(rt, "key"), rapid.StringN(0, 20, 20).Draw(rt, "value")
				if k >= dropped[in] {
					b.Put(in, fmt.Appendf(nil, "%02d", k), []byte(v))
					model[fmt.Sprintf("%v/%02d", in, k)] = v
				}
			},
			"delete": func(rt *rapid.T) {
				in, k := bucket.Draw(rt, "bucket"), key.Draw(rt, "key")
				b.Delete(in, fmt.Appendf(nil, "%02d", k))
				delete(model, fmt.Sprintf("%v/%02d", in, k))
			},
			"drop": func(rt *rapid.T) {
				in, from := bucket.Draw(rt, "bucket"), 0
				from = dropped[in]
				to := from + rapid.IntRange(0, 10).Draw(rt, "keys")
				if to == from || to > 99 {
					return
				}
				b.Drop(in, fmt.Appendf(nil, "%02d", from), fmt.Appendf(nil, "%02d", to))
				for k := from; k < to; k++ {
					delete(model, fmt.Sprintf("%v/%02d", in, k))
				}
				dropped[in] = to
			},
			"add": func(*rapid.T) { s.Add(&b) },
			"reopen": func(rt *rapid.T) {
				s.Add(&b)
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				if s, err = Open(dir, Options{NoSync: true}); err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) {
				if len(b.changes) > 0 {
					return
				}
				if err := s.Sync(); err != nil {
					rt.Fatal(err)
				}
				if diff := cmp.Diff(model, loaded(t, s)); diff != "" {
					rt.Fatal(diff)
				}
			},
		})
	})
}

// Every Sync is followed by a look at the file as a crash would leave it then.
func TestSyncWaitsForWhatWasAddedByAnybody(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	var (
		mu   sync.Mutex
		next uint64
		wait sync.WaitGroup
	)
	for range 8 {
		wait.Go(func() {
			var b Batch
			for range 50 {
				mu.Lock()
				n := next
				next++
				b.Put(Log, binary.BigEndian.AppendUint64(nil, n))
				s.Add(&b)
				mu.Unlock()
				if err := s.Sync(); err != nil {
					t.Error(err)
					return
				}
				var last uint64
				err := s.db.View(func(tx *bolt.Tx) error {
					key, _ := tx.Bucket(Log.name()).Cursor().Last()
					last = binary.BigEndian.Uint64(key)
					return nil
				})
				if err != nil || last < n {
					t.Errorf("after the sync of %d, the last on disk is %d (%v)", n, last, err)
					return
				}
			}
		})
	}
	wait.Wait()
}

func TestWhatIsAddedMeanwhileIsCommittedTogether(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	before := committed(t, s)
	// Nothing is taken while we hold the lock of the transactions.
	tx, err := s.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	var wait sync.WaitGroup
	for i := range 100 {
		b.Put(Rows, fmt.Append(nil, i))
		s.Add(&b)
		wait.Go(func() { mustSync(t, s) })
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	wait.Wait()
	// The first may have been taken alone.
	if n := committed(t, s) - before; n < 1 || n > 2 {
		t.Errorf("100 batches took %d commits, want 1 or 2", n)
	}
}

func TestANoteIsKeptWithWhatIsAddedNext(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	var b Batch
	want := make(map[string]string)
	put := func(value string) *Batch {
		b.Put(Rows, []byte("a"), []byte(value))
		want["rows/a"] = value
		return &b
	}
	s.Note(put("noted"))
	mustSync(t, s)
	if got := loaded(t, s); len(got) != 0 {
		t.Errorf("a note alone was committed: %v", got)
	}
	b.Put(Log, []byte("b"), nil)
	want["log/b"] = ""
	s.Add(&b)
	mustSync(t, s)
	if diff := cmp.Diff(want, loaded(t, s)); diff != "" {
		t.Errorf("after the next batch: %s", diff)
	}
	// The order holds.
	s.Note(put("noted first"))
	s.Add(put("added"))
	mustSync(t, s)
	if diff := cmp.Diff(want, loaded(t, s)); diff != "" {
		t.Errorf("noted, then added: %s", diff)
	}
	s.Note(put("noted before the end"))
	s.Close()
	s = mustOpen(t, dir)
	if diff := cmp.Diff(want, loaded(t, s)); diff != "" {
		t.Errorf("after Close: %s", diff)
	}
	// So many of them are committed by themselves.
	for range 10 {
		s.Note(put(strings.Repeat("noted often", largestSpare/50)))
	}
	mustSync(t, s)
	if got := loaded(t, s); got["rows/a"] != want["rows/a"] {
		t.Errorf("of many notes, none of the last %d bytes is there", 10*largestSpare/5)
	}
}

func TestACopyIsAStore(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	var b Batch
	b.Put(Rows, []byte("a"), []byte("1"))
	s.Add(&b)
	mustSync(t, s)
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	b.Put(Rows, []byte("a"), []byte("2"))
	s.Add(&b)
	mustSync(t, s)
	if diff := cmp.Diff(map[string]string{"rows/a": "1"}, loaded(t, mustOpen(t, dir))); diff != "" {
		t.Error(diff)
	}
}

// The steps of run, one by one.
func TestAGroupsEndIsNotThatOfTheNext(t *testing.T) {
	s := newStore("no file")
	var b Batch
	add := func() *group {
		b.Put(Rows, []byte("a"))
		s.Add(&b)
		return s.last.Load()
	}
	first := add()
	taken, _ := s.take()
	second := add()
	if taken != first || second == first {
		t.Fatal("what was added after a group was taken belongs to the next")
	}
	s.finish(first, nil)
	if s.last.Load() != second {
		t.Error("once the first is done, nobody waits for the second")
	}
	s.take()
	s.finish(second, nil)
	if s.last.Load() != nil {
		t.Error("once both are done, somebody still waits")
	}
	third := add()
	s.take()
	fourth := add()
	s.finish(third, ErrCorrupt)
	for _, g := range []*group{third, fourth, s.last.Load(), add()} {
		if <-g.done; !errors.Is(g.err, ErrCorrupt) {
			t.Errorf("who waits after a failure is told %v", g.err)
		}
	}
}

// committed is how many transactions there have been.
func committed(t testing.TB, s *Store) int {
	t.Helper()
	tx, err := s.db.Begin(false)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	return tx.ID()
}

func TestDroppedKeysAreGivenUpBitByBit(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	key := func(n int) []byte { return fmt.Appendf(nil, "%06d", n) }
	var b Batch
	for n := range 3*dropChunk + 10 {
		b.Put(Log, key(n), make([]byte, 20))
	}
	s.Add(&b)
	mustSync(t, s)
	b.Drop(Log, key(5), key(3*dropChunk+5))
	b.Put(Rows, []byte("a"), []byte("beside it"))
	s.Add(&b)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// One commit has given up a part of it.
	s = mustOpen(t, dir)
	want := map[string]string{"rows/a": "beside it"}
	for n := range 5 {
		want["log/"+string(key(n))] = string(make([]byte, 20))
		want["log/"+string(key(3*dropChunk+5+n))] = string(make([]byte, 20))
	}
	if diff := cmp.Diff(want, loaded(t, s)); diff != "" {
		t.Error(diff)
	}
	s.Close()

	// After enough of them the file has given up all of it.
	for range 3 {
		s = mustOpen(t, dir)
		b.Put(Rows, []byte("a"), []byte("beside it"))
		s.Add(&b)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	db, err := bolt.Open(filepath.Join(dir, FileName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		if n, d := tx.Bucket(Log.name()).Stats().KeyN, tx.Bucket(dropsBucket).Stats().KeyN; n != 10 || d != 0 {
			t.Errorf("%d keys and %d ranges are left, want 10 and 0", n, d)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAStoreHasOneOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // so that the other one's patience takes no time
		dir := t.TempDir()
		s := mustOpen(t, dir)
		_, err := Open(dir, Options{})
		if !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), dir) {
			t.Errorf("a second store of the same directory: %v, want %v and the directory's name", err, ErrHeld)
		}
		s.Close()
		s, err = Open(dir, Options{})
		if err != nil {
			t.Fatalf("after the first one is closed: %v", err)
		}
		s.Close()
	})
}

func TestAClosedStoreTakesNothing(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sync(); err != nil {
		t.Errorf("nothing was added, and Sync says %v", err)
	}
	var b Batch
	b.Put(Rows, []byte("a"))
	s.Add(&b)
	if err := s.Sync(); !errors.Is(err, ErrClosed) {
		t.Errorf("Sync says %v, want %v", err, ErrClosed)
	}
	if err := s.Load(Rows, func(_, _ []byte) error { return nil }); err == nil {
		t.Error("a closed store can be loaded")
	}
	if got := loaded(t, mustOpen(t, dir)); len(got) != 0 {
		t.Errorf("it has kept %v", got)
	}
}

func TestAFailedCommitIsTheLast(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	var b Batch
	b.Put(Rows, []byte("a"), []byte("1"))
	s.Add(&b)
	mustSync(t, s)
	b.Put(Rows, []byte("b"), []byte("2"))
	b.Put(Rows, nil, []byte("the file refuses an empty key"))
	s.Add(&b)
	var fault *Error
	if err := s.Sync(); !errors.As(err, &fault) || fault.Operation != "write" || fault.Path != s.Path() {
		t.Fatalf("Sync says %v", err)
	}
	// What is added behind it is not kept either, nor ever will be.
	for range 2 {
		if err := s.Sync(); !errors.Is(err, fault) {
			t.Errorf("Sync says %v, want the first failure", err)
		}
		b.Put(Rows, []byte("c"), []byte("3"))
		s.Add(&b)
		if err := s.Sync(); !errors.Is(err, fault) {
			t.Errorf("Sync after another batch says %v, want the first failure", err)
		}
	}
	if err := s.Close(); !errors.Is(err, fault) {
		t.Errorf("Close says %v, want the first failure", err)
	}
	if err := s.Sync(); !errors.Is(err, fault) {
		t.Errorf("after Close, Sync says %v, want the first failure", err)
	}
	if diff := cmp.Diff(map[string]string{"rows/a": "1"}, loaded(t, mustOpen(t, dir))); diff != "" {
		t.Error(diff)
	}
}

func TestAnotherSchemaIsRefused(t *testing.T) {
	for version, want := range map[byte]error{Schema + 1: ErrNewer, Schema - 1: ErrForeign} {
		dir := t.TempDir()
		s := mustOpen(t, dir)
		err := s.db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket(aboutBucket).Put(schemaKey, seal(schemaKey, []byte{version}))
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		untouched(t, dir, func() {
			if _, err := Open(dir, Options{}); !errors.Is(err, want) {
				t.Errorf("version %d: %v, want %v", version, err, want)
			}
		})
	}
}

func TestAnotherProgramsFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	db, err := bolt.Open(filepath.Join(dir, FileName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("someone else's"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	untouched(t, dir, func() {
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrForeign) {
			t.Errorf("%v, want %v", err, ErrForeign)
		}
	})
}

// untouched checks that f leaves the file's bytes alone.
func untouched(t *testing.T, dir string, f func()) {
	t.Helper()
	name := filepath.Join(dir, FileName)
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f()
	after, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Error("the file has been changed")
	}
}

// damaged is a store's directory with a few thousand keys.
func damaged(t *testing.T, damage func(content []byte) []byte) string {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(dir, Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	for n := range 3000 {
		b.Put(Bucket(n%int(bucketCount)), fmt.Append(nil, "key ", n), fmt.Append(nil, "what is kept of ", n))
	}
	s.Add(&b)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, FileName)
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, damage(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// openAndLoad gives the first error of opening and loading all.
func openAndLoad(dir string) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	for b := range bucketCount {
		if err := s.Load(b, func(_, _ []byte) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

func TestADamagedFileIsRefusedAndLeftAlone(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		// What has been given up lies at the end: all keys are still there.
		"cut by a page that is free": func([]byte) []byte {
			s := mustOpen(t, t.TempDir())
			name := s.Path()
			var batch Batch
			batch.Put(Rows, []byte("a"), make([]byte, 1<<20))
			s.Add(&batch)
			mustSync(t, s)
			batch.Delete(Rows, []byte("a"))
			s.Add(&batch)
			mustSync(t, s)
			size := s.Size()
			s.Close()
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			return b[:size-4096]
		},
		"cut to a page": func(b []byte) []byte { return b[:4096] },
		"cut to half":   func(b []byte) []byte { return b[:len(b)/2] },
		"text":          func([]byte) []byte { return []byte(strings.Repeat("not a store\n", 1000)) },
		"short text":    func([]byte) []byte { return []byte("not a store") },
		"zeros from a quarter on": func(b []byte) []byte {
			clear(b[len(b)/4:])
			return b
		},
		"noise from two pages on": func(b []byte) []byte {
			for i := range b[8192:] {
				b[8192+i] = byte(i * 7 >> 3)
			}
			return b
		},
		"a value's letter": func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "what is kept of 1234", "what is kept of 1235", -1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := damaged(t, damage)
			untouched(t, dir, func() {
				err := openAndLoad(dir)
				var fault *Error
				if !errors.Is(err, ErrCorrupt) || !errors.As(err, &fault) || !strings.Contains(err.Error(), dir) {
					t.Errorf("%v, want %v and the directory's name", err, ErrCorrupt)
				}
			})
		})
	}
}

// Whatever byte is changed: the values are right, or there is an error.
func TestNoDamageGoesUnnoticedOrPanics(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := damaged(t, func(b []byte) []byte {
			for range rapid.IntRange(1, 4).Draw(rt, "bytes") {
				at := rapid.IntRange(0, len(b)-1).Draw(rt, "at")
				b[at] ^= rapid.Byte().Draw(rt, "bits")
			}
			return b
		})
		s, err := Open(dir, Options{NoSync: true})
		if err != nil {
			return
		}
		defer s.Close()
		for b := range bucketCount {
			err := s.Load(b, func(key, value []byte) error {
				if n, ok := strings.CutPrefix(string(key), "key "); !ok || string(value) != "what is kept of "+n {
					rt.Fatalf("%v: %q is %q", b, key, value)
				}
				return nil
			})
			if err != nil && !errors.Is(err, ErrCorrupt) {
				rt.Fatal(err)
			}
		}
	})
}

func TestAddingAllocatesNothing(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	var b Batch
	key, value := []byte("key"), make([]byte, 400)
	n := testing.AllocsPerRun(1000, func() {
		b.Put(Rows, key, value)
		b.Delete(Log, key)
		b.reset()
	})
	if n != 0 {
		t.Errorf("a batch of two changes takes %v allocations, want none", n)
	}
	mustSync(t, s)
	if n := testing.AllocsPerRun(1000, func() { _ = s.Sync() }); n != 0 {
		t.Errorf("a sync with nothing to wait for takes %v allocations, want none", n)
	}
}
