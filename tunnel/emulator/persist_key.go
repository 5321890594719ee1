package emulator

import (
	"encoding/binary"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// Keys of the store. Their bytes are in the order in which things are loaded:
// tables by number, rows by their primary keys, log entries by partition and
// number, channels as their tunnel has them.

// appendTable appends a table's number, with which all of its keys begin. A
// number is used once: a table that is made anew inherits nothing.
func appendTable(dst []byte, table uint32) []byte { return binary.BigEndian.AppendUint32(dst, table) }

func partitionKey(dst []byte, table uint32, partition int) []byte {
	return binary.BigEndian.AppendUint32(appendTable(dst, table), uint32(partition))
}

func entryKey(dst []byte, table uint32, partition, entry int) []byte {
	return binary.BigEndian.AppendUint64(partitionKey(dst, table, partition), uint64(entry))
}

func rowKey(dst []byte, table uint32, key []plainbuffer.Cell) []byte {
	return appendPrimaryKey(appendTable(dst, table), key)
}

// formerKey is that of a row as it stood until a revision.
func formerKey(dst []byte, table uint32, until uint64, key []plainbuffer.Cell) []byte {
	return appendPrimaryKey(binary.BigEndian.AppendUint64(appendTable(dst, table), until), key)
}

// channelKey is that of a tunnel's i-th channel.
func channelKey(tunnel string, i int) []byte {
	return binary.BigEndian.AppendUint32([]byte(tunnel), uint32(i))
}

// appendPrimaryKey appends the values of a primary key so that keys of one
// table compare as their bytes do, and none is the beginning of another.
func appendPrimaryKey(dst []byte, key []plainbuffer.Cell) []byte {
	for _, c := range key {
		if c.Value.Type() == plainbuffer.Integer {
			// Negative numbers come first.
			dst = binary.BigEndian.AppendUint64(dst, uint64(c.Value.Integer())^1<<63)
			continue
		}
		for _, b := range c.Value.Bytes() {
			if dst = append(dst, b); b == 0 {
				dst = append(dst, 0xff)
			}
		}
		dst = append(dst, 0, 0)
	}
	return dst
}
