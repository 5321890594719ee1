package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Pace of watching.
const (
	settleDown = 150 * time.Millisecond // an editor saves a file in several steps, and several files one after the other
	lookAgain  = 500 * time.Millisecond // for a directory that has gone
)

// sources is which files a handler is made of. Directories are watched, not
// files: most editors write a new file and rename it.
type sources struct {
	packages map[string]bool // directories whose Go files count, new ones too
	embeds   map[string]bool // directories of which any file may be embedded
	files    map[string]bool // that count wherever they are
}

func newSources() *sources {
	return &sources{packages: map[string]bool{}, embeds: map[string]bool{}, files: map[string]bool{}}
}

// dirs are the directories to watch.
func (s *sources) dirs() map[string]bool {
	dirs := maps.Clone(s.packages)
	maps.Copy(dirs, s.embeds)
	for file := range s.files {
		dirs[filepath.Dir(file)] = true
	}
	return dirs
}

// want says whether a change of a file is one of the handler.
func (s *sources) want(path string) bool {
	if s.files[path] {
		return true
	}
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") { // of editors
		return false
	}
	if slices.Contains([]string{".go", ".s", ".h"}, filepath.Ext(name)) && s.packages[dir] {
		return !strings.HasPrefix(name, "_") && !strings.HasSuffix(name, "_test.go")
	}
	return s.embeds[dir]
}

// sources finds what the handler is made of just now; with an error, what of
// it could be found.
func (h handler) sources(ctx context.Context) (*sources, error) {
	s := newSources()
	paths := h.words[min(1, len(h.words)):]
	if h.source != "" {
		info, err := os.Stat(h.source)
		if err != nil {
			return s, err
		}
		if info.IsDir() {
			return s, s.addPackages(ctx, h.source)
		}
		paths = []string{h.source}
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue // an argument that is no file
		}
		path, err := filepath.Abs(path)
		if err != nil {
			return s, err
		}
		s.files[path] = true
	}
	return s, nil
}

// goPackage is what the go command lists of a package.
type goPackage struct {
	Dir        string
	Standard   bool
	EmbedFiles []string
	Module     *goModule
}

type goModule struct {
	Main    bool
	Version string
	GoMod   string
	Replace *goModule
}

// local says whether the module's source is the user's own: a main module, or
// one that is replaced by a directory.
func (m *goModule) local() bool {
	return m != nil && (m.Main || m.Replace != nil && m.Replace.Version == "")
}

// addPackages adds the package in dir and those that it imports of local
// modules.
func (s *sources) addPackages(ctx context.Context, dir string) error {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	s.packages[absolute] = true // if nothing can be listed, its own files are known
	cmd := exec.CommandContext(ctx, "go", "list", "-e", "-deps", "-json=Dir,Standard,EmbedFiles,Module", ".")
	cmd.Dir = absolute
	listed, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("list the packages of %s: %w", dir, err)
	}
	for decoder := json.NewDecoder(bytes.NewReader(listed)); ; {
		var p goPackage
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("list the packages of %s: %w", dir, err)
		}
		if p.Standard || p.Dir == "" || !p.Module.local() {
			continue
		}
		s.packages[p.Dir] = true
		for _, file := range p.EmbedFiles {
			s.embeds[filepath.Dir(filepath.Join(p.Dir, file))] = true
		}
		if p.Module.GoMod != "" {
			s.files[p.Module.GoMod] = true
			s.files[filepath.Join(filepath.Dir(p.Module.GoMod), "go.sum")] = true
		}
	}
}

// rebuilder is a target whose handler can be built or started anew while it
// works.
type rebuilder interface{ Rebuild(context.Context) error }

// watcher follows a handler's source.
type watcher struct {
	handler handler
	notify  *fsnotify.Watcher
	log     *slog.Logger
	sources *sources
	lost    map[string]bool // directories to watch that are not there
}

// newWatcher begins to watch. close must be called.
func newWatcher(ctx context.Context, h handler, logger *slog.Logger) (*watcher, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	w := &watcher{handler: h, notify: notify, log: logger, sources: newSources(), lost: map[string]bool{}}
	w.look(ctx)
	return w, nil
}

func (w *watcher) close() { _ = w.notify.Close() }

// look finds out anew what is to be watched.
func (w *watcher) look(ctx context.Context) {
	found, err := w.handler.sources(ctx)
	if err != nil { // what was known may still be right
		w.log.Debug("it is not known what the handler is made of", "error", err)
		maps.Copy(found.packages, w.sources.packages)
		maps.Copy(found.embeds, w.sources.embeds)
	}
	maps.Copy(found.files, w.sources.files) // one that has gone may come back
	w.sources = found
	dirs := found.dirs()
	for dir := range dirs {
		w.add(dir)
	}
	for _, dir := range w.notify.WatchList() {
		if !dirs[dir] {
			_ = w.notify.Remove(dir) // it may have gone
		}
	}
	maps.DeleteFunc(w.lost, func(dir string, _ bool) bool { return !dirs[dir] })
}

// add watches a directory, and says whether it is there.
func (w *watcher) add(dir string) bool {
	err := w.notify.Add(dir)
	if err == nil {
		delete(w.lost, dir)
		return true
	}
	if !w.lost[dir] {
		w.lost[dir] = true
		w.log.Debug("a directory of the handler's source cannot be watched", "dir", dir, "error", err)
	}
	return false
}

// follow calls changed whenever the source has changed and come to rest, until
// ctx ends.
func (w *watcher) follow(ctx context.Context, changed func()) {
	rest := time.NewTimer(settleDown)
	rest.Stop()
	defer rest.Stop()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event, ok := <-w.notify.Events:
			switch {
			case !ok:
				return
			case event.Op == fsnotify.Chmod:
			case w.sources.dirs()[event.Name]: // the directory itself has gone
				w.lost[event.Name] = true
			case w.sources.want(event.Name):
				rest.Reset(settleDown)
			}
		case _, ok := <-w.notify.Errors: // some events were lost
			if !ok {
				return
			}
			rest.Reset(settleDown)
		case <-again.C:
			for dir := range maps.Clone(w.lost) {
				if w.add(dir) {
					rest.Reset(settleDown)
				}
			}
		case <-rest.C:
			w.look(ctx) // first: what changes from here on is seen
			changed()
		}
	}
}

// watch has the handler built or started anew when its source changes, from
// when it is first built until ctx ends.
func (l *local) watch(ctx context.Context, built <-chan rebuilder, logger *slog.Logger) {
	w, err := newWatcher(ctx, l.handler, logger)
	if err != nil {
		logger.Warn("the handler is not watched: start anew after each change of it", "error", err)
		return
	}
	defer w.close()
	var target rebuilder
	select {
	case target = <-built:
	case <-ctx.Done():
		return
	}
	w.follow(ctx, func() {
		does, done := "building the handler anew", "rebuilt"
		if l.handler.source == "" {
			does, done = "starting the handler anew", "restarted"
		}
		began := time.Now()
		l.console.begin(does)
		err := target.Rebuild(ctx)
		l.console.done()
		switch {
		case ctx.Err() != nil:
		case err != nil:
			fmt.Fprintln(l.out, err)
			l.console.news("the handler is not "+done+": the former one goes on", true)
		default:
			l.console.news(fmt.Sprintf("handler %s in %s", done, span(time.Since(began))), false)
		}
	})
}
