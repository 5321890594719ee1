package plainbuffer

// A buffer is the header, then rows. Everything is little-endian.
//
//	row       tagKey cell* [tagData cell*] [tagDeleteMarker] [extension]
//	          tagRowChecksum checksum(1)
//	cell      tagCell tagName length(4) name
//	          [tagValue length(4) value] [tagOp op(1)] [tagTimestamp ms(8)]
//	          tagCellChecksum checksum(1)
//	value     type(1) content; the content of a string or blob is
//	          length(4) bytes
//	extension tagExtension length(4) entry*
//	entry     tag length(4) content; the content of tagSequence is
//	          tagEpoch epoch(4) tagSequenceTime µs(8) tagRowIndex index(4)
//
// A cell's checksum covers the name, the value, the timestamp and the op, in
// this order, without tags and without the outer lengths. A row's covers the
// checksum of each cell, then 1 if there is a delete marker, else 0. Neither
// covers the extension.
const (
	tagKey          = 0x01
	tagData         = 0x02
	tagCell         = 0x03
	tagName         = 0x04
	tagValue        = 0x05
	tagOp           = 0x06
	tagTimestamp    = 0x07
	tagDeleteMarker = 0x08
	tagRowChecksum  = 0x09
	tagCellChecksum = 0x0A
	tagExtension    = 0x0B
	tagSequence     = 0x0C
	tagEpoch        = 0x0D
	tagSequenceTime = 0x0E
	tagRowIndex     = 0x0F
)

const (
	header     = 0x75
	headerSize = 4

	prefixSize   = 1 + 4                       // a tag and a length
	sequenceSize = (1 + 4) + (1 + 8) + (1 + 4) // the content of a sequence entry
)
