package main

import (
	"errors"
	"os"
	"sync"
)

// scratch is a temporary directory that ends with the process, also when a
// second interrupt ends that. It is made when it is first asked for.
type scratch struct {
	mu      sync.Mutex
	path    string
	removed bool
}

// dir is the directory.
func (s *scratch) dir() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed {
		return "", errors.New("the process is about to end")
	}
	if s.path == "" {
		path, err := os.MkdirTemp("", "culvert-")
		if err != nil {
			return "", unavailable("no place for temporary files: %w; TMPDIR must name a directory that can be written", err)
		}
		s.path = path
	}
	return s.path, nil
}

// remove removes it with all that is in it, for good.
func (s *scratch) remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed = true
	if s.path != "" {
		_ = os.RemoveAll(s.path) // a leftover in the temporary directory
	}
}
