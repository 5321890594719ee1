// Package store keeps the emulator's data in a file, so that they survive the
// process and its death at any moment (kill -9, and a loss of power as far as
// the disk keeps what it has acknowledged).
//
// It is a journal, not a cache: reads are served from memory, and the file is
// read once, at the start. Whoever changes something adds the change to the
// store while it holds the lock that guards what it changes, so that changes
// are kept in the order in which they happened. One goroutine takes all that
// has been added and commits it in one transaction, and takes what was added
// meanwhile. What is on disk is therefore always a prefix of what was added,
// and the cost of a commit is shared by all who wait for it.
//
// Whoever lets others know of a change, or of anything that it read, calls
// [Store.Sync] first: nothing that a crash could take back is ever told.
package store

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

// FileName is the name of the store's file in its directory.
const FileName = "emulator.db"

// Schema is the version of what the buckets hold. It rises whenever an older
// program could not read what a newer one writes.
const Schema = 1

// lockPatience is how long Open waits for the process that holds the file: one
// that was just killed may take a moment to go.
const lockPatience = 2 * time.Second

// Store is an open file. Its methods may be called from many goroutines.
type Store struct {
	path  string
	db    *bolt.DB
	done  chan struct{} // closed when run has ended
	close func() error  // closeOnce

	// last is the group of the last change that was added, nil once all are on
	// disk. Of a store that has failed or is closed, it is a group that says
	// so, for good.
	last atomic.Pointer[group]

	mu      sync.Mutex
	changed *sync.Cond // next, closing
	next    *group     // gathers what is added; nil: nothing has been
	later   []byte     // what waits for the next group to be there
	spare   []byte     // a buffer for the next group
	closing bool
	refused *group // says why nothing is added any more; nil: it is
	failed  error  // of the first commit that failed

	drops []drop // owned by run
}

// group is what is committed together.
type group struct {
	changes []byte
	done    chan struct{} // closed once err says what came of it
	err     error
}

// Options of a store. The zero value is the default.
type Options struct {
	// NoSync leaves it to the operating system when what was committed reaches
	// the disk: it survives the process's death all the same, but a loss of
	// power may take it, or leave the file damaged.
	NoSync bool
}

// Open opens the store in a directory, which it makes if there is none. The
// store is the only one of its directory, in all processes, until Close. Errors
// are of type *[Error]; after one, the file is as it was.
func Open(dir string, o Options) (*Store, error) {
	s := newStore(filepath.Join(dir, FileName))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &Error{Operation: "open", Path: dir, Err: err}
	}
	if err := s.open(o); err != nil {
		return nil, s.fault("open", err)
	}
	err := guarded(s.prepare)
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		_ = s.db.Close() // the first error says more
		return nil, s.fault("open", err)
	}
	go s.run()
	return s, nil
}

// newStore is a store without its file.
func newStore(path string) *Store {
	s := &Store{path: path, done: make(chan struct{})}
	s.changed, s.close = sync.NewCond(&s.mu), sync.OnceValue(s.closeOnce)
	return s
}

// open opens the file. What it holds may make the library panic.
func (s *Store) open(o Options) error {
	var file *os.File
	err := guarded(func() (err error) {
		s.db, err = bolt.Open(s.path, 0o600, &bolt.Options{
			Timeout:      lockPatience,
			NoSync:       o.NoSync,
			FreelistType: bolt.FreelistMapType,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				var err error
				if file, err = os.OpenFile(name, flag, mode); err != nil {
					return nil, err
				}
				// A new file is empty; another one has two head pages at least.
				if info, err := file.Stat(); err != nil || info.Size() > 0 && info.Size() < 2*int64(os.Getpagesize()) {
					_ = file.Close() // nothing was written
					return nil, cmp.Or(err, corrupt("it is too short"))
				}
				return file, nil
			},
		})
		return err
	})
	if err != nil && file != nil {
		// Whoever panics leaves the file open. It stays mapped and locked, which
		// only this process notices.
		_ = file.Close()
	}
	return err
}

// prepare checks an existing file's version, or makes a new file's buckets. It
// writes nothing to a file that it refuses.
func (s *Store) prepare() error {
	fresh := false
	err := s.db.View(func(tx *bolt.Tx) error {
		info, err := os.Stat(s.path)
		if err != nil {
			return err
		}
		if info.Size() < tx.Size() {
			return corrupt("it has been cut off: %d bytes are left of %d", info.Size(), tx.Size())
		}
		if first, _ := tx.Cursor().First(); first == nil {
			fresh = true
			return nil
		}
		about := tx.Bucket(aboutBucket)
		if about == nil {
			return fmt.Errorf("%w: it holds something else", ErrForeign)
		}
		schema, err := unseal(schemaKey, about.Get(schemaKey))
		switch {
		case err != nil || len(schema) != 1:
			return corrupt("its version cannot be read")
		case schema[0] > Schema:
			return fmt.Errorf("%w: version %d of the data; this program knows %d", ErrNewer, schema[0], Schema)
		case schema[0] < Schema:
			return fmt.Errorf("%w: version %d of the data", ErrForeign, schema[0])
		}
		for b := range bucketCount {
			if tx.Bucket(b.name()) == nil {
				return corrupt("the bucket %s is missing", b.name())
			}
		}
		s.drops, err = readDrops(tx.Bucket(dropsBucket))
		return err
	})
	if err != nil || !fresh {
		return err
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		about, err := tx.CreateBucket(aboutBucket)
		if err != nil {
			return err
		}
		if err := about.Put(schemaKey, seal(schemaKey, []byte{Schema})); err != nil {
			return err
		}
		if _, err := tx.CreateBucket(dropsBucket); err != nil {
			return err
		}
		for b := range bucketCount {
			if _, err := tx.CreateBucket(b.name()); err != nil {
				return err
			}
		}
		return nil
	})
}

