package tunnel

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/culvertio/culvert/tunnel/internal/sign"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

func TestTheTimeLeftIsThatOfTheOldestChangeNotDelivered(t *testing.T) {
	now := time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const day = 24 * time.Hour
	type channels = []ChannelInfo
	stream := func(id, status string, consumed time.Time) ChannelInfo {
		return ChannelInfo{ID: id, Type: "Stream", Status: status, Consumed: consumed}
	}
	base := ChannelInfo{ID: "BaseData_1", Type: "BaseData", Status: "OPEN"}
	for name, tt := range map[string]struct {
		tunnel   TunnelInfo
		channels channels
		left     time.Duration
		bounded  bool
		each     []ChannelExpiry
		expired  bool
		unsettle map[string]time.Time
	}{
		"base data loses nothing": {
			tunnel: TunnelInfo{Type: BaseData, Stage: "ProcessBaseData", CreatedAt: ago(30 * day)}, channels: channels{base},
		},
		"the channel that is furthest behind decides": {
			tunnel: TunnelInfo{Type: Stream, Stage: stageStream, CreatedAt: ago(30 * day)},
			channels: channels{
				stream("a", "OPEN", ago(time.Hour)), stream("b", "CLOSE", ago(20*time.Hour)),
				stream("c", "TERMINATED", ago(25*day)), stream("d", "WAIT", ago(2*time.Hour)),
			},
			left: 4 * time.Hour, bounded: true,
			each: []ChannelExpiry{{"a", 23 * time.Hour}, {"b", 4 * time.Hour}, {"d", 22 * time.Hour}},
		},
		"what lies further back than the stream is being lost": {
			tunnel:   TunnelInfo{Type: Stream, Stage: stageStream, CreatedAt: ago(30 * day)},
			channels: channels{stream("a", "OPEN", ago(25*time.Hour))},
			bounded:  true, each: []ChannelExpiry{{"a", 0}},
		},
		"a clock ahead of ours gives no more than there is": {
			tunnel:   TunnelInfo{Type: Stream, Stage: stageStream, CreatedAt: ago(day)},
			channels: channels{stream("a", "OPEN", ago(-time.Hour))},
			left:     day, bounded: true, each: []ChannelExpiry{{"a", day}},
		},
		"the full data has the time since the tunnel was made": {
			tunnel:   TunnelInfo{Type: BaseAndStream, Stage: "ProcessBaseData", CreatedAt: ago(10 * time.Hour)},
			channels: channels{base},
			left:     14 * time.Hour, bounded: true,
		},
		"or since where its stream starts": {
			tunnel: TunnelInfo{Type: BaseAndStream, Stage: "InitBaseDataAndStreamShard", CreatedAt: ago(10 * time.Hour),
				Stream: StreamOptions{Start: ago(15 * time.Hour)}},
			left: 9 * time.Hour, bounded: true,
		},
		"a channel that was not read yet begins with the tunnel": {
			tunnel:   TunnelInfo{Type: BaseAndStream, Stage: "ProcessBaseData", CreatedAt: ago(10 * time.Hour)},
			channels: channels{base, stream("a", "WAIT", time.Time{})},
			left:     14 * time.Hour, bounded: true, each: []ChannelExpiry{{"a", 14 * time.Hour}},
		},
		"a time in another unit is not believed": {
			tunnel:   TunnelInfo{Type: Stream, Stage: stageStream, CreatedAt: ago(10 * time.Hour)},
			channels: channels{stream("a", "OPEN", time.Unix(0, now.UnixMilli()))},
		},
		"of a tunnel without times nothing is known": {
			tunnel:   TunnelInfo{Type: Stream, Stage: stageStream},
			channels: channels{stream("a", "OPEN", time.Time{})},
		},
		"what was read and not settled is as if it were not delivered": {
			tunnel:   TunnelInfo{Type: Stream, Stage: stageStream, CreatedAt: ago(30 * day)},
			channels: channels{stream("a", "OPEN", now), stream("b", "OPEN", ago(time.Hour)), stream("c", "OPEN", time.Unix(1, 0))},
			unsettle: map[string]time.Time{"a": ago(10 * time.Hour), "b": now, "c": ago(2 * time.Hour), "d": ago(day)},
			left:     14 * time.Hour, bounded: true,
			each: []ChannelExpiry{{"a", 14 * time.Hour}, {"b", 23 * time.Hour}, {"c", 22 * time.Hour}},
		},
		"an expired tunnel has no time left, whatever its channels say": {
			tunnel:   TunnelInfo{Type: Stream, Stage: stageStream, Expired: true, CreatedAt: ago(10 * time.Hour)},
			channels: channels{stream("a", "OPEN", now)},
			bounded:  true, expired: true, each: []ChannelExpiry{{"a", day}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := expiryOf(now, DescribeTunnelResponse{Tunnel: tt.tunnel, Channels: tt.channels}, day, tt.unsettle)
			want := Expiry{
				At: now, Tunnel: tt.tunnel, Expired: tt.expired, Retention: day,
				Left: tt.left, Bounded: tt.bounded, Channels: tt.each,
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTheLogWarnsOnceAndAgainWhenTheTimeLeftHasHalvedOrAnHourHasPassed(t *testing.T) {
	at := time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	var a expiryAlarm
	for i, step := range []struct {
		after   time.Duration
		left    time.Duration
		expired bool
		says    string
	}{
		{left: 20 * time.Hour},
		{after: time.Minute, left: 7 * time.Hour, says: "WARN records will be lost"},
		{after: time.Minute, left: 6 * time.Hour},
		{after: time.Minute, left: 3 * time.Hour, says: "WARN records will be lost"},
		{after: 59 * time.Minute, left: 2 * time.Hour},
		{after: time.Minute, left: 2 * time.Hour, says: "WARN records will be lost"},
		{after: time.Minute, left: 8*time.Hour + time.Minute}, // just above the limit
		{after: time.Minute, left: 10 * time.Hour, says: "INFO records are delivered in good time"},
		{after: time.Minute, left: 9 * time.Hour},
		{after: time.Minute, left: 0, says: "ERROR the table's stream forgets"},
		{after: time.Minute, left: 0},
		{after: time.Hour, left: 0, says: "ERROR the table's stream forgets"},
		{after: time.Minute, expired: true, says: "ERROR the tunnel has expired"},
		{after: time.Minute, expired: true},
	} {
		at = at.Add(step.after)
		level, text := a.judge(Expiry{At: at, Left: step.left, Bounded: true, Expired: step.expired}, 8*time.Hour)
		said := ""
		if text != "" {
			said = level.String() + " " + text
		}
		if !strings.HasPrefix(said, step.says) || (said != "") != (step.says != "") {
			t.Errorf("step %d: %q, want %q", i, said, step.says)
		}
	}
	if _, text := a.judge(Expiry{At: at}, time.Hour); !strings.Contains(text, "good time") {
		t.Errorf("a tunnel that loses nothing: %q", text)
	}
}

func TestTheDefaultThresholdIsHalfTheRetentionAndADayAtMost(t *testing.T) {
	for retention, want := range map[time.Duration]time.Duration{
		time.Hour: 30 * time.Minute, 24 * time.Hour: 12 * time.Hour, MaxRetention: 24 * time.Hour,
	} {
		if got := (ExpiryConfig{}).warnBelow(retention); got != want {
			t.Errorf("%v: %v, want %v", retention, got, want)
		}
	}
	if got := (ExpiryConfig{WarnBelow: time.Minute}).warnBelow(time.Hour); got != time.Minute {
		t.Errorf("a threshold that is given: %v", got)
	}
}

// describedTable is a DescribeTableResponse with a stream, among fields that
// are not looked at.
func describedTable(enabled bool, hours int32) []byte {
	details := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), protowire.EncodeBool(enabled))
	details = protowire.AppendString(protowire.AppendTag(details, 2, protowire.BytesType), "a-stream")
	if hours != 0 {
		details = protowire.AppendVarint(protowire.AppendTag(details, 3, protowire.VarintType), uint64(int64(hours)))
	}
	body := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "meta")
	body = protowire.AppendVarint(protowire.AppendTag(body, 4, protowire.VarintType), 1)
	body = protowire.AppendBytes(protowire.AppendTag(body, 5, protowire.BytesType), details)
	return protowire.AppendString(protowire.AppendTag(body, 9, protowire.BytesType), "later")
}

func TestATableIsAskedForItsStreamByTheTableAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := describedTable(true, 72)
		var request []byte
		client, _ := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			request = consume(r)
			if r.URL.Path != "/DescribeTable" || r.Header.Get(sign.APIVersion) != "2015-12-31" || r.Header.Get(sign.TraceID) != "" || !sign.Verify(sign.Table, "s3cr3t", r.URL.Path, r.Header) {
				t.Errorf("%s %v", r.URL.Path, r.Header)
			}
			reply(w, answer)
		})
		got, err := client.TableStream(t.Context(), TableStreamRequest{Table: "orders"})
		if d := cmp.Diff(TableStreamResponse{Enabled: true, Retention: 72 * time.Hour}, got); d != "" || err != nil {
			t.Errorf("%v %s", err, d)
		}
		if string(request) != "\x0a\x06orders" {
			t.Errorf("the request is %q", request)
		}

		for name, wrong := range map[string][]byte{
			"cut": answer[:len(answer)-1], "cut inside": {5<<3 | 2, 2, 3 << 3, 0x80},
		} {
			answer = wrong
			if got, err := client.TableStream(t.Context(), TableStreamRequest{Table: "orders"}); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
	})
}

