package store

import (
	"encoding/binary"
	"hash/crc32"
	"strconv"
)

// Bucket is a part of the store with keys of its own, in the order of their
// bytes. What keys and values hold is the emulator's business.
type Bucket uint8

const (
	Instance   Bucket = iota // what belongs to no table
	Tables                   // a table's schema and options
	Partitions               // a partition's range, parents and state
	Rows                     // rows as they stand
	Former                   // rows as they stood, which base data still shows
	Log                      // a partition's changes
	Tunnels                  // what of a tunnel does not change
	Channels                 // a channel's lease and checkpoint
	Readings                 // how far a channel has been read

	bucketCount
)

var names = [bucketCount]string{"instance", "tables", "partitions", "rows", "former", "log", "tunnels", "channels", "readings"}

func (b Bucket) String() string {
	if b < bucketCount {
		return names[b]
	}
	return "bucket " + strconv.Itoa(int(b))
}

func (b Bucket) name() []byte { return []byte(b.String()) }

// Buckets of the store's own, and the key of the schema's version.
var (
	aboutBucket = []byte("about")
	dropsBucket = []byte("drops")
	schemaKey   = []byte("schema")
)

// A value ends with a checksum of the key and the value: the file's own
// checksums do not cover data.
const checksumBytes = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func seal(key, content []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, content)
	return binary.LittleEndian.AppendUint32(append([]byte(nil), content...), sum)
}

func unseal(key, value []byte) ([]byte, error) {
	n := len(value) - checksumBytes
	if n < 0 {
		return nil, corrupt("a value of %d bytes", len(value))
	}
	content := value[:n:n]
	if crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, content) != binary.LittleEndian.Uint32(value[n:]) {
		return nil, corrupt("a wrong checksum")
	}
	return content, nil
}
