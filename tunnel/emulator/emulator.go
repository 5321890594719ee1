// Package emulator is Tablestore on one machine: tables, their streams and
// tunnels, in memory and on request on disk too, on the real wire protocol.
// The official SDKs' table and tunnel clients run against it unmodified.
//
// An [Emulator] is an [http.Handler]. What it does not support it refuses by
// name (OTSUnsupportOperation), never in silence. A table's rows are spread
// over its partitions by a hash of the first key column; each partition has a
// log of its own, in which the changes of one key keep their order, and is a
// channel of each of the table's tunnels. One that is split, by
// [Emulator.Split] or at [Config].SplitBytes, ends; its two children take a
// half of its keys each, and their channels open once its own is TERMINATED.
// Changes expire when the table's stream says, by a clock that can be stepped.
//
// # Tables
//
// The table API is whole as far as rows go: keys of one to four columns with
// values that the server gives, versions, time to live, conditions, increments,
// filters, batches (atomic within one partition key), ranges, streams. Left out
// are indexes and search, SQL, time series, local transactions, data delivery,
// server side encryption, tables that update full rows, and rows compressed or
// in other encodings than PlainBuffer (a request for one is a hint, which is not
// taken). Reserved throughput is kept and told, and nothing is throttled; there
// may be any number of tables, and a table may be updated at any time.
//
// Where no document and no test of an SDK says what the service does, the code
// says that it guesses: how values of two types compare in a filter, what a
// filter sees of the key, what records show of increments and given keys.
//
// # Switches and faults
//
// Nobody here can reach the real service. Each question about it that its
// documents and SDKs leave open is a switch ([Switches]), so that a consumer can
// be tried under every answer. What goes wrong on purpose is a plan ([Faults]):
// rules, or a mix by a seed ([RandomFaults]), the same for the same calls in
// every run. Commands ([Emulator.Split], [Emulator.MoveChannel],
// [Emulator.ExpireClient], [Emulator.StepClock], …) make happen at once what the
// service does when it likes. All of it can be changed while the emulator runs,
// by methods or by the control API ([Emulator.Control]). docs/emulator.md has
// the tables.
//
// Package emulatortest starts an emulator for a Go test in one line.
//
// # Locks
//
// Locks are taken in this order: the emulator's, a tunnel's, a table's. None
// is held while an answer is written.
package emulator

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// Config is one emulated instance. Zero values mean the defaults.
type Config struct {
	// Instance is the only instance there is. Default "local".
	Instance string
	// AccessKeyID and AccessKeySecret are the only credentials that are
	// accepted. Both empty: any are, and no signature is verified.
	AccessKeyID     string
	AccessKeySecret string
	// Partitions of a new table. Default 1, 1 to 1024.
	Partitions int
	// SplitBytes, when not 0, splits a partition by itself once so many bytes
	// of rows have been written to it. Default 0: none is but by
	// [Emulator.Split]. 0 to 1<<62.
	SplitBytes int64
	// ClientTimeout is how long a tunnel client may be silent before it loses
	// its channels, if it asks for no timeout of its own when it connects. A
	// client may ask for 1 to 86,400 whole seconds. Default 300 s, the bounds
	// are the same.
	ClientTimeout time.Duration
	// A page of ReadRecords ends with the record that reaches PageRecords or
	// PageBytes; it holds at least one record if there is any. Defaults 1,000
	// and 1 MiB, both above what clients take for a full read (more than 500
	// records or 900 KiB). PageRecords 1 to 100,000, PageBytes 1 to 64 MiB.
	PageRecords int
	PageBytes   int
	// Data is a directory in which tables, rows, changes, tunnels and
	// checkpoints are kept, so that they survive the process, also one that is
	// killed: no answer leaves before all that it tells is on disk. It is made
	// if there is none, and has one instance at a time. Default none:
	// everything is in memory alone.
	Data string
	// NoSync leaves it to the operating system when Data reaches the disk. Writes
	// are several times faster, and a killed process still loses nothing; a loss
	// of power may lose what was acknowledged last, or all of it.
	NoSync bool
	// OnLoad, if set, is called while New loads Data: with how much of it is
	// done, and with the total, in bytes. The last call has done equal to it.
	OnLoad func(done, total int64)
	// Switches say how the instance behaves where nobody knows what the real
	// service does, and Faults what goes wrong on purpose. Both can be changed
	// while it runs. The defaults are the zero values.
	Switches Switches
	Faults   Faults
	// Logger gets a line for each tunnel and client that comes or goes, and at
	// level Debug one for each channel that moves and each request that is
	// refused. Nil: none.
	Logger *slog.Logger
}