// tableMessage is the part of DescribeTableResponse that is looked at, for
// protobuf itself.
func tableMessage(f interface{ Fatal(...any) }) protoreflect.MessageDescriptor {
	field := func(name string, number int32, typ descriptorpb.FieldDescriptorProto_Type, message *string) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: &name, Number: &number, Type: &typ, TypeName: message,
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("table.proto"), Syntax: new("proto2"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: new("Response"), Field: []*descriptorpb.FieldDescriptorProto{
				field("stream_details", 5, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, new(".Stream")),
			}},
			{Name: new("Stream"), Field: []*descriptorpb.FieldDescriptorProto{
				field("enable_stream", 1, descriptorpb.FieldDescriptorProto_TYPE_BOOL, nil),
				field("expiration_time", 3, descriptorpb.FieldDescriptorProto_TYPE_INT32, nil),
			}},
		},
	}, nil)
	if err != nil {
		f.Fatal(err)
	}
	return file.Messages().ByName("Response")
}

// What is decoded by hand is what protobuf decodes.
func FuzzTableStream(f *testing.F) {
	message := tableMessage(f)
	f.Add(describedTable(true, 168))
	f.Add(describedTable(false, 0))
	f.Add([]byte{5<<3 | 2, 2, 3 << 3, 0x80})
	f.Add([]byte{5<<3 | 2, 2, 3 << 3, 24, 5<<3 | 2, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := parseTableStream(body)
		want := dynamicpb.NewMessage(message)
		if wrong := proto.Unmarshal(body, want); wrong != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("taken for %+v, %v; protobuf says %v", got, err, wrong)
			}
			return
		}
		stream := want.Get(message.Fields().ByNumber(5)).Message()
		fields := stream.Descriptor().Fields()
		enabled, hours := stream.Get(fields.ByNumber(1)).Bool(), stream.Get(fields.ByNumber(3)).Int()
		if err != nil || got.Enabled != enabled || got.Retention != time.Duration(max(hours, 0))*time.Hour {
			t.Errorf("%+v, %v; protobuf has %v, %d", got, err, enabled, hours)
		}
	})
}

