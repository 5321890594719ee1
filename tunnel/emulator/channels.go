package emulator

import (
	"slices"
	"time"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// The calls on a channel. Only the client that holds it may make them.

// hold runs f on a channel that the client holds, under the tunnel's lock.
func (e *Emulator) hold(tunnelID, clientID, channelID string, f func(*tunnel, *channel) error) error {
	n, err := e.tunnelByID(tunnelID)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.expire(time.Now())
	ch, err := n.held(clientID, channelID)
	if err != nil {
		return err
	}
	return f(n, ch)
}

func (e *Emulator) getCheckpoint(q *tunnelpb.GetCheckpointRequest) (*tunnelpb.GetCheckpointResponse, error) {
	answer := &tunnelpb.GetCheckpointResponse{}
	err := e.hold(q.GetTunnelId(), q.GetClientId(), q.GetChannelId(), func(_ *tunnel, ch *channel) error {
		answer.Checkpoint, answer.SequenceNumber = new(ch.checkpoint), new(ch.sequence)
		return nil
	})
	return answer, err
}

func (e *Emulator) checkpoint(q *tunnelpb.CheckpointRequest) (*tunnelpb.CheckpointResponse, error) {
	err := e.hold(q.GetTunnelId(), q.GetClientId(), q.GetChannelId(), func(n *tunnel, ch *channel) error {
		if q.GetSequenceNumber() != ch.sequence+1 {
			return failf(codeSequenceNotMatch, "The sequence number of channel %s must be %d, not %d.", ch.id, ch.sequence+1, q.GetSequenceNumber())
		}
		if _, _, err := n.position(ch, q.GetCheckpoint()); err != nil {
			return err
		}
		ch.checkpoint = q.GetCheckpoint()
		ch.sequence++
		return nil
	})
	return &tunnelpb.CheckpointResponse{}, err
}

// position gives where a token stands in a channel: the number of the row or
// log entry after it. end says that the token is of the channel's end.
func (n *tunnel) position(ch *channel, token string) (at int, end bool, err error) {
	switch {
	case token == finished:
		if ch.base {
			return len(ch.rows), true, nil
		}
		n.table.mu.RLock()
		defer n.table.mu.RUnlock()
		if !ch.partition.ended {
			return 0, false, failf(codeParameterInvalid, "Invalid token: the channel %s has no end.", ch.id)
		}
		return ch.partition.log.end(), true, nil
	case ch.base:
		key, err := n.table.parseBaseToken(token)
		if err != nil {
			return 0, false, err
		}
		at, _ = slices.BinarySearchFunc(ch.rows, key, func(r *row, key []plainbuffer.Cell) int {
			return compareKeys(r.key, key)
		})
		return at, false, nil
	}
	at, err = parseStreamToken(token, ch.partition.number)
	if err != nil {
		return 0, false, err
	}
	n.table.mu.RLock()
	defer n.table.mu.RUnlock()
	if at < ch.start || at > ch.partition.log.end() {
		return 0, false, failf(codeParameterInvalid, "Invalid token: it is outside of channel %s.", ch.id)
	}
	return at, false, nil
}

// readRecords answers with as many records as a page may hold. It does not
// wait for any. The answer is joined from encoded records.
func (e *Emulator) readRecords(body []byte) ([]byte, error) {
	var q tunnelpb.ReadRecordsRequest
	if err := parse(body, &q); err != nil {
		return nil, err
	}
	var (
		t   *table
		ch  *channel // what of it never changes: the rest is the lock's
		at  int
		end bool
	)
	err := e.hold(q.GetTunnelId(), q.GetClientId(), q.GetChannelId(), func(n *tunnel, held *channel) error {
		var err error
		if at, end, err = n.position(held, q.GetToken()); err != nil {
			return err
		}
		t, ch = n.table, held
		held.read, held.readAt = at, time.Now()
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case end:
		return appendPageEnd(nil, finished, false), nil
	case ch.base:
		return e.readBase(ch, at), nil
	}
	return e.readStream(t, ch, at), nil
}

// pageEndRoom is more than the end of a page takes.
const pageEndRoom = 512

// readBase reads rows, as puts without sequence info. The last page carries
// the token of the end.
func (e *Emulator) readBase(ch *channel, at int) []byte {
	var page []byte
	for n := 0; at < len(ch.rows) && n < e.config.PageRecords && len(page) < e.config.PageBytes; n++ {
		r := ch.rows[at]
		page = appendRecord(page, tunnelpb.ActionType_PUT_ROW, &plainbuffer.Row{Key: r.key, Columns: r.columns})
		at++
	}
	if at == len(ch.rows) {
		return appendPageEnd(page, finished, false)
	}
	return appendPageEnd(page, baseToken(ch.rows[at].key), true)
}

// readStream reads the log. A partition that has been split has a last page,
// which carries the token of the end.
func (e *Emulator) readStream(t *table, ch *channel, at int) []byte {
	t.mu.RLock()
	log, ended := ch.partition.log, ch.partition.ended
	t.mu.RUnlock()
	before := log.before(at)
	to, size := at, 0
	entries := log.from(at)
	for to < log.end() && to-at < e.config.PageRecords && size < e.config.PageBytes {
		size += len(entries[to-at].data)
		to++
	}
	page := make([]byte, 0, size+pageEndRoom)
	for _, entry := range entries[:to-at] {
		page = append(page, entry.data...)
		before = entry.timestamp
	}
	if ended && to == log.end() {
		return appendPageEnd(page, finished, false)
	}
	return appendPageEnd(page, streamToken(ch.partition.number, to, before), to < log.end())
}