// syncDir makes sure that the file's name outlives a loss of power as well.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	_ = d.Close() // it was only read
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrInvalid) {
		return nil // not every file system can do it
	}
	return err
}

// Path is the store's file.
func (s *Store) Path() string { return s.path }

// Size is how many bytes of the file are in use, for a progress bar: what Load
// gives of all buckets is less.
func (s *Store) Size() int64 {
	var size int64
	_ = s.db.View(func(tx *bolt.Tx) error { // it does not fail
		size = tx.Size()
		return nil
	})
	return size
}

// Load calls f for each key of a bucket, in the order of the keys' bytes. Key
// and value are f's to read until it returns. Load ends with f's first error,
// unchanged; its own are of type *[Error]. f must not call the store.
func (s *Store) Load(b Bucket, f func(key, value []byte) error) error {
	var own error
	err := guarded(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			drops, err := readDrops(tx.Bucket(dropsBucket))
			if err != nil {
				return err
			}
			c := tx.Bucket(b.name()).Cursor()
			for key, value := c.First(); key != nil; {
				if i := slices.IndexFunc(drops, func(d drop) bool { return d.has(b, key) }); i >= 0 {
					key, value = c.Seek(drops[i].to)
					continue
				}
				content, err := unseal(key, value)
				if err != nil {
					return fmt.Errorf("bucket %s, key %x: %w", b.name(), key, err)
				}
				if own = f(key, content); own != nil {
					return own
				}
				key, value = c.Next()
			}
			return nil
		})
	})
	if own != nil || err == nil {
		return own
	}
	return s.fault("load", err)
}

// Add adds a batch to what is to be kept, after all that was added before, and
// empties it. It does not wait, and it does not fail: Sync says what came of
// it. The changes of one batch are kept together or not at all.
func (s *Store) Add(b *Batch) {
	if len(b.changes) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused != nil {
		s.last.Store(s.refused)
	} else {
		s.add(b.changes)
	}
	b.reset()
}

// Note adds a batch of what nobody is told to be kept, such as statistics. It
// is committed with what is added next, or by Close; Sync does not wait for
// it.
func (s *Store) Note(b *Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		if s.later = append(s.later, b.changes...); len(s.later) > largestSpare {
			s.add(nil)
		}
	}
	b.reset()
}

// add puts changes into the next group, behind those that waited for it. The
// lock is held.
func (s *Store) add(changes []byte) {
	if s.next == nil {
		s.next = &group{changes: s.spare[:0], done: make(chan struct{})}
		s.spare = nil
		s.last.Store(s.next)
		s.changed.Signal()
	}
	s.next.changes = append(append(s.next.changes, s.later...), changes...)
	s.later = s.later[:0]
}

// WriteTo writes the file as it stands between two commits, which is what a
// crash would leave: a copy, while it is in use.
func (s *Store) WriteTo(w io.Writer) (n int64, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		n, err = tx.WriteTo(w)
		return err
	})
	if err != nil {
		return n, s.fault("copy", err)
	}
	return n, nil
}

// Sync waits until all that was added before is on disk. It costs nothing when
// it is. Once a commit has failed, Sync fails for good, and so it does after
// Close if something was added since. Errors are of type *[Error].
func (s *Store) Sync() error {
	g := s.last.Load()
	if g == nil {
		return nil
	}
	<-g.done
	return g.err
}

// Close commits what has been added and closes the file. Its error is that of
// the commit that failed, if one did. It may be called again.
func (s *Store) Close() error {
	return s.close()
}

func (s *Store) closeOnce() error {
	s.mu.Lock()
	s.closing = true
	if s.refused == nil {
		if len(s.later) > 0 {
			s.add(nil)
		}
		s.refused = &group{done: make(chan struct{}), err: &Error{Operation: "write", Path: s.path, Err: ErrClosed}}
		close(s.refused.done)
	}
	s.changed.Signal()
	s.mu.Unlock()
	<-s.done
	if err := s.db.Close(); err != nil && s.failed == nil {
		return s.fault("close", err)
	}
	return s.failed
}
