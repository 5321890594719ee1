package emulator

import (
	"encoding/json"
	"errors"
	"sync"

	"github.com/culvertio/culvert/tunnel/emulator/internal/store"
)

// What an instance with a data directory keeps there. Calls are answered from
// memory, which is loaded from the store when the instance is made. Whoever
// changes something under a table's or a tunnel's lock need not think of the
// store: when the lock is released, what differs from what was kept last is
// added to it, and no answer leaves before all that was added is on disk. A
// crash can therefore take back nothing that anybody has been told of.
//
// Clients are not kept, and neither is who holds a channel: after a restart
// every client is unknown, and connects anew.

// keeper keeps one instance. A nil keeper keeps nothing.
type keeper struct {
	store  *store.Store
	clock  *clock
	failed sync.Once // to tell the operator

	mu     sync.Mutex
	tables uint32 // the number of the next table
	batch  store.Batch
}

// keepingMutex is a mutex that has what it guards kept when it is released.
type keepingMutex struct {
	sync.Mutex
	keep func() // nil: nothing is kept
}

func (m *keepingMutex) Unlock() {
	if m.keep != nil {
		m.keep()
	}
	m.Mutex.Unlock()
}

// keepingRWMutex is a keepingMutex for many readers, who change nothing.
type keepingRWMutex struct {
	sync.RWMutex
	keep func()
}

func (m *keepingRWMutex) Unlock() {
	if m.keep != nil {
		m.keep()
	}
	m.RWMutex.Unlock()
}

// instanceRecord is what belongs to no table.
type instanceRecord struct {
	Tables uint32
	Offset int64 // of the clock, nanoseconds
	Steps  int32 // of the clock
}

var instanceKey = []byte("instance")

// record adds the instance's record. The lock is held.
func (k *keeper) record() {
	k.batch.Put(store.Instance, instanceKey, encodeRecord(instanceRecord{
		Tables: k.tables,
		Offset: k.clock.offset.Load(),
		Steps:  k.clock.steps.Load(),
	}))
	k.store.Add(&k.batch)
}

// stepped keeps the clock.
func (k *keeper) stepped() {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.record()
}

// encodeRecord encodes a record. Of such types no value fails.
func encodeRecord(r any) []byte {
	b, _ := json.Marshal(r)
	return b
}

// close keeps what there still is to keep, and ends the keeping.
func (k *keeper) close() error {
	if k == nil {
		return nil
	}
	return k.store.Close()
}

// kept waits until all that a call has done, or may have seen, is on disk. If
// that fails the call has failed with this code, whatever else came of it. No
// lock is held.
func (e *Emulator) kept(err error, code string) error {
	if e.keeper == nil {
		return err
	}
	fault := e.keeper.store.Sync()
	if fault == nil {
		return err
	}
	if !errors.Is(fault, store.ErrClosed) {
		e.keeper.failed.Do(func() {
			e.config.Logger.Error("the data cannot be kept, every call is refused from now on", "error", fault)
		})
	}
	return failf(code, "The data cannot be kept: %v.", fault)
}

// sync is kept, for the emulator's methods to defer before they take locks.
func (e *Emulator) sync(err *error) { *err = e.kept(*err, codeServerUnavailable) }
