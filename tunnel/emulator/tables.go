package emulator

import (
	"maps"
	"slices"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// The calls that make, describe and delete tables.

func (e *Emulator) createTable(q *tablepb.CreateTableRequest) (*tablepb.CreateTableResponse, error) {
	meta, stream := q.GetTableMeta(), q.GetStreamSpec()
	unit := q.GetReservedThroughput().GetCapacityUnit()
	if unit.Read == nil || unit.Write == nil {
		return nil, failf(codeParameterInvalid, "Both read and write capacity unit are required to create table.")
	}
	for _, refused := range []struct {
		is   bool
		what string
	}{
		{len(meta.GetIndexMeta()) > 0 || len(q.GetIndexMetas()) > 0, "indexes"},
		{len(q.GetPartitions()) > 0, "partition ranges"},
		{q.GetSseSpec().GetEnable(), "server side encryption"},
		{q.GetEnableLocalTxn(), "local transactions"},
		{q.GetTableOptions().GetUpdateFullRow(), "tables that update full rows"},
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
	for _, k := range meta.GetPrimaryKey() {
		c := KeyColumn{Name: k.GetName(), AutoIncrement: k.Option != nil}
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
		var err error
		if spec.StreamHours, err = streamHours(stream); err != nil {
			return nil, err
		}
		spec.OriginColumns = stream.GetColumnsToGet()
	}
	t, err := newTable(spec, &e.clock)
	if err != nil {
		return nil, err
	}
	if q.GetTableOptions() != nil {
		if t.options, err = t.options.with(q.GetTableOptions()); err != nil {
			return nil, err
		}
	}
	if t.reserved, err = t.reserved.with(q.GetReservedThroughput(), t.created); err != nil {
		return nil, err
	}
	if t.defined, err = t.define(nil, meta.GetDefinedColumn()); err != nil {
		return nil, err
	}
	if err := e.addTable(t); err != nil {
		return nil, err
	}
	return &tablepb.CreateTableResponse{}, nil
}

// describeTable tells no keys between partitions (shard splits): rows are
// spread over them by a hash.
func (e *Emulator) describeTable(q *tablepb.DescribeTableRequest) (*tablepb.DescribeTableResponse, error) {
	t, err := e.table(q.GetTableName())
	if err != nil {
		return nil, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	meta := &tablepb.TableMeta{TableName: &t.name, PrimaryKey: t.schema()}
	for _, d := range t.defined {
		meta.DefinedColumn = append(meta.DefinedColumn, &tablepb.DefinedColumnSchema{Name: &d.name, Type: d.typ.Enum()})
	}
	return &tablepb.DescribeTableResponse{
		TableMeta:                 meta,
		ReservedThroughputDetails: t.reserved.message(),
		TableOptions:              t.options.message(),
		TableStatus:               tablepb.TableStatus_ACTIVE.Enum(),
		StreamDetails:             t.streamDetails(),
		CreationTime:              new(t.created.UnixMicro()),
	}, nil
}

// schema is how calls tell the key.
func (t *table) schema() []*tablepb.PrimaryKeySchema {
	var all []*tablepb.PrimaryKeySchema
	for _, k := range t.key {
		s := &tablepb.PrimaryKeySchema{Name: new(k.Name), Type: tablepb.PrimaryKeyType_INTEGER.Enum()}
		switch k.Type {
		case plainbuffer.String:
			s.Type = tablepb.PrimaryKeyType_STRING.Enum()
		case plainbuffer.Blob:
			s.Type = tablepb.PrimaryKeyType_BINARY.Enum()
		}
		if k.AutoIncrement {
			s.Option = tablepb.PrimaryKeyOption_AUTO_INCREMENT.Enum()
		}
		all = append(all, s)
	}
	return all
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
		return nil, absentTable(q.GetTableName())
	}
	delete(e.tables, t.name)
	for id, n := range e.tunnels {
		if n.table == t {
			delete(e.tunnels, id)
			e.keeper.removeTunnel(n)
		}
	}
	e.keeper.removeTable(t)
	return &tablepb.DeleteTableResponse{}, nil
}
