package emulator

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// The calls on a channel. Only the client that holds it may make them.

// hold runs f on a channel that the client holds, under the tunnel's lock. With
// foreign, the client need not hold it, nor be there.
func (e *Emulator) hold(tunnelID, clientID, channelID string, foreign bool, f func(*tunnel, *channel) error) error {
	n, err := e.tunnelByID(tunnelID)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.update(); err != nil {
		return err
	}
	if ch, ok := n.byID[channelID]; ok && foreign {
		return f(n, ch)
	}
	ch, err := n.held(clientID, channelID)
	if err != nil {
		return err
	}
	return f(n, ch)
}

func (e *Emulator) getCheckpoint(q *tunnelpb.GetCheckpointRequest) (*tunnelpb.GetCheckpointResponse, error) {
	answer := &tunnelpb.GetCheckpointResponse{}
	err := e.hold(q.GetTunnelId(), q.GetClientId(), q.GetChannelId(), e.Switches().ForeignGetCheckpoint, func(_ *tunnel, ch *channel) error {
		answer.Checkpoint, answer.SequenceNumber = new(ch.checkpoint), new(ch.sequence)
		return nil
	})
	return answer, err
}

func (e *Emulator) checkpoint(q *tunnelpb.CheckpointRequest) (*tunnelpb.CheckpointResponse, error) {
	err := e.hold(q.GetTunnelId(), q.GetClientId(), q.GetChannelId(), e.Switches().ForeignCheckpoint, func(n *tunnel, ch *channel) error {
		if q.GetSequenceNumber() != ch.sequence+1 {
			return failf(codeSequenceNotMatch, "The sequence number of channel %s must be %d, not %d.", ch.id, ch.sequence+1, q.GetSequenceNumber())
		}
		n.table.mu.RLock()
		defer n.table.mu.RUnlock()
		at, err := n.position(ch, q.GetCheckpoint())
		if err != nil {
			return err
		}
		ch.checkpoint, ch.committed = q.GetCheckpoint(), at
		ch.sequence++
		return nil
	})
	return &tunnelpb.CheckpointResponse{}, err
}

// position gives where a token stands in a channel: the number of the row or
// log entry after it. Both locks are held.
func (n *tunnel) position(ch *channel, token string) (int, error) {
	if token == finished {
		end, ok := n.end(ch)
		if !ok {
			return 0, failf(codeParameterInvalid, "Invalid token: the channel %s has no end.", ch.id)
		}
		return end, nil
	}
	if ch.base {
		key, err := n.table.parseBaseToken(token)
		if err != nil {
			return 0, err
		}
		return ch.seek(key), nil
	}
	at, err := parseStreamToken(token, ch.partition.number)
	if err != nil {
		return 0, err
	}
	if at < ch.start || at > n.length(ch) {
		return 0, failf(codeParameterInvalid, "Invalid token: it is outside of channel %s.", ch.id)
	}
	return at, nil
}

// end gives where a channel ends, if that is known: a partition has been split,
// or the next change lies beyond the tunnel's end offset, or would. It is for
// good: changes that are stamped earlier later on, because the clock was set
// back, are not part of the channel. Both locks are held.
func (n *tunnel) end(ch *channel) (int, bool) {
	if ch.base {
		return len(ch.rows), true
	}
	log := &ch.partition.log
	if n.until != 0 && ch.stop < 0 {
		ch.scanned = log.seek(max(ch.scanned, log.first), n.until)
		if ch.scanned < log.end() || n.table.clock.now().UnixMicro() >= n.until {
			ch.stop = ch.scanned
		}
	}
	switch {
	case ch.stop >= 0:
		return ch.stop, true
	case ch.partition.ended:
		return log.end(), true
	}
	return 0, false
}

// length is how many rows or log entries a channel has so far, those before
// its start included. Both locks are held.
func (n *tunnel) length(ch *channel) int {
	if end, ok := n.end(ch); ok {
		return end
	}
	return ch.partition.log.end()
}

// first is the number of the first row or log entry that has not expired. The
// table's lock is held.
func (ch *channel) first() int {
	if ch.base {
		return 0
	}
	return ch.partition.log.first
}

// page is what ReadRecords answers: pieces of a log, or rows that have yet to
// be encoded, as many of them as fit.
type page struct {
	pieces [][]byte
	next   string
	more   bool

	base  bool
	rows  []*row // all from the token on
	table *table
	pageSize
}

// pageSize bounds a page: it ends with the record that reaches one of them.
// The rest is how it deviates from a plain one.
type pageSize struct {
	records, bytes int

	repeat         int  // how many of its last records the next page brings again
	finishedAlone  bool // the token of the end comes on a page without records
	wrongChecksums bool
}

