package emulator

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// finished is the token of a channel that has been read to its end.
const finished = "finished"

// tokenVersion is the one that every client reads.
const tokenVersion = 1

// streamToken names the place in a partition's log before the entry i. The
// same token always names the same place.
func streamToken(partition, i int, timestamp int64) string {
	iterator := fmt.Sprintf("%04d:%016x", partition, i)
	return encodeToken(&tunnelpb.TokenContentV2{Iterator: &iterator, Timestamp: &timestamp})
}

// baseToken names the place before the first row at or above key.
func baseToken(key []plainbuffer.Cell) string {
	return encodeToken(&tunnelpb.TokenContentV2{PrimaryKey: plainbuffer.Append(nil, &plainbuffer.Row{Key: key})})
}

func encodeToken(content *tunnelpb.TokenContentV2) string {
	// Marshal fails on missing required fields only, and there are none.
	inner, _ := proto.MarshalOptions{Deterministic: true}.Marshal(content)
	outer, _ := proto.MarshalOptions{Deterministic: true}.Marshal(&tunnelpb.Token{
		Version: new(int64(tokenVersion)),
		Content: inner,
	})
	return base64.StdEncoding.EncodeToString(outer)
}

func decodeToken(token string) (*tunnelpb.TokenContentV2, error) {
	outer, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return nil, failf(codeParameterInvalid, "Invalid token: it is not base64.")
	}
	var t tunnelpb.Token
	if err := proto.Unmarshal(outer, &t); err != nil || t.GetVersion() != tokenVersion {
		return nil, failf(codeParameterInvalid, "Invalid token: it is not of version %d.", tokenVersion)
	}
	var content tunnelpb.TokenContentV2
	if err := proto.Unmarshal(t.GetContent(), &content); err != nil {
		return nil, failf(codeParameterInvalid, "Invalid token: its content cannot be parsed.")
	}
	return &content, nil
}

// parseStreamToken gives the entry that a token stands before.
func parseStreamToken(token string, partition int) (int, error) {
	content, err := decodeToken(token)
	if err != nil {
		return 0, err
	}
	number, index, ok := strings.Cut(content.GetIterator(), ":")
	n, err := strconv.Atoi(number)
	i, err2 := strconv.ParseInt(index, 16, 64)
	if !ok || err != nil || err2 != nil || n != partition || i < 0 {
		return 0, failf(codeParameterInvalid, "Invalid token: it is not of this channel.")
	}
	return int(i), nil
}

// parseBaseToken gives the key that a token stands before.
func (t *table) parseBaseToken(token string) ([]plainbuffer.Cell, error) {
	content, err := decodeToken(token)
	if err != nil {
		return nil, err
	}
	key, err := t.decodeKey(content.GetPrimaryKey(), true)
	if err != nil {
		return nil, failf(codeParameterInvalid, "Invalid token: its key does not fit the table: %v.", err)
	}
	return key, nil
}
