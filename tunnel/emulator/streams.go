package emulator

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
)

// The calls that read a table's stream without a tunnel. A shard is a
// partition, and has the id of its stream channels.

// Bounds of one answer. The service's are not documented.
const (
	maxShards        = 1000
	maxStreamRecords = 5000
)

// listStream lists the stream of a table, or of all when none is named, by the
// tables' names.
func (e *Emulator) listStream(q *tablepb.ListStreamRequest) (*tablepb.ListStreamResponse, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if _, ok := e.tables[q.GetTableName()]; !ok && q.TableName != nil {
		return nil, absentTable(q.GetTableName())
	}
	answer := &tablepb.ListStreamResponse{}
	for _, t := range e.tables {
		t.mu.RLock()
		if t.streamID != "" && (q.TableName == nil || t.name == q.GetTableName()) {
			answer.Streams = append(answer.Streams, &tablepb.Stream{
				StreamId:     new(t.streamID),
				TableName:    new(t.name),
				CreationTime: new(t.streamFrom.UnixMicro()),
			})
		}
		t.mu.RUnlock()
	}
	slices.SortFunc(answer.Streams, func(a, b *tablepb.Stream) int { return cmp.Compare(a.GetTableName(), b.GetTableName()) })
	return answer, nil
}

// ofStream runs f on a stream's table, under the table's lock for reading.
func (e *Emulator) ofStream(id string, f func(*table) error) error {
	e.mu.RLock()
	tables := make([]*table, 0, len(e.tables))
	for _, t := range e.tables {
		tables = append(tables, t)
	}
	e.mu.RUnlock()
	for _, t := range tables {
		t.mu.RLock()
		found := id != "" && t.streamID == id
		t.mu.RUnlock()
		if !found {
			continue
		}
		t.trim(t.clock.now())
		t.mu.RLock()
		defer t.mu.RUnlock()
		if t.streamID == id {
			return f(t)
		}
	}
	return failf(codeObjectNotExist, "Requested stream does not exist: %s.", id)
}

// shard finds a partition that the stream has, or had and has not forgotten.
// The lock is held.
func (t *table) shard(id string) (*partition, error) {
	_, number, _ := strings.Cut(id, "_")
	if n, err := strconv.Atoi(number); err == nil && n >= 0 && n < len(t.partitions) {
		if p := t.partitions[n]; streamID(p) == id && !p.forgotten {
			return p, nil
		}
	}
	return nil, failf(codeObjectNotExist, "Requested shard does not exist: %s.", id)
}

// describeStream lists the shards, parents before their children.
func (e *Emulator) describeStream(q *tablepb.DescribeStreamRequest) (*tablepb.DescribeStreamResponse, error) {
	limit := maxShards
	if q.ShardLimit != nil {
		if q.GetShardLimit() < 1 {
			return nil, failf(codeParameterInvalid, "The shard limit must be greater than 0, not %d.", q.GetShardLimit())
		}
		limit = min(limit, int(q.GetShardLimit()))
	}
	var answer *tablepb.DescribeStreamResponse
	err := e.ofStream(q.GetStreamId(), func(t *table) error {
		start := 0
		if q.InclusiveStartShardId != nil {
			p, err := t.shard(q.GetInclusiveStartShardId())
			if err != nil {
				return err
			}
			start = p.number
		}
		answer = &tablepb.DescribeStreamResponse{
			StreamId:       new(t.streamID),
			ExpirationTime: new(int32(t.streamHours)),
			TableName:      new(t.name),
			CreationTime:   new(t.streamFrom.UnixMicro()),
			StreamStatus:   tablepb.StreamStatus_STREAM_ACTIVE.Enum(),
		}
		for _, p := range t.partitions[start:] {
			if p.forgotten {
				continue
			}
			if len(answer.Shards) == limit {
				answer.NextShardId = new(streamID(p))
				break
			}
			shard := &tablepb.StreamShard{ShardId: new(streamID(p))}
			if p.parent != nil && !p.parent.forgotten {
				shard.ParentId = new(streamID(p.parent))
			}
			answer.Shards = append(answer.Shards, shard)
		}
		return nil
	})
	return answer, err
}

