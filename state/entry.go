package state

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// This file writes and reads what the hash of a channel holds; the fields are
// listed in scripts/channel.lua. All of it is text that redis-cli can show,
// but for the positions of base data, which are keys of any bytes.

var errEntry = errors.New("malformed entry")

// laneName is a lane in a field's name. The index comes first, so that a
// trigger's name may hold anything.
func laneName(l Lane) string { return strconv.Itoa(l.Index) + "/" + l.Trigger }

func parseLane(s string) (Lane, error) {
	index, trigger, found := strings.Cut(s, "/")
	n, err := strconv.Atoi(index)
	if !found || err != nil || n < 0 {
		return Lane{}, fmt.Errorf("%w: lane %q", errEntry, s)
	}
	return Lane{Trigger: trigger, Index: n}, nil
}

// markText is a watermark: FINGERPRINT POSITION.
func markText(m Mark) string { return fmt.Sprintf("%016x %s", m.Fingerprint, m.Position) }

func parseMark(s string) (Mark, error) {
	fingerprint, position, found := strings.Cut(s, " ")
	f, err := strconv.ParseUint(fingerprint, 16, 64)
	if !found || err != nil {
		return Mark{}, fmt.Errorf("%w: watermark %q", errEntry, s)
	}
	return Mark{Position: position, Fingerprint: f}, nil
}

// batchText is a batch as Begin hands it to the scripts, which read no
// further than the attempt:
//
//	ID ATTEMPT TIMEOUT COUNT DIGEST FIRST LAST SETTLED LENGTH POSITIONS
//
// TIMEOUT is in milliseconds; DIGEST and the fingerprints FIRST and LAST are
// in hexadecimal, and so is SETTLED, or it is "-" for nil; LENGTH is that of
// the first position, which the last one follows immediately.
func batchText(b Batch) string {
	settled := "-"
	if b.Settled != nil {
		settled = "x" + hex.EncodeToString(b.Settled)
	}
	return fmt.Sprintf("%s %d %d %d %x %x %x %s %d %s%s",
		b.ID, b.Attempt, milliseconds(b.Timeout), b.Count, b.Digest,
		b.First.Fingerprint, b.Last.Fingerprint, settled,
		len(b.First.Position), b.First.Position, b.Last.Position)
}

// parseBatch reads what batchText wrote.
func parseBatch(s string) (*Batch, error) {
	f := strings.SplitN(s, " ", 10)
	if len(f) != 10 {
		return nil, fmt.Errorf("%w: batch %q", errEntry, s)
	}
	var err error
	number := func(s string, base int) uint64 {
		n, e := strconv.ParseUint(s, base, 64)
		err = errors.Join(err, e)
		return n
	}
	small := func(s string) int {
		n, e := strconv.Atoi(s)
		err = errors.Join(err, e)
		return n
	}
	b := &Batch{
		ID:      f[0],
		Attempt: small(f[1]),
		Timeout: time.Duration(min(number(f[2], 10), longest)) * time.Millisecond,
		Count:   small(f[3]),
		Digest:  number(f[4], 16),
		First:   Mark{Fingerprint: number(f[5], 16)},
		Last:    Mark{Fingerprint: number(f[6], 16)},
	}
	if bits, some := strings.CutPrefix(f[7], "x"); some {
		var e error
		b.Settled, e = hex.DecodeString(bits)
		err = errors.Join(err, e)
	} else if f[7] != "-" {
		err = errors.Join(err, errEntry)
	}
	first := small(f[8])
	err = errors.Join(err, b.valid())
	if err != nil || first < 0 || first > len(f[9]) {
		return nil, fmt.Errorf("%w: batch %q", errEntry, s)
	}
	b.First.Position, b.Last.Position = f[9][:first], f[9][first:]
	return b, nil
}

// inFlight is a lane's batch in flight as the hash holds it.
type inFlight struct {
	deadline int64 // of its attempt, in the server's milliseconds
	owed     int64 // the latest one of its earlier attempts without an answer
	epoch    int64 // the owner's that began it
	batch    *Batch
}

// parseInFlight reads DEADLINE OWED EPOCH and the batch.
func parseInFlight(s string) (inFlight, error) {
	f := strings.SplitN(s, " ", 4)
	if len(f) != 4 {
		return inFlight{}, fmt.Errorf("%w: batch in flight %q", errEntry, s)
	}
	deadline, err1 := strconv.ParseInt(f[0], 10, 64)
	owed, err2 := strconv.ParseInt(f[1], 10, 64)
	epoch, err3 := strconv.ParseInt(f[2], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return inFlight{}, fmt.Errorf("%w: batch in flight %q", errEntry, s)
	}
	b, err := parseBatch(f[3])
	return inFlight{deadline: deadline, owed: owed, epoch: epoch, batch: b}, err
}

// milliseconds rounds up: a deadline must not come early.
func milliseconds(d time.Duration) int64 {
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return ms
}

// longest is the longest time.Duration, in milliseconds.
const longest = uint64(math.MaxInt64 / time.Millisecond)
