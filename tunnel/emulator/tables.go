package emulator

import (
	"maps"
	"slices"
	"time"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// The calls that make, describe and delete tables.

func (e *Emulator) createTable(q *tablepb.CreateTableRequest) (*tablepb.CreateTableResponse, error) {
	meta, options := q.GetTableMeta(), q.GetTableOptions()
	capacity := q.GetReservedThroughput().GetCapacityUnit()
	if capacity.Read == nil || capacity.Write == nil {
		return nil, failf(codeParameterInvalid, "Both read and write capacity unit are required to create table.")
	}
	if options == nil {
		options = &tablepb.TableOptions{}
	}
	stream := q.GetStreamSpec()
	for _, refused := range []struct {
		is   bool
		what string
	}{
		{len(meta.GetDefinedColumn()) > 0, "defined columns"},
		{len(meta.GetIndexMeta()) > 0 || len(q.GetIndexMetas()) > 0, "indexes"},
		{len(q.GetPartitions()) > 0, "partition ranges"},
		{q.GetSseSpec().GetEnable(), "server side encryption"},
		{q.GetEnableLocalTxn(), "local transactions"},
		{capacity.GetRead() != 0 || capacity.GetWrite() != 0, "reserved throughput other than 0"},
		{options.TimeToLive != nil && options.GetTimeToLive() != -1, "a time to live other than -1 (for ever)"},
		{options.AllowUpdate != nil && !options.GetAllowUpdate(), "tables that do not allow updates"},
		{options.GetUpdateFullRow(), "tables that update full rows"},
		{len(stream.GetColumnsToGet()) > 0, "streams that carry the row as it was (columns to get)"},
	} {
		if refused.is {
			return nil, unsupported(refused.what)
		}
	}
	spec := TableSpec{
		Name:        meta.GetTableName(),
		MaxVersions: 1,
		Partitions:  e.config.Partitions,
		SplitBytes:  e.config.SplitBytes,
	}
	if options.MaxVersions != nil {
		spec.MaxVersions = int(options.GetMaxVersions())
	}
	for _, k := range meta.GetPrimaryKey() {
		if k.Option != nil {
			return nil, unsupported("auto-increment key columns")
		}
		c := KeyColumn{Name: k.GetName()}
		switch k.GetType() {
		case tablepb.PrimaryKeyType_INTEGER:
			c.Type = plainbuffer.Integer
		case tablepb.PrimaryKeyType_STRING:
			c.Type = plainbuffer.String
		case tablepb.PrimaryKeyType_BINARY:
			c.Type = plainbuffer.Blob
		}
		spec.Key = append(spec.Key, c)
	}
	if stream.GetEnableStream() {
		if spec.StreamHours = int(stream.GetExpirationTime()); spec.StreamHours == 0 {
			return nil, failf(codeParameterInvalid, "The stream's expiration time must be in range: [1, %d] hours.", maxStreamHours)
		}
	}
	t, err := newTable(spec, &e.clock)
	if err != nil {
		return nil, err
	}
	if s := options.GetDeviationCellVersionInSec(); s != 0 {
		if s < 0 || s > int64(1<<63-1)/int64(time.Second) {
			return nil, failf(codeParameterInvalid, "The deviation of cell versions must be positive, not %d.", s)
		}
		t.drift = time.Duration(s) * time.Second
	}
	if err := e.addTable(t); err != nil {
		return nil, err
	}
	return &tablepb.CreateTableResponse{}, nil
}

func (e *Emulator) describeTable(q *tablepb.DescribeTableRequest) (*tablepb.DescribeTableResponse, error) {
	t, err := e.table(q.GetTableName())
	if err != nil {
		return nil, err
	}
	meta := &tablepb.TableMeta{TableName: &t.name}
	for _, k := range t.key {
		schema := &tablepb.PrimaryKeySchema{Name: new(k.Name), Type: tablepb.PrimaryKeyType_INTEGER.Enum()}
		switch k.Type {
		case plainbuffer.String:
			schema.Type = tablepb.PrimaryKeyType_STRING.Enum()
		case plainbuffer.Blob:
			schema.Type = tablepb.PrimaryKeyType_BINARY.Enum()
		}
		meta.PrimaryKey = append(meta.PrimaryKey, schema)
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	stream := &tablepb.StreamDetails{EnableStream: new(t.streamID != "")}
	if t.streamID != "" {
		stream.StreamId = new(t.streamID)
		stream.ExpirationTime = new(int32(t.streamHours))
		stream.LastEnableTime = new(t.streamFrom.UnixMicro())
	}
	return &tablepb.DescribeTableResponse{
		TableMeta: meta,
		ReservedThroughputDetails: &tablepb.ReservedThroughputDetails{
			CapacityUnit:     capacityUnit(0, 0),
			LastIncreaseTime: new(t.created.Unix()),
		},
		TableOptions: &tablepb.TableOptions{
			TimeToLive:                new(int32(-1)),
			MaxVersions:               new(int32(t.maxVersions)),
			DeviationCellVersionInSec: new(int64(t.drift / time.Second)),
			AllowUpdate:               new(true),
			UpdateFullRow:             new(false),
		},
		TableStatus:   tablepb.TableStatus_ACTIVE.Enum(),
		StreamDetails: stream,
	}, nil
}

func (e *Emulator) listTable(*tablepb.ListTableRequest) (*tablepb.ListTableResponse, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return &tablepb.ListTableResponse{TableNames: slices.Sorted(maps.Keys(e.tables))}, nil
}

// deleteTable deletes a table and its tunnels.
func (e *Emulator) deleteTable(q *tablepb.DeleteTableRequest) (*tablepb.DeleteTableResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, ok := e.tables[q.GetTableName()]
	if !ok {
		return nil, noObject(q.GetTableName())
	}
	delete(e.tables, t.name)
	maps.DeleteFunc(e.tunnels, func(_ string, n *tunnel) bool { return n.table == t })
	return &tablepb.DeleteTableResponse{}, nil
}

func capacityUnit(read, write int32) *tablepb.CapacityUnit {
	return &tablepb.CapacityUnit{Read: &read, Write: &write}
}

// consumed is what a call on so many bytes consumes: a unit for each 4 KiB
// begun, at least one.
func consumedReading(bytes int) *tablepb.ConsumedCapacity {
	return &tablepb.ConsumedCapacity{CapacityUnit: capacityUnit(units(bytes), 0)}
}

func consumedWriting(bytes int) *tablepb.ConsumedCapacity {
	return &tablepb.ConsumedCapacity{CapacityUnit: capacityUnit(0, units(bytes))}
}

func units(bytes int) int32 { return int32(max(1, (bytes+4095)/4096)) }
