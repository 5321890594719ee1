package event_test

import (
	"math"

	"pgregory.net/rapid"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// texts draws what a client may have written: mostly what is awkward.
var texts = rapid.Custom(func(t *rapid.T) string {
	parts := rapid.SliceOfN(rapid.OneOf(
		rapid.String(),
		rapid.SampledFrom([]string{
			"plain", "\"", "\\", "\n\r\t\b\f", "\x00", "\x1f", "\x7f", "</script>", "&", "🚚", "e\u0301", "\u2028\u2029",
			"\uFFFD", "\xff", "\xc3", "\xe2\x82", "\xf0\x9f\x9a", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80", "\\u0041",
		}),
	), 0, 5).Draw(t, "parts")
	text := ""
	for _, part := range parts {
		text += part
	}
	return text
})

var values = rapid.OneOf(
	rapid.Map(rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{0, -1, math.MinInt64, math.MaxInt64, 1<<53 + 1})), plainbuffer.IntegerValue),
	rapid.Map(rapid.OneOf(
		rapid.Map(rapid.Uint64(), math.Float64frombits),
		rapid.Map(rapid.Int32(), func(i int32) float64 { return float64(i) }),
		rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, -1, 0.1, math.NaN(), math.Inf(1), math.Inf(-1),
			math.MaxFloat64, math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, 0x1p-1022, 0x0.fffffffffffffp-1022, 1e20, 1e21, 1e22, 1e-6, 9.99e-7, 1 << 53}),
	), plainbuffer.DoubleValue),
	rapid.Map(rapid.Bool(), plainbuffer.BooleanValue),
	rapid.Map(texts, plainbuffer.StringValue),
	rapid.Map(rapid.SliceOf(rapid.Byte()), plainbuffer.BlobValue),
	rapid.Map(rapid.Just(everyByte()), plainbuffer.BlobValue),
)

func everyByte() []byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return all
}

var columns = rapid.Custom(func(t *rapid.T) plainbuffer.Cell {
	c := plainbuffer.Cell{
		Name:         []byte(texts.Draw(t, "name")),
		Op:           rapid.SampledFrom([]plainbuffer.Op{plainbuffer.Put, plainbuffer.DeleteAllVersions, plainbuffer.DeleteOneVersion}).Draw(t, "op"),
		HasTimestamp: rapid.Bool().Draw(t, "has timestamp"),
		Timestamp:    rapid.Int64().Draw(t, "timestamp"),
		Value:        plainbuffer.NoValue(),
	}
	if c.Op == plainbuffer.Put || rapid.Bool().Draw(t, "has value") {
		c.Value = values.Draw(t, "value")
	}
	return c
})

var rows = rapid.Custom(func(t *rapid.T) plainbuffer.Row {
	key := rapid.Custom(func(t *rapid.T) plainbuffer.Cell {
		return plainbuffer.Cell{Name: []byte(texts.Draw(t, "name")), Value: values.Draw(t, "value")}
	})
	return plainbuffer.Row{
		Key:         rapid.SliceOfN(key, 0, 4).Draw(t, "key"),
		Columns:     rapid.SliceOfN(columns, 0, 5).Draw(t, "columns"),
		HasSequence: rapid.Bool().Draw(t, "has sequence"),
		Sequence:    plainbuffer.Sequence{Timestamp: rapid.Int64().Draw(t, "sequence timestamp")},
	}
})
