package batch

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"iter"

	"github.com/cespare/xxhash/v2"

	"github.com/culvertio/culvert/state"
	"github.com/culvertio/culvert/tunnel"
)

// digest is an xxhash64 that is fed without asking: writing cannot fail.
type digest struct{ xxhash.Digest }

func (d *digest) add(b []byte) { _, _ = d.Write(b) }

// Fingerprint is 64 bits of a record's bytes. It tells apart two records
// that claim the same position: a row of base data that changed between two
// reads, or a log whose clock stepped back.
//
// It is xxhash64, seed 0, over: the action (1 byte); the length of Row (8
// bytes, big-endian) and Row; 0 if there is no Origin, else 1, the length of
// Origin (8 bytes, big-endian) and Origin. A nil Origin and an empty one
// differ. The ledger keeps fingerprints, so this must never change without a
// change of the ledger's schema.
func Fingerprint(rec tunnel.Record) uint64 {
	var d digest
	d.Reset()
	var head [9]byte
	head[0] = byte(rec.Action)
	binary.BigEndian.PutUint64(head[1:], uint64(len(rec.Row)))
	d.add(head[:])
	d.add(rec.Row)
	if rec.Origin == nil {
		head[0] = 0
		d.add(head[:1])
		return d.Sum64()
	}
	head[0] = 1
	binary.BigEndian.PutUint64(head[1:], uint64(len(rec.Origin)))
	d.add(head[:])
	d.add(rec.Origin)
	return d.Sum64()
}

// IDLength is the length of a batch's id in bytes.
const IDLength = 32

// ID names a batch: 32 hexadecimal digits made of what is in it and where it
// came from. The same records of one channel and trigger, in the same order,
// have the same id in every attempt and after every restart; any others have
// another.
//
// It is the first half of the SHA-256 over: the tunnel's id, the channel's
// id and the trigger's name, then each record's position and fingerprint. A
// text is preceded by its length (8 bytes, big-endian); a fingerprint is 8
// bytes, big-endian.
func ID(tunnelID, channelID, trigger string, records iter.Seq[state.Mark]) string {
	h := sha256.New()
	var part []byte
	for _, name := range [...]string{tunnelID, channelID, trigger} {
		part = appendText(part, name)
	}
	h.Write(part)
	for mark := range records {
		part = appendText(part[:0], mark.Position)
		part = binary.BigEndian.AppendUint64(part, mark.Fingerprint)
		h.Write(part)
	}
	var sum [sha256.Size]byte
	return hex.EncodeToString(h.Sum(sum[:0])[:IDLength/2])
}

func appendText(dst []byte, text string) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(len(text)))
	return append(dst, text...)
}

// Digest is xxhash64, seed 0, over the fingerprints in order, each as 8
// bytes, big-endian. The ledger keeps it so that a batch rebuilt after a
// restart can be told from one whose records changed.
func Digest(records iter.Seq[state.Mark]) uint64 {
	var d digest
	d.Reset()
	var bytes [8]byte
	for mark := range records {
		binary.BigEndian.PutUint64(bytes[:], mark.Fingerprint)
		d.add(bytes[:])
	}
	return d.Sum64()
}