// readRecords answers with as many records as a page may hold. It does not
// wait for any.
func (e *Emulator) readRecords(body []byte, f pageFault) ([][]byte, error) {
	var q tunnelpb.ReadRecordsRequest
	if err := parse(body, &q); err != nil {
		return nil, err
	}
	var p page
	err := e.hold(q.GetTunnelId(), q.GetClientId(), q.GetChannelId(), e.Switches().ForeignReadRecords, func(n *tunnel, ch *channel) error {
		n.table.mu.RLock()
		defer n.table.mu.RUnlock()
		at, err := n.position(ch, q.GetToken())
		if err != nil {
			return err
		}
		if at, err = n.skip(ch, at); err != nil {
			return err
		}
		ch.read, ch.readAt = at, n.table.clock.now()
		p = n.readPage(ch, at, e.pageSize(f))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if f.records > 0 || f.bytes > 0 {
		e.injector.happened(FaultPageSize)
	}
	if f.repeat > 0 && (len(p.pieces) > 0 || len(p.rows) > 0) {
		e.injector.happened(FaultRepeatPage)
	}
	return p.encode(), nil
}

// skip gives the place from which a reader at at goes on: behind the changes
// that have expired. A token that lies before the checkpoint is refused
// instead: no reader needs it. Both locks are held.
func (n *tunnel) skip(ch *channel, at int) (int, error) {
	first := min(ch.first(), n.length(ch))
	if at >= first {
		return at, nil
	}
	if at < ch.committed {
		fail := failf(codeTunnelUnavailable, "%s %s", codeTrimmed, trimmedText)
		fail.status = http.StatusBadRequest // as the service's document of error codes says
		return 0, fail
	}
	if ch.skipped < first {
		lost := first - max(at, ch.skipped)
		ch.skipped, ch.lost = first, ch.lost+lost
		n.logger.Warn("records lost: they expired before they were read", "channel", ch.id, "records", lost)
	}
	return first, nil
}

// trimmedText is the service's message of a read behind the changes that have
// expired.
const trimmedText = "Requested stream data is already trimmed or does not exist."

// readPage reads from at on. The last page of a channel that has an end carries
// the token of it. Both locks are held.
func (n *tunnel) readPage(ch *channel, at int, size pageSize) page {
	if ch.base {
		return page{base: true, rows: ch.rows[at:], table: n.table, pageSize: size}
	}
	log := &ch.partition.log
	end, ends := n.end(ch)
	if !ends {
		end = log.end()
	}
	to := log.upTo(at, end, size)
	next, ended := size.ending(to-at, end-at, ends)
	p := page{pieces: log.pieces(at, to), next: finished, pageSize: size}
	if !ended {
		p.next = streamToken(ch.partition.number, at+next, log.before(at+next))
		p.more = at+next < end || ends
	}
	return p
}

// ending says where the page after one of n records begins, counted from where
// that one does, if left records are there and then the channel ends or not.
// ended: there is no page after it.
func (s pageSize) ending(n, left int, ends bool) (next int, ended bool) {
	switch {
	case s.repeat > 0 && n > 0:
		return n - min(s.repeat, n), false
	case ends && n == left && (n == 0 || !s.finishedAlone):
		return n, true
	}
	return n, false
}

// pageSize is the bounds of a page that is read now.
func (e *Emulator) pageSize(f pageFault) pageSize {
	switches := e.Switches()
	return pageSize{
		records:        cmp.Or(f.records, e.config.PageRecords),
		bytes:          cmp.Or(f.bytes, e.config.PageBytes),
		repeat:         f.repeat,
		finishedAlone:  switches.FinishedAlone,
		wrongChecksums: switches.WrongChecksums,
	}
}

// pageEndRoom is more than the end of a page takes.
const pageEndRoom = 512

// encode gives the pieces of the answer. Rows are puts without sequence info.
func (p *page) encode() [][]byte {
	if !p.base {
		return append(p.pieces, appendPageEnd(nil, p.next, p.more))
	}
	var b, scratch []byte
	n := 0
	for ; n < min(len(p.rows), p.records) && len(b) < p.bytes; n++ {
		r := p.rows[n]
		scratch = plainbuffer.Append(scratch[:0], &plainbuffer.Row{Key: r.key, Columns: r.columns})
		if p.wrongChecksums {
			spoil(scratch)
		}
		if n == 1 {
			// Rows of a table are mostly alike.
			b = slices.Grow(b, min(p.bytes, (len(p.rows)-1)*len(b))+len(b)+pageEndRoom)
		}
		b = appendRecord(b, tunnelpb.ActionType_PUT_ROW, scratch, nil)
	}
	next, ended := p.ending(n, len(p.rows), true)
	switch {
	case ended:
		b = appendPageEnd(b, finished, false)
	case next == len(p.rows):
		b = appendPageEnd(b, baseToken(p.table.bound(plainbuffer.InfMax)), true)
	default:
		b = appendPageEnd(b, baseToken(p.rows[next].key), true)
	}
	return [][]byte{b}
}
