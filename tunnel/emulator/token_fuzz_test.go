package emulator

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// STREAM in a text stands for the stream's id, which is another one each time.
func FuzzNoTokenPanics(f *testing.F) {
	fresh := func(t testing.TB) (e *Emulator, tunnel, client, stream string) {
		e = newEmulator(t, Config{})
		newDayOf(t, e)
		mustWrite(t, e, putOf("a", 0))
		e.clock.step(25 * time.Hour)
		tunnel = newTunnelOf(t, e, tunnelpb.TunnelType_BASE_AND_STREAM, nil)
		client = connect(t, e, tunnel, 300)
		mustWrite(t, e, putOf("a", 1))
		return e, tunnel, client, streamOf(t, e, "t")
	}
	for _, s := range []string{
		"", finished, "x:y:z", "STREAM:Stream_0000:0000000000000000", "STREAM:Stream_0000:0000000000000001", streamToken(0, 0, 0), streamToken(0, 1, 0), streamToken(0, 1<<40, 0),
		streamToken(1, 0, 0), baseToken(keyOf("a")), baseToken(nil), encodeToken(&tunnelpb.TokenContentV2{}),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, tunnel, client, stream := fresh(t)
		for range 2 {
			for _, ch := range beat(t, e, tunnel, client) {
				id := ch.GetChannelId()
				for path, q := range map[string]proto.Message{
					"/tunnel/readrecords": &tunnelpb.ReadRecordsRequest{TunnelId: &tunnel, ClientId: &client, ChannelId: &id, Token: &s},
					"/tunnel/checkpoint":  &tunnelpb.CheckpointRequest{TunnelId: &tunnel, ClientId: &client, ChannelId: &id, Checkpoint: &s, SequenceNumber: new(int64(1))},
				} {
					if _, err := call[tunnelpb.CheckpointResponse](t, e, path, q); err != nil {
						wantCode(t, err, codeParameterInvalid)
					}
				}
				beat(t, e, tunnel, client, report(ch, tunnelpb.ChannelStatus_TERMINATED))
			}
		}
		at := strings.ReplaceAll(s, "STREAM", stream)
		if _, err := call[tablepb.GetStreamRecordResponse](t, e, "/GetStreamRecord", &tablepb.GetStreamRecordRequest{ShardIterator: &at}); err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.Code != codeTrimmed && e.Code != codeParameterInvalid && e.Code != codeObjectNotExist {
				t.Error(err)
			}
		}
	})
}