// getShardIterator gives an iterator before the shard's first record, or the
// first that is not older than the timestamp.
func (e *Emulator) getShardIterator(q *tablepb.GetShardIteratorRequest) (*tablepb.GetShardIteratorResponse, error) {
	if q.Token != nil {
		return nil, failf(codeParameterInvalid, "Invalid token: the emulator gives none, it answers with the iterator at once.")
	}
	if q.GetTimestamp() < 0 {
		return nil, failf(codeParameterInvalid, "The timestamp must not be negative: %d.", q.GetTimestamp())
	}
	var answer *tablepb.GetShardIteratorResponse
	err := e.ofStream(q.GetStreamId(), func(t *table) error {
		p, err := t.shard(q.GetShardId())
		if err != nil {
			return err
		}
		at := p.log.first
		if q.Timestamp != nil {
			at = p.log.since(q.GetTimestamp())
		}
		iterator := shardIterator(t.streamID, p, at)
		answer = &tablepb.GetShardIteratorResponse{ShardIterator: &iterator}
		return nil
	})
	return answer, err
}

// shardIterator names the place in a shard before the entry at.
func shardIterator(stream string, p *partition, at int) string {
	return fmt.Sprintf("%s:%s:%016x", stream, streamID(p), at)
}

// getStreamRecord answers with the records after an iterator, as they are in
// the log. A shard that was split has no next iterator after its last page.
func (e *Emulator) getStreamRecord(body []byte, _ pageFault) ([][]byte, error) {
	var q tablepb.GetStreamRecordRequest
	if err := parse(body, &q); err != nil {
		return nil, err
	}
	size := pageSize{records: maxStreamRecords, bytes: e.config.PageBytes}
	if q.Limit != nil {
		if q.GetLimit() < 1 {
			return nil, failf(codeParameterInvalid, "The limit must be greater than 0, not %d.", q.GetLimit())
		}
		size.records = min(size.records, int(q.GetLimit()))
	}
	stream, rest, _ := strings.Cut(q.GetShardIterator(), ":")
	shard, number, ok := strings.Cut(rest, ":")
	at, err := strconv.ParseInt(number, 16, 64)
	if !ok || err != nil || at < 0 {
		return nil, failf(codeParameterInvalid, "Invalid shard iterator.")
	}
	var (
		pieces [][]byte
		answer tablepb.GetStreamRecordResponse
	)
	err = e.ofStream(stream, func(t *table) error {
		if q.TableName != nil && q.GetTableName() != t.name {
			return failf(codeParameterInvalid, "The shard iterator is not of table %s.", q.GetTableName())
		}
		p, err := t.shard(shard)
		if err != nil {
			return err
		}
		at, end := int(at), p.log.end()
		switch {
		case at > end:
			return failf(codeParameterInvalid, "Invalid shard iterator: it is beyond the shard's end.")
		case at < p.log.first:
			return failf(codeTrimmed, "%s", trimmedText)
		}
		to := p.log.upTo(at, end, size)
		pieces = p.log.pieces(at, to)
		if !p.ended || to < end {
			answer.NextShardIterator = new(shardIterator(stream, p, to))
		}
		// A page that the limit ended may not be the last, though it is: so
		// find the tests of the service's SDK for Java.
		answer.MayMoreRecord = new(to < end || to-at == size.records)
		return nil
	})
	if err != nil {
		return nil, err
	}
	answer.Consumed = consumedReading(length(pieces))
	b, err := proto.Marshal(&answer)
	if err != nil {
		return nil, failf(codeInternal, "The answer cannot be encoded: %v.", err)
	}
	return append(pieces, b), nil
}
