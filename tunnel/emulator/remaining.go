package emulator

// Remaining is how many records of a tunnel, rows of base data and changes in
// the logs, its committed checkpoints do not cover yet. It is zero when a
// consumer has dealt with all that was written. A channel that was reported
// TERMINATED has none: nobody will read it again, though its last checkpoint
// may be missing (the official Go client loses it at times). Changes that have
// expired do not count either. Errors are of type *[Error].
func (e *Emulator) Remaining(table, name string) (_ int64, err error) {
	defer e.sync(&err)
	e.mu.RLock()
	n, err := e.tunnelByName(table, name, "")
	e.mu.RUnlock()
	if err != nil {
		return 0, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	// What an expired tunnel has not read, nobody will.
	_ = n.update()
	n.table.mu.RLock()
	defer n.table.mu.RUnlock()
	var remaining int64
	for _, ch := range n.channels {
		if ch.state != terminated {
			remaining += int64(n.length(ch) - max(ch.committed, ch.first()))
		}
	}
	return remaining, nil
}