// Bounds of [Config] and of what a client may ask for.
const (
	maxPartitions    = 1024
	minClientTimeout = time.Second
	maxClientTimeout = 24 * time.Hour
	maxPageRecords   = 100_000
	maxPageBytes     = 64 << 20
	maxSplitBytes    = 1 << 62
)

func (c Config) withDefaults() (Config, error) {
	if c.Instance == "" {
		c.Instance = "local"
	}
	if c.Partitions == 0 {
		c.Partitions = 1
	}
	if c.ClientTimeout == 0 {
		c.ClientTimeout = 300 * time.Second
	}
	if c.PageRecords == 0 {
		c.PageRecords = 1000
	}
	if c.PageBytes == 0 {
		c.PageBytes = 1 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case (c.AccessKeyID == "") != (c.AccessKeySecret == ""):
		return c, fmt.Errorf("emulator: an access key needs both its id and its secret")
	case c.Partitions < 1 || c.Partitions > maxPartitions:
		return c, fmt.Errorf("emulator: %d partitions: must be 1 to %d", c.Partitions, maxPartitions)
	case c.SplitBytes < 0 || c.SplitBytes > maxSplitBytes:
		return c, fmt.Errorf("emulator: a partition split at %d bytes: must be 0 to %d", c.SplitBytes, int64(maxSplitBytes))
	case c.ClientTimeout < minClientTimeout || c.ClientTimeout > maxClientTimeout:
		return c, fmt.Errorf("emulator: client timeout %v: must be %v to %v", c.ClientTimeout, minClientTimeout, maxClientTimeout)
	case c.PageRecords < 1 || c.PageRecords > maxPageRecords:
		return c, fmt.Errorf("emulator: a page of %d records: must be 1 to %d", c.PageRecords, maxPageRecords)
	case c.PageBytes < 1 || c.PageBytes > maxPageBytes:
		return c, fmt.Errorf("emulator: a page of %d bytes: must be 1 to %d", c.PageBytes, maxPageBytes)
	}
	return c, errors.Join(c.Switches.validate(), c.Faults.validate(CallNames()))
}

// Emulator is one instance. Its methods may be called from many goroutines.
// What is due, such as a silent client's end, is done by the next call that
// could notice: it starts no goroutine but, with [Config].Data, the one that
// writes to disk, which Close ends.
type Emulator struct {
	config Config
	routes map[string]route
	closed atomic.Bool
	clock  clock

	injector injector
	keeper   *keeper // nil: in memory alone

	mu      sync.RWMutex
	tables  map[string]*table
	tunnels map[string]*tunnel // by id
}

