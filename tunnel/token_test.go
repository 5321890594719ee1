package tunnel

import (
	"encoding/base64"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

func tokenText(t *testing.T, version int64, content *tunnelpb.TokenContentV2) string {
	t.Helper()
	inner, err := proto.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := proto.Marshal(&tunnelpb.Token{Version: &version, Content: inner})
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(outer)
}

func TestATokenIsDecoded(t *testing.T) {
	stream := &tunnelpb.TokenContentV2{Iterator: new("shard-1/7"), Timestamp: new(int64(1700)), TotalCount: new(int64(42))}
	base := &tunnelpb.TokenContentV2{PrimaryKey: []byte("key"), TotalCount: new(int64(3))}
	for name, tt := range map[string]struct {
		text   string
		want   Token
		stream bool
	}{
		"finished":   {Finished, Token{Finished: true}, false},
		"stream, v1": {tokenText(t, 1, stream), Token{Version: 1, Iterator: "shard-1/7", Timestamp: 1700}, true},
		"stream, v2": {tokenText(t, 2, stream), Token{Version: 2, Iterator: "shard-1/7", Timestamp: 1700, TotalCount: 42}, true},
		"base, v2":   {tokenText(t, 2, base), Token{Version: 2, PrimaryKey: []byte("key"), TotalCount: 3}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseToken(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Stream() != tt.stream {
				t.Errorf("Stream() is %v", got.Stream())
			}
		})
	}
}

func TestWhatIsNoTokenIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"empty":          "",
		"not base64":     "§",
		"not a message":  base64.StdEncoding.EncodeToString([]byte{0xff}),
		"later version":  tokenText(t, 3, &tunnelpb.TokenContentV2{}),
		"broken content": base64.StdEncoding.EncodeToString([]byte{0x08, 1, 0x12, 1, 0xff}),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ParseToken(text); err == nil {
				t.Errorf("decoded as %+v", got)
			}
		})
	}
}
