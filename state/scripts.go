package state

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts by SHA-1.
	_ "embed"
	"encoding/hex"
	"fmt"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/channel.lua
var channelSource string

//go:embed scripts/attach.lua
var attachSource string

//go:embed scripts/begin.lua
var beginSource string

//go:embed scripts/settle.lua
var settleSource string

//go:embed scripts/trim.lua
var trimSource string

//go:embed scripts/release.lua
var releaseSource string

// operation is something to ask of the server: a script each, but for ping.
type operation int

const (
	attach operation = iota
	begin
	settle
	trim
	release
	ping // INFO; after those that are scripts
)

func (o operation) String() string {
	return [...]string{"attach", "begin", "settle", "trim", "release", "ping"}[o]
}

func (o operation) source() string {
	return [...]string{attachSource, beginSource, settleSource, trimSource, releaseSource}[o]
}

// frees tells whether an operation must run though the server has reached its
// maxmemory: it lets go of what fills it.
func (o operation) frees() bool { return o == settle || o == trim || o == release }

// scripts are the operations as the server knows them: the digest of each, or
// nothing yet. Only the goroutine that sends groups uses it.
type scripts struct {
	digests [ping]string
	loaded  bool
}

// load brings the scripts to the server: with a first line of flags, which
// lets some run at its maxmemory, or without it where that does not compile
// (before Redis 7, and on miniredis).
func (s *scripts) load(ctx context.Context, client redis.Scripter) error {
	err := s.loadAs(ctx, client, true)
	if err != nil && isServerError(err) {
		err = s.loadAs(ctx, client, false)
	}
	return err
}

func (s *scripts) loadAs(ctx context.Context, client redis.Scripter, flagged bool) error {
	for o := range ping {
		first := ""
		switch {
		case flagged && o.frees():
			first = "#!lua flags=allow-oom\n"
		case flagged:
			// Without flags a script is refused at maxmemory before its first
			// write rather than at it.
			first = "#!lua\n"
		}
		source := first + channelSource + o.source()
		if err := client.ScriptLoad(ctx, source).Err(); err != nil {
			return fmt.Errorf("load the script %v: %w", o, err)
		}
		sum := sha1.Sum([]byte(source)) //nolint:gosec // see the import
		s.digests[o] = hex.EncodeToString(sum[:])
	}
	s.loaded = true
	return nil
}
