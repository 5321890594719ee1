package emulator

// Remaining is how many records of a tunnel, rows of base data and changes in
// the logs, its committed checkpoints do not cover yet. It is zero when a
// consumer has dealt with all that was written. A channel that was reported
// TERMINATED has none: nobody will read it again, though its last checkpoint
// may be missing (the official Go client loses it at times). Changes that have
// expired do not count either. Errors are of type *[Error].
func (e *Emulator) Remaining(table, name string) (_ int64, err error) {
	defer e.sync(&err)
	n, err := e.findTunnel(table, name, "")
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
		remaining += n.remaining(ch)
	}
	return remaining, nil
}

// remaining is how many records of a channel nobody has acknowledged that
// somebody still can. Both locks are held.
func (n *tunnel) remaining(ch *channel) int64 {
	if ch.state == terminated {
		return 0
	}
	return int64(max(0, n.length(ch)-max(ch.committed, ch.first())))
}
