// Package functions is what a handler imports: the event, [Start], columns in
// the fields of structs ([Record.Scan]), and the means to fail single records
// ([Record.Fail]). One handler source runs on Function Compute, on AWS Lambda
// and on this machine.
package functions

// Event is one invocation: a batch of changes in the order of their lane.
// Its shape is that of Function Compute's native Tablestore trigger
// (Sync-v1), with Batch and the ids and old columns of records added. It comes
// in JSON or in CBOR, with the same names, and is marshalled to either by
// encoding/json and fxamacker/cbor.
type Event struct {
	Version string
	Batch   Batch
	Records []*Record
}

// Batch says which batch of which trigger this is, and for the how-manieth
// time it is invoked.
type Batch struct {
	// ID names the records of the batch: the same records have the same ID in
	// every attempt and after every restart, and other records have another.
	// So when single records fail, what is left, they and what follows of
	// their keys, is a batch of its own. After a restart batches may be cut
	// elsewhere.
	ID string `json:"Id"`
	// Attempt is 1 and up. It counts on from a batch to what is left of it:
	// after a first attempt in which single records failed, the batch that is
	// left begins with 2. After a restart, and when the channel has moved, it
	// begins with 1 again. It does not count invocations that did not reach the
	// function.
	Attempt int
	Trigger string
	Tunnel  string // the tunnel's id
	Channel string // the channel's id
	Lane    int
}

// Record is one change of one row.
type Record struct {
	ID         string `json:"Id"` // names the record within its channel
	Type       string // PutRow, UpdateRow or DeleteRow
	Info       Info
	PrimaryKey []KeyColumn
	Columns    []Column
	OldColumns []Column `json:",omitzero"` // the row before, where the tunnel carries it; else nil

	failed error
}

// Info holds the change's time: microseconds since the epoch, 0 for base data.
type Info struct {
	Timestamp int64
}

// KeyColumn is one column of the primary key: an integer, string or blob.
type KeyColumn struct {
	ColumnName string
	Value      Value
}

// Column is one change of one column. Columns are a list, since one change
// may touch several versions of a column.
type Column struct {
	Type       string // Put, DeleteOneVersion or DeleteAllVersions
	ColumnName string
	Value      Value // null unless Type is Put
	Timestamp  int64 // the version, in milliseconds; 0: not given
}

// Key is the value of the primary key's column of that name, of kind [None]
// if the key has no such column.
func (r *Record) Key(name string) Value {
	for _, k := range r.PrimaryKey {
		if k.ColumnName == name {
			return k.Value
		}
	}
	return Value{}
}

// Column is the newest value that the change puts into the column of that
// name: the greatest timestamp, the last in the list among equals. It reports
// false if the change puts nothing there, be it that it leaves the column
// alone or that it only deletes.
func (r *Record) Column(name string) (Value, bool) {
	put, _ := newest(r.Columns, name)
	if put == nil {
		return Value{}, false
	}
	return put.Value, true
}

// newest is the newest put among the changes of a column, nil if there is
// none, and whether one of them deletes all its versions.
func newest(columns []Column, name string) (put *Column, deleted bool) {
	for i := range columns {
		c := &columns[i]
		if c.ColumnName != name {
			continue
		}
		switch c.Type {
		case "Put":
			if put == nil || c.Timestamp >= put.Timestamp {
				put = c
			}
		case "DeleteAllVersions":
			deleted = true
		}
	}
	return put, deleted
}

// Fail marks the record as failed: this record is invoked again, and those of
// the same key after it, while the rest of the batch is done. The error goes
// to the log. A record without an Id, which the native trigger gives, fails the
// whole batch. A nil error takes the mark back, so that
//
//	for _, r := range e.Records {
//		r.Fail(handle(ctx, r))
//	}
//
// marks what failed and nothing else. Different records may be marked from
// different goroutines, all before the handler returns.
func (r *Record) Fail(err error) { r.failed = err }

// Failed is the error that the record was marked with, nil if it was not.
func (r *Record) Failed() error { return r.failed }
