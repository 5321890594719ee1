package emulator

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

func TestAStreamEndsBeforeTheFirstChangeBeyondItsEndOffset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, Config{PageRecords: 2})
		newDayOf(t, e)
		start := time.Now()
		for i := range int64(6) {
			mustWrite(t, e, putOf("a", i)) // at second i
			time.Sleep(time.Second)
		}
		at := func(seconds float64) *uint64 {
			offset := uint64(start.Add(time.Duration(seconds * float64(time.Second))).UnixNano())
			return &offset
		}
		for _, tt := range []struct {
			name   string
			config *tunnelpb.StreamTunnelConfig
			want   string
		}{
			{"start and end", &tunnelpb.StreamTunnelConfig{StartOffset: at(1), EndOffset: at(4)}, "1 2 3"},
			{"between changes", &tunnelpb.StreamTunnelConfig{StartOffset: at(0.5), EndOffset: at(3.5)}, "1 2 3"},
			{"from the earliest", &tunnelpb.StreamTunnelConfig{Flag: tunnelpb.StartOffsetFlag_EARLIEST.Enum(), EndOffset: at(1)}, "0"},
			{"an end before the latest", &tunnelpb.StreamTunnelConfig{EndOffset: at(3)}, ""},
			{"an end that has just passed", &tunnelpb.StreamTunnelConfig{StartOffset: at(4), EndOffset: at(5.5)}, "4 5"},
			{"nothing between", &tunnelpb.StreamTunnelConfig{StartOffset: at(2.1), EndOffset: at(2.9)}, ""},
		} {
			id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, tt.config)
			client := connect(t, e, id, 10)
			records, token := drain(t, e, id, client, "Stream_0000")
			if got := numbers(t, records); got != tt.want || token != finished {
				t.Errorf("%s: changes %s up to token %s, want %s and the end", tt.name, got, token, tt.want)
			}
			must[tunnelpb.DeleteTunnelResponse](t, e, "/tunnel/delete", &tunnelpb.DeleteTunnelRequest{TableName: new("t"), TunnelName: new("feed")})
		}
	})
}

func TestAStreamEndsOnceTheClockHasPassedItsEndOffset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, Config{})
		newDayOf(t, e)
		id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, &tunnelpb.StreamTunnelConfig{EndOffset: new(uint64(time.Now().Add(time.Minute).UnixNano()))})
		client := connect(t, e, id, 300)
		mustWrite(t, e, putOf("a", 1))
		records, at := drain(t, e, id, client, "Stream_0000")
		if got := numbers(t, records); got != "1" || at == finished {
			t.Fatalf("changes %s, token %s", got, at)
		}
		wantCode(t, commit(t, e, id, client, "Stream_0000", finished, 1), "OTSParameterInvalid")
		time.Sleep(59 * time.Second)
		mustWrite(t, e, putOf("a", 2))
		if a := read(t, e, id, client, "Stream_0000", at); numbers(t, a.GetRecords()) != "2" || a.GetNextToken() == finished {
			t.Errorf("before the end: %d records, token %s", len(a.GetRecords()), a.GetNextToken())
		}
		time.Sleep(time.Second)
		if a := read(t, e, id, client, "Stream_0000", at); numbers(t, a.GetRecords()) != "2" || a.GetNextToken() != finished || a.GetMayMoreRecord() {
			t.Errorf("at the end: %d records, token %s", len(a.GetRecords()), a.GetNextToken())
		}
		// It stays the end, though the clock is set back and more is written.
		e.clock.step(-time.Minute)
		mustWrite(t, e, putOf("a", 3))
		e.clock.step(time.Minute)
		if a := read(t, e, id, client, "Stream_0000", at); numbers(t, a.GetRecords()) != "2" || a.GetNextToken() != finished {
			t.Errorf("after the end: %d records, token %s", len(a.GetRecords()), a.GetNextToken())
		}
		if err := commit(t, e, id, client, "Stream_0000", finished, 1); err != nil {
			t.Error(err)
		}
		if n, err := e.Remaining("t", "feed"); n != 0 || err != nil {
			t.Errorf("%d records remain, %v", n, err)
		}
	})
}

func TestAStreamThatEndedBeforeWhatHasExpiredHasNothingLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, Config{})
		newDayOf(t, e)
		id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, &tunnelpb.StreamTunnelConfig{EndOffset: new(uint64(time.Now().Add(time.Minute).UnixNano()))})
		mustWrite(t, e, putOf("a", 1))
		time.Sleep(time.Hour)
		mustWrite(t, e, putOf("a", 2))
		mustWrite(t, e, putOf("a", 3))
		if n, err := e.Remaining("t", "feed"); n != 1 || err != nil {
			t.Errorf("%d records remain, %v; want 1", n, err)
		}
		time.Sleep(30 * time.Hour)
		if n, err := e.Remaining("t", "feed"); n != 0 || err != nil {
			t.Errorf("%d records remain, %v; want none", n, err)
		}
		client := connect(t, e, id, 10)
		if records, at := drain(t, e, id, client, "Stream_0000"); len(records) != 0 || at != finished {
			t.Errorf("%d records, then token %s", len(records), at)
		}
	})
}

func TestTheBaseDataComesWholeBeforeAStreamThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, Config{})
		newDayOf(t, e)
		mustWrite(t, e, putOf("a", 1))
		time.Sleep(time.Hour)
		id := newTunnelOf(t, e, tunnelpb.TunnelType_BASE_AND_STREAM, &tunnelpb.StreamTunnelConfig{EndOffset: new(uint64(time.Now().Add(-time.Minute).UnixNano()))})
		mustWrite(t, e, putOf("a", 2))
		if got := numbers(t, consume(t, e, id)); got != "1" {
			t.Errorf("records %s, want 1", got)
		}
	})
}

func TestBaseDataAloneTakesNoNoticeOfOffsets(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	mustWrite(t, e, putOf("a", 1))
	id := newTunnelOf(t, e, tunnelpb.TunnelType_BASE_DATA, &tunnelpb.StreamTunnelConfig{StartOffset: new(uint64(2)), EndOffset: new(uint64(1))})
	if got := numbers(t, consume(t, e, id)); got != "1" {
		t.Errorf("rows %s, want 1", got)
	}
}
