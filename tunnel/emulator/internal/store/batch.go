package store

import (
	"encoding/binary"
	"hash/crc32"
)

// Batch is changes that are kept together. The zero Batch is empty. It is used
// again after [Store.Add], which empties it, and is not for use from several
// goroutines at once.
type Batch struct {
	changes []byte
}

// largestSpare bounds the buffers that are kept for another use.
const largestSpare = 4 << 20

func (b *Batch) reset() {
	if cap(b.changes) > largestSpare {
		b.changes = nil
	}
	b.changes = b.changes[:0]
}

// kind is what a change does.
type kind uint8

const (
	put kind = iota
	remove
	removeRange
)

// A change is its kind and bucket (a byte each), the length of its key and of
// its value (4 bytes each), the key, and the value.
const changeHead = 2 + 4 + 4

// Put sets a key's value, which is the parts joined. A key has 1 to 32,000
// bytes. All are copied.
func (b *Batch) Put(bucket Bucket, key []byte, parts ...[]byte) {
	n := checksumBytes
	for _, p := range parts {
		n += len(p)
	}
	b.head(put, bucket, key, n)
	sum := crc32.Checksum(key, castagnoli)
	for _, p := range parts {
		b.changes = append(b.changes, p...)
		sum = crc32.Update(sum, castagnoli, p)
	}
	b.changes = binary.LittleEndian.AppendUint32(b.changes, sum)
}

// Delete removes a key, if it is there.
func (b *Batch) Delete(bucket Bucket, key []byte) {
	b.head(remove, bucket, key, 0)
}

// Drop removes all keys from from to to, which is not included. They are gone
// at once as far as Load goes; the file gives them up bit by bit, between
// commits, and goes on with it after a restart. Nothing may be put into the
// range again, and no two ranges begin at the same key.
func (b *Batch) Drop(bucket Bucket, from, to []byte) {
	b.head(removeRange, bucket, from, len(to))
	b.changes = append(b.changes, to...)
}

func (b *Batch) head(k kind, bucket Bucket, key []byte, value int) {
	b.changes = append(b.changes, byte(k), byte(bucket))
	b.changes = binary.LittleEndian.AppendUint32(b.changes, uint32(len(key)))
	b.changes = binary.LittleEndian.AppendUint32(b.changes, uint32(value))
	b.changes = append(b.changes, key...)
}

// change is one of a batch's.
type change struct {
	kind   kind
	bucket Bucket
	key    []byte
	value  []byte
}

// cut takes the first change off a batch's bytes. It aliases them.
func cut(changes []byte) (change, []byte) {
	c := change{kind: kind(changes[0]), bucket: Bucket(changes[1])}
	key := int(binary.LittleEndian.Uint32(changes[2:]))
	value := int(binary.LittleEndian.Uint32(changes[6:]))
	changes = changes[changeHead:]
	c.key, changes = changes[:key:key], changes[key:]
	c.value, changes = changes[:value:value], changes[value:]
	return c, changes
}
