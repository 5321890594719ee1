package tunnel

import (
	"encoding/base64"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// Token is what a token's text holds, for diagnostics. To a consumer, a token
// is opaque: only [Finished] has a meaning.
type Token struct {
	Finished   bool   // the text is Finished; there is nothing else
	Version    int64  // 1 or 2
	PrimaryKey []byte // where base data goes on; as the service encodes it
	Iterator   string // where a stream goes on; empty for base data
	Timestamp  int64  // as the service counts
	TotalCount int64  // records delivered before it; 0 in version 1
}

// Stream says whether the token stands in a stream, and not in base data.
func (t Token) Stream() bool { return t.Iterator != "" }

// ParseToken decodes a token's text. It fails on a text that is no token, and
// on a version that is not known here.
func ParseToken(text string) (Token, error) {
	if text == Finished {
		return Token{Finished: true}, nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return Token{}, fmt.Errorf("token: %w", err)
	}
	var outer tunnelpb.Token
	if err := proto.Unmarshal(raw, &outer); err != nil {
		return Token{}, fmt.Errorf("token: %w", err)
	}
	v := outer.GetVersion()
	if v != 1 && v != 2 {
		return Token{}, fmt.Errorf("token: version %d is not known", v)
	}
	var inner tunnelpb.TokenContentV2
	if err := proto.Unmarshal(outer.GetContent(), &inner); err != nil {
		return Token{}, fmt.Errorf("token: content of version %d: %w", v, err)
	}
	t := Token{
		Version:    v,
		PrimaryKey: inner.GetPrimaryKey(),
		Iterator:   inner.GetIterator(),
		Timestamp:  inner.GetTimestamp(),
	}
	if v >= 2 {
		t.TotalCount = inner.GetTotalCount()
	}
	return t, nil
}