func TestWithoutTheRightToAskTheTableTheLongestRetentionIsAssumedAndSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := time.Now().Add(-100 * time.Hour).UnixNano()
		client, _ := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			consume(r)
			if r.URL.Path == "/DescribeTable" {
				write(t, w, 403, &tunnelpb.Error{Code: new("OTSNoPermissionAccess"), Message: new("no")})
				return
			}
			write(t, w, 200, &tunnelpb.DescribeTunnelResponse{Tunnel: &tunnelpb.TunnelInfo{
				TunnelId: new("t"), TunnelType: new("BaseAndStream"), TableName: new("orders"), InstanceName: new("local"),
				StreamId: new("s"), Stage: new("ProcessBaseData"), CreateTime: &made,
			}})
		})
		e, err := client.Expiry(t.Context(), ExpiryRequest{Table: "orders", Tunnel: "feed"})
		if err != nil || e.Left != 68*time.Hour || e.Retention != MaxRetention || !errors.Is(e.RetentionError, CodeNoPermissionAccess) {
			t.Errorf("%+v, %v", e, err)
		}
		e, err = client.Expiry(t.Context(), ExpiryRequest{Table: "orders", Tunnel: "feed", Retention: 120 * time.Hour})
		if err != nil || e.Left != 20*time.Hour || e.RetentionError != nil {
			t.Errorf("with a retention that is given: %+v, %v", e, err)
		}
	})
}

func TestAWatchNamesEveryMistake(t *testing.T) {
	_, err := NewExpiryWatch(nil, "", "", ExpiryConfig{Retention: time.Minute}, slog.New(slog.DiscardHandler))
	for _, part := range []string{"client:", "table:", "tunnel:", "Expiry.Retention:"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s is not named in: %v", part, err)
		}
	}
}
