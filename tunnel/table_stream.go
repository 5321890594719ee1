package tunnel

import (
	"context"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/culvertio/culvert/tunnel/internal/sign"
)

// TableStreamRequest names a table.
type TableStreamRequest struct {
	Table string
}

// TableStreamResponse is what a table says of its stream.
type TableStreamResponse struct {
	Enabled bool
	// Retention is how long the stream keeps a change. Whole hours; 0 if the
	// table does not say.
	Retention time.Duration
}

// TableStream asks a table for its stream. It is the one call of the
// table API that a [Client] makes, DescribeTable, and needs the right to it.
func (c *Client) TableStream(ctx context.Context, r TableStreamRequest) (TableStreamResponse, error) {
	const fieldTableName = 1
	in := protowire.AppendTag(nil, fieldTableName, protowire.BytesType)
	in = protowire.AppendString(in, r.Table)
	k := c.control("DescribeTable", "/DescribeTable", "")
	k.api = sign.Table
	var stream TableStreamResponse
	err := c.post(ctx, k, in, func(body []byte) (err error) {
		stream, err = parseTableStream(body)
		return err
	})
	if err != nil {
		return TableStreamResponse{}, err
	}
	return stream, nil
}

// parseTableStream finds the stream in a DescribeTableResponse.
func parseTableStream(body []byte) (TableStreamResponse, error) {
	// The fields of DescribeTableResponse and, inside it, StreamDetails.
	const (
		fieldStream = 5

		fieldEnabled    = 1
		fieldExpiration = 3 // hours
	)
	var stream TableStreamResponse
	err := eachField(body, func(num protowire.Number, typ protowire.Type, value []byte) error {
		if num != fieldStream || typ != protowire.BytesType {
			return nil
		}
		details, _ := protowire.ConsumeBytes(value)
		return eachField(details, func(num protowire.Number, typ protowire.Type, value []byte) error {
			if typ != protowire.VarintType {
				return nil
			}
			v, _ := protowire.ConsumeVarint(value)
			switch num {
			case fieldEnabled:
				stream.Enabled = v != 0
			case fieldExpiration:
				stream.Retention = time.Duration(max(int32(v), 0)) * time.Hour
			}
			return nil
		})
	})
	return stream, err
}

// eachField calls f for each field of a message, with what follows its tag.
func eachField(b []byte, f func(num protowire.Number, typ protowire.Type, value []byte) error) error {
	for rest := b; len(rest) > 0; {
		num, typ, n, err := consumeField(rest)
		if err != nil {
			return malformedAt(b, rest, err)
		}
		_, _, tag := protowire.ConsumeTag(rest)
		if err := f(num, typ, rest[tag:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}
