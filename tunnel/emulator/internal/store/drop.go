package store

import (
	"bytes"

	bolt "go.etcd.io/bbolt"
)

// drop is a range of keys that has been dropped, but not yet given up by the
// file.
type drop struct {
	bucket   Bucket
	from, to []byte
}

// key of a drop among the drops. Its value is to.
func (d *drop) key() []byte { return append([]byte{byte(d.bucket)}, d.from...) }

func (d *drop) has(b Bucket, key []byte) bool {
	return d.bucket == b && bytes.Compare(d.from, key) <= 0 && bytes.Compare(key, d.to) < 0
}

func readDrops(b *bolt.Bucket) ([]drop, error) {
	if b == nil {
		return nil, corrupt("the bucket %s is missing", dropsBucket)
	}
	var drops []drop
	err := b.ForEach(func(key, value []byte) error {
		to, err := unseal(key, value)
		if err != nil {
			return err
		}
		if Bucket(key[0]) >= bucketCount {
			return corrupt("a range of bucket %d", key[0])
		}
		drops = append(drops, drop{bucket: Bucket(key[0]), from: bytes.Clone(key[1:]), to: bytes.Clone(to)})
		return nil
	})
	return drops, err
}

// giveUp deletes up to limit of the range's keys, and says whether none is
// left.
func (d *drop) giveUp(b *bolt.Bucket, limit int) (bool, error) {
	var keys [][]byte
	c := b.Cursor()
	key, _ := c.Seek(d.from)
	for ; key != nil && bytes.Compare(key, d.to) < 0 && len(keys) < limit; key, _ = c.Next() {
		keys = append(keys, bytes.Clone(key))
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return false, err
		}
	}
	return len(keys) < limit, nil
}