// New makes an instance, without tables but for those that [Config].Data
// holds, which it loads. It fails if the configuration is out of its bounds, or
// if the data cannot be used: another process has them, they are damaged, or a
// newer program wrote them; then it has not changed them.
func New(c Config) (*Emulator, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Emulator{
		config:  c,
		tables:  make(map[string]*table),
		tunnels: make(map[string]*tunnel),
	}
	e.routes = e.makeRoutes()
	e.clock.switches.set(c.Switches)
	e.injector.set(c.Faults)
	if c.Data != "" {
		if err := e.load(); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Close refuses every later call. Calls under way are answered. With
// [Config].Data it must be called, and waits until everything is on disk; its
// error says that something is not, of which nobody has been told that it was.
// It may be called again.
func (e *Emulator) Close() error {
	e.closed.Store(true)
	return e.keeper.close()
}

var _ http.Handler = (*Emulator)(nil)

// TableSpec says what table [Emulator.CreateTable] makes.
type TableSpec struct {
	Name string      // a letter or _, then letters, digits and _; at most 255
	Key  []KeyColumn // 1 to 4; the first one decides a row's partition
	// MaxVersions is how many versions a column keeps. Default 1.
	MaxVersions int
	// TimeToLive is how old, by the emulator's clock, a version may be before
	// nobody sees it any more. Whole seconds, at least 86,400 s. Default 0:
	// versions do not expire.
	TimeToLive time.Duration
	// Partitions defaults to the configuration's; the bounds are the same.
	Partitions int
	// SplitBytes defaults to the configuration's; the bounds are the same.
	SplitBytes int64
	// StreamHours, when not 0, keeps the table's changes from the start, for so
	// many hours (1 to 168) of the emulator's clock. With 0 they are kept from
	// the first tunnel on that reads a stream, for 168 hours.
	StreamHours int
	// OriginColumns are the columns whose values before a change its record
	// carries. None: records carry no row as it was.
	OriginColumns []string
}

// KeyColumn is a column of the primary key. Type is plainbuffer.String,
// plainbuffer.Integer or plainbuffer.Blob.
type KeyColumn struct {
	Name string
	Type plainbuffer.Type
	// AutoIncrement: rows are put with the value plainbuffer.AutoIncrement and
	// the emulator gives one. At most one column, an integer and not the first.
	AutoIncrement bool
}

// Change is one write to a row.
type Change struct {
	Action tunnelpb.ActionType
	// Row holds the key and, for PUT_ROW and UPDATE_ROW, the columns. Columns
	// without a timestamp get the time of the write. It is copied.
	Row plainbuffer.Row
}

// CreateTable makes a table, as the call of the same name does. Errors are of
// type *[Error].
func (e *Emulator) CreateTable(spec TableSpec) (err error) {
	defer e.sync(&err)
	if e.closed.Load() {
		return errClosed()
	}
	if spec.Partitions == 0 {
		spec.Partitions = e.config.Partitions
	}
	if spec.SplitBytes == 0 {
		spec.SplitBytes = e.config.SplitBytes
	}
	if spec.MaxVersions == 0 {
		spec.MaxVersions = 1
	}
	t, err := newTable(spec, &e.clock)
	if err != nil {
		return err
	}
	return e.addTable(t)
}

// Write writes one change, as PutRow, UpdateRow and DeleteRow do that expect
// nothing of the row. Errors are of type *[Error].
func (e *Emulator) Write(table string, c Change) (err error) {
	defer e.sync(&err)
	if e.closed.Load() {
		return errClosed()
	}
	w, err := decodeWrite(c.Action, plainbuffer.Append(nil, &c.Row))
	if err != nil {
		return err
	}
	t, err := e.table(table)
	if err != nil {
		return err
	}
	if err := t.fits(w); err != nil {
		return err
	}
	_, err = t.write(w)
	return err
}

func (e *Emulator) addTable(t *table) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.tables[t.name]; ok {
		return failf(codeObjectAlreadyExist, "Requested table already exists.")
	}
	e.tables[t.name] = t
	e.keeper.addTable(t)
	return nil
}

func (e *Emulator) table(name string) (*table, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	t, ok := e.tables[name]
	if !ok {
		return nil, absentTable(name)
	}
	return t, nil
}

// absentTable is the table API's error for a table that is not there, or cannot
// be.
func absentTable(name string) *Error {
	if !nameForm.MatchString(name) {
		return invalidTableName(name)
	}
	return failf(codeObjectNotExist, "Requested table does not exist.")
}

func invalidTableName(name string) *Error {
	return failf(codeParameterInvalid, "Invalid table name: '%s'.", name)
}

// newID makes a UUID.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
