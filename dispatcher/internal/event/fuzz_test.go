package event_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/culvertio/culvert/dispatcher/internal/event"
	"github.com/culvertio/culvert/functions"
	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// FuzzBothFormatsTellTheSame: what the service sent, as bytes, reaches a
// handler as the same event in JSON and in CBOR, and the CBOR is strict.
func FuzzBothFormatsTellTheSame(f *testing.F) {
	f.Fuzz(func(t *testing.T, change, before []byte) {
		var row, old plainbuffer.Row
		if err := row.Decode(change); err != nil && !errors.Is(err, plainbuffer.ErrChecksum) {
			return
		}
		origin := &old
		if err := old.Decode(before); err != nil && !errors.Is(err, plainbuffer.ErrChecksum) {
			origin = nil
		}
		decoded := map[event.Format]*functions.Event{}
		for _, format := range []event.Format{event.JSON, event.CBOR} {
			record := format.AppendRecord(nil, tunnel.UpdateRow, &row, origin, string(before))
			payload := format.AppendPayload(nil, header, [][]byte{record, record})
			e, err := functions.Decode(payload)
			if err != nil {
				t.Fatalf("%s: %v in %x", format.ContentType(), err, payload)
			}
			if format == event.CBOR {
				var strictly decodedCBOR
				if err := strict(t).Unmarshal(payload, &strictly); err != nil {
					t.Fatalf("%v in %x", err, payload)
				}
			}
			decoded[format] = e
		}
		if diff := cmp.Diff(decoded[event.JSON], decoded[event.CBOR], cmpopts.IgnoreUnexported(functions.Record{}), cmpopts.EquateComparable(functions.Value{})); diff != "" {
			t.Fatalf("events (-json +cbor):\n%s", diff)
		}
	})
}
