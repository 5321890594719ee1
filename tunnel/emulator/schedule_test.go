package emulator

import (
	"testing"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

func mustSchedule(t testing.TB, e *Emulator, tunnel string, status tunnelpb.ChannelStatus, channels ...string) {
	t.Helper()
	if err := scheduled(t, e, tunnel, status, channels...); err != nil {
		t.Fatal(err)
	}
}

func scheduled(t testing.TB, e *Emulator, tunnel string, status tunnelpb.ChannelStatus, channels ...string) error {
	t.Helper()
	q := &tunnelpb.ScheduleRequest{TunnelId: &tunnel}
	for _, id := range channels {
		q.Channels = append(q.Channels, &tunnelpb.Channel{ChannelId: &id, Version: new(int64(0)), Status: &status})
	}
	_, err := call[tunnelpb.ScheduleResponse](t, e, "/tunnel/schedule", q)
	return err
}

func TestASuspendedChannelIsAskedBackAndHandedToNobody(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 2)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	client := connect(t, e, id, 10)
	beat(t, e, id, client)
	mustSchedule(t, e, id, tunnelpb.ChannelStatus_CLOSING, "Stream_0001")
	held := beat(t, e, id, client)
	if got, want := listing(held), "Stream_0000 OPEN 1, Stream_0001 CLOSING 2"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	for range 2 {
		if got, want := listing(beat(t, e, id, client, held[0], report(held[1], tunnelpb.ChannelStatus_CLOSE))), "Stream_0000 OPEN 1"; got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	// Nor does another client get it.
	if got := listing(beat(t, e, id, connect(t, e, id, 10))); got != "" {
		t.Errorf("a second client holds %s", got)
	}
	a := must[tunnelpb.DescribeTunnelResponse](t, e, "/tunnel/describe", &tunnelpb.DescribeTunnelRequest{TableName: new("t"), TunnelName: new("feed")})
	if got := a.GetChannels()[1].GetChannelStatus(); got != "CLOSE" {
		t.Errorf("the suspended channel is %s, want CLOSE", got)
	}
	mustSchedule(t, e, id, tunnelpb.ChannelStatus_OPEN, "Stream_0001")
	a = must[tunnelpb.DescribeTunnelResponse](t, e, "/tunnel/describe", &tunnelpb.DescribeTunnelRequest{TableName: new("t"), TunnelName: new("feed")})
	if got := a.GetChannels()[1].GetChannelStatus(); got != "OPEN" {
		t.Errorf("the resumed channel is %s, want OPEN", got)
	}
}

func TestAChannelResumedWhileItClosesIsItsHoldersAgain(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	client := connect(t, e, id, 10)
	beat(t, e, id, client)
	mustSchedule(t, e, id, tunnelpb.ChannelStatus_CLOSING, "Stream_0000")
	closing := beat(t, e, id, client)[0]
	mustSchedule(t, e, id, tunnelpb.ChannelStatus_OPEN, "Stream_0000")
	if got, want := listing(beat(t, e, id, client, closing)), "Stream_0000 OPEN 3"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// The client that gave it back before it heard of that has not.
	if got, want := listing(beat(t, e, id, client, report(closing, tunnelpb.ChannelStatus_CLOSE))), "Stream_0000 OPEN 3"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestResumingTakesNoChannelFromTheClientThatItIsMovingTo(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 2)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	first := connect(t, e, id, 10)
	beat(t, e, id, first)
	connect(t, e, id, 10)
	mustSchedule(t, e, id, tunnelpb.ChannelStatus_OPEN, "Stream_0000", "Stream_0001")
	if got, want := listing(beat(t, e, id, first)), "Stream_0000 OPEN 1, Stream_0001 CLOSING 2"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAChannelThatScheduleEndsIsGoneAndItsChildrenOpen(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	client := connect(t, e, id, 10)
	beat(t, e, id, client)
	at, sequence := token(t, e, id, client, "Stream_0000")
	mustWrite(t, e, putOf("a", 1))
	if err := e.Split("t", 0); err != nil {
		t.Fatal(err)
	}
	mustSchedule(t, e, id, tunnelpb.ChannelStatus_TERMINATED, "Stream_0000")
	wantCode(t, commit(t, e, id, client, "Stream_0000", at, sequence+1), "OTSResourceGone")
	if got, want := listing(beat(t, e, id, client)), "Stream_0001 OPEN 1, Stream_0002 OPEN 1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	mustSchedule(t, e, id, tunnelpb.ChannelStatus_TERMINATED, "Stream_0000") // once more changes nothing
	wantCode(t, scheduled(t, e, id, tunnelpb.ChannelStatus_OPEN, "Stream_0000"), "OTSParameterInvalid")
	wantCode(t, scheduled(t, e, id, tunnelpb.ChannelStatus_CLOSING, "Stream_0001", "Stream_0000"), "OTSParameterInvalid")
	if got, want := listing(beat(t, e, id, client)), "Stream_0001 OPEN 1, Stream_0002 OPEN 1"; got != want {
		t.Errorf("a refused call has changed the channels to %s", got)
	}
}

func TestAChannelThatWaitsForItsParentWaitsOnThoughItIsOpened(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	mustWrite(t, e, putOf("a", 1))
	id := newTunnelOf(t, e, tunnelpb.TunnelType_BASE_AND_STREAM, nil)
	client := connect(t, e, id, 10)
	mustSchedule(t, e, id, tunnelpb.ChannelStatus_OPEN, "Stream_0000")
	base := beat(t, e, id, client)
	if got, want := listing(base), "BaseData_0000 OPEN 1"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	// And one that is suspended meanwhile waits when its parent has ended.
	mustSchedule(t, e, id, tunnelpb.ChannelStatus_CLOSING, "Stream_0000")
	if got := listing(beat(t, e, id, client, report(base[0], tunnelpb.ChannelStatus_TERMINATED))); got != "" {
		t.Errorf("a suspended channel was handed out: %s", got)
	}
	mustSchedule(t, e, id, tunnelpb.ChannelStatus_OPEN, "Stream_0000")
	if got, want := listing(beat(t, e, id, client)), "Stream_0000 OPEN 1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAScheduleThatIsNotRightIsToldWhy(t *testing.T) {
	e := newEmulator(t, Config{})
	newTableOf(t, e, 1)
	id := newTunnelOf(t, e, tunnelpb.TunnelType_STREAM, nil)
	wantCode(t, scheduled(t, e, "x", tunnelpb.ChannelStatus_OPEN), "OTSParameterInvalid")
	wantCode(t, scheduled(t, e, id, tunnelpb.ChannelStatus_OPEN, "Stream_0001"), "OTSParameterInvalid")
	wantCode(t, scheduled(t, e, id, tunnelpb.ChannelStatus_CLOSE, "Stream_0000"), "OTSParameterInvalid")
}
