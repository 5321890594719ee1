package store

import (
	"bytes"
	"slices"

	bolt "go.etcd.io/bbolt"
)

const (
	// logFill is how full the pages of a log are when they are split. Its keys
	// come in order: what is before them is not written to again.
	logFill = 0.95
	// dropChunk is how many dropped keys a commit gives up, so that none takes
	// long.
	dropChunk = 4096
)

// run commits what is added until the store is closed.
func (s *Store) run() {
	defer close(s.done)
	for {
		g, ok := s.take()
		if !ok {
			return
		}
		s.finish(g, guarded(func() error { return s.commit(g) }))
	}
}

// take waits for something to do: a group; or, with a nil group, dropped keys
// to give up. There is nothing more to do when it says false.
func (s *Store) take() (*group, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.next == nil && !s.closing && (len(s.drops) == 0 || s.failed != nil) {
		s.changed.Wait()
	}
	g := s.next
	s.next = nil
	return g, g != nil || !s.closing
}

// finish tells who waits for a group what came of it.
func (s *Store) finish(g *group, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed = s.fault("write", err)
		s.refused = &group{done: make(chan struct{}), err: s.failed}
		close(s.refused.done)
		s.last.Store(s.refused)
		if s.next != nil {
			s.next.err = s.failed
			close(s.next.done)
			s.next = nil
		}
	}
	if g == nil {
		return
	}
	if s.last.Load() == g {
		s.last.Store(nil)
	}
	if cap(g.changes) <= largestSpare {
		s.spare = g.changes
	}
	g.changes, g.err = nil, s.failed
	close(g.done)
}

// commit writes a group, if there is one, and gives up some of the keys that
// have been dropped.
func (s *Store) commit(g *group) error {
	drops := slices.Clone(s.drops)
	err := s.db.Update(func(tx *bolt.Tx) error {
		var buckets [bucketCount]*bolt.Bucket // those that are needed
		in := func(b Bucket) *bolt.Bucket {
			if buckets[b] == nil {
				if buckets[b] = tx.Bucket(b.name()); b == Log {
					buckets[b].FillPercent = logFill
				}
			}
			return buckets[b]
		}
		if g != nil {
			for rest := g.changes; len(rest) > 0; {
				var c change
				c, rest = cut(rest)
				var err error
				switch c.kind {
				case put:
					err = in(c.bucket).Put(c.key, c.value)
				case remove:
					err = in(c.bucket).Delete(c.key)
				case removeRange:
					d := drop{bucket: c.bucket, from: bytes.Clone(c.key), to: bytes.Clone(c.value)}
					drops = append(drops, d)
					err = tx.Bucket(dropsBucket).Put(d.key(), seal(d.key(), d.to))
				}
				if err != nil {
					return err
				}
			}
		}
		if len(drops) == 0 {
			return nil
		}
		d := drops[0]
		given, err := d.giveUp(in(d.bucket), dropChunk)
		if err != nil || !given {
			return err
		}
		drops = drops[1:]
		return tx.Bucket(dropsBucket).Delete(d.key())
	})
	if err == nil {
		s.drops = drops
	}
	return err
}
