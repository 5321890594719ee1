package tunnel

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// ReadRecordsRequest says where to read on: at the token of a checkpoint or
// of the page before.
type ReadRecordsRequest struct {
	TunnelID, ClientID, ChannelID string
	Token                         string
}

// ReadRecords reads the next page of a channel. It waits for records no
// longer than the service does: a page may be empty. Reading a token twice is
// harmless, so that every failure that [Retryable] accepts is tried again, an
// answer that was cut in half among them; a page is whole or an error. The
// service may cut pages elsewhere when a token is read again.
func (c *Client) ReadRecords(ctx context.Context, r ReadRecordsRequest) (*Page, error) {
	in := &tunnelpb.ReadRecordsRequest{TunnelId: &r.TunnelID, ClientId: &r.ClientID, ChannelId: &r.ChannelID, Token: &r.Token}
	k := call{
		op: "ReadRecords", path: "/tunnel/readrecords",
		tunnel: r.TunnelID, channel: r.ChannelID, client: r.ClientID,
		schedule: c.retry.Data,
	}
	var page *Page
	err := c.do(ctx, k, in, func(body []byte) (err error) {
		page, err = parsePage(body)
		return err
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

// The fields of ReadRecordsResponse and, inside it, Record.
const (
	fieldRecords   = 1
	fieldNextToken = 2
	fieldMayMore   = 3

	fieldAction = 1
	fieldRow    = 2
	fieldOrigin = 3
)

// parsePage decodes a ReadRecordsResponse as proto.Unmarshal would, into
// records that alias body. It allocates the page, its records and its token,
// and nothing per record. Unlike proto.Unmarshal it refuses an action that is
// not known here, since a consumer would take it for another.
func parsePage(body []byte) (*Page, error) {
	// Once over it to count, so that the records fit exactly.
	count := 0
	for rest := body; len(rest) > 0; {
		num, typ, n, err := consumeField(rest)
		if err != nil {
			return nil, malformedAt(body, rest, err)
		}
		if num == fieldRecords && typ == protowire.BytesType {
			count++
		}
		rest = rest[n:]
	}
	page := &Page{Size: len(body)}
	if count > 0 {
		page.Records = make([]Record, 0, count)
	}
	hasToken := false
	for rest := body; len(rest) > 0; {
		num, typ, n := protowire.ConsumeTag(rest)
		value := rest[n:]
		switch {
		case num == fieldRecords && typ == protowire.BytesType:
			b, _ := protowire.ConsumeBytes(value)
			r, err := parseRecord(b)
			if err != nil {
				return nil, fmt.Errorf("%w, in record %d", err, len(page.Records))
			}
			page.Records = append(page.Records, r)
		case num == fieldNextToken && typ == protowire.BytesType:
			b, _ := protowire.ConsumeBytes(value)
			page.NextToken = string(b)
			hasToken = true
		case num == fieldMayMore && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			page.More = v != 0
		}
		rest = value[protowire.ConsumeFieldValue(num, typ, value):]
	}
	if !hasToken {
		return nil, fmt.Errorf("%w: %d records without the next token", ErrMalformed, count)
	}
	return page, nil
}

// parseRecord decodes a Record that aliases b.
func parseRecord(b []byte) (Record, error) {
	var r Record
	var hasAction, hasRow bool
	var action int32
	for rest := b; len(rest) > 0; {
		num, typ, n, err := consumeField(rest)
		if err != nil {
			return Record{}, malformedAt(b, rest, err)
		}
		_, _, tag := protowire.ConsumeTag(rest)
		value := rest[tag:n]
		switch {
		case num == fieldAction && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			action = int32(v) // the last counts
			hasAction = true
		case num == fieldRow && typ == protowire.BytesType:
			row, _ := protowire.ConsumeBytes(value)
			r.Row = row[:len(row):len(row)]
			hasRow = true
		case num == fieldOrigin && typ == protowire.BytesType:
			row, _ := protowire.ConsumeBytes(value)
			r.Origin = row[:len(row):len(row)]
		}
		rest = rest[n:]
	}
	if !hasAction || !hasRow {
		return Record{}, fmt.Errorf("%w: no action or no row", ErrMalformed)
	}
	if action < int32(PutRow) || action > int32(DeleteRow) {
		return Record{}, fmt.Errorf("%w: action %d is not known", ErrMalformed, action)
	}
	r.Action = Action(action)
	return r, nil
}

// consumeField is protowire.ConsumeField, but refuses the field numbers that
// proto.Unmarshal refuses: bytes that have one are damaged.
func consumeField(b []byte) (num protowire.Number, typ protowire.Type, n int, err error) {
	num, typ, n = protowire.ConsumeField(b)
	switch {
	case n < 0:
		err = protowire.ParseError(n)
	case num > protowire.MaxValidNumber:
		err = fmt.Errorf("field number %d is too large", num)
	}
	return num, typ, n, err
}

// malformedAt says where in b, of which rest is left, it stopped making sense.
func malformedAt(b, rest []byte, err error) error {
	return fmt.Errorf("%w: at byte %d of %d: %w", ErrMalformed, len(b)-len(rest), len(b), err)
}
