package dispatcher_test

import (
	"bytes"
	"context"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/culvertio/culvert/dispatcher/invoke"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// TestAHandlerOfTheNativeTriggerRunsUnchanged takes rows out of the emulator's
// table into a handler that knows nothing but the native trigger's CBOR and
// Function Compute's SDK. It is the one test here in real time and with a
// real process.
func TestAHandlerOfTheNativeTriggerRunsUnchanged(t *testing.T) {
	seen := filepath.Join(t.TempDir(), "seen")
	target, err := invoke.Open(t.Context(), "process:"+filepath.Join("testdata", "native"), invoke.Options{
		Name: "index", AtOnce: 1, Env: []string{"SEEN=" + seen}, Output: io.Discard, Scratch: t.TempDir(), Logger: quietLog(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := target.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w := newWorld(t, emulator.Config{})
	w.target = target
	w.config.Triggers[0].Format = "cbor"
	w.config.Heartbeat.Interval, w.config.Heartbeat.Gap = 20*time.Millisecond, 10*time.Millisecond

	write := func(action tunnelpb.ActionType, columns ...plainbuffer.Cell) {
		t.Helper()
		key := []plainbuffer.Cell{{Name: []byte("id"), Value: plainbuffer.StringValue("größe 🚚")}}
		if err := w.emulator.Write("orders", emulator.Change{Action: action, Row: plainbuffer.Row{Key: key, Columns: columns}}); err != nil {
			t.Fatal(err)
		}
	}
	version := time.Now().UnixMilli() // the service takes none that is far from the time
	column := func(name string, v plainbuffer.Value) plainbuffer.Cell {
		return plainbuffer.Cell{Name: []byte(name), Value: v, Timestamp: version, HasTimestamp: true}
	}
	write(tunnelpb.ActionType_PUT_ROW, column("n", plainbuffer.IntegerValue(24))) // base data
	d := w.start()
	w.until("the base data is seen", func() bool { return lines(t, seen) == 1 })
	write(tunnelpb.ActionType_PUT_ROW,
		column("blob", plainbuffer.BlobValue([]byte{0, 255})),
		column("bool", plainbuffer.BooleanValue(true)),
		column("double", plainbuffer.DoubleValue(1)),
		column("inf", plainbuffer.DoubleValue(math.Inf(-1))),
		column("max", plainbuffer.IntegerValue(math.MaxInt64)),
		column("min", plainbuffer.IntegerValue(math.MinInt64)),
		column("text", plainbuffer.StringValue("two words")),
	)
	write(tunnelpb.ActionType_UPDATE_ROW,
		plainbuffer.Cell{Name: []byte("blob"), Value: plainbuffer.NoValue(), Op: plainbuffer.DeleteAllVersions},
		plainbuffer.Cell{Name: []byte("bool"), Value: plainbuffer.NoValue(), Op: plainbuffer.DeleteOneVersion, Timestamp: version, HasTimestamp: true},
		column("double", plainbuffer.DoubleValue(0.5)),
	)
	write(tunnelpb.ActionType_DELETE_ROW)
	w.until("every change is seen", func() bool { return lines(t, seen) >= 4 })
	d.drain()

	got, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	want := `PutRow id=string(größe 🚚) Put:n=uint64(24)@VERSION
PutRow dated id=string(größe 🚚) Put:blob=[]uint8([0 255])@VERSION Put:bool=bool(true)@VERSION Put:double=float64(1)@VERSION` +
		` Put:inf=float64(-Inf)@VERSION Put:max=uint64(9223372036854775807)@VERSION Put:min=int64(-9223372036854775808)@VERSION Put:text=string(two words)@VERSION
UpdateRow dated id=string(größe 🚚) DeleteAllVersions:blob=<nil>(<nil>)@0 DeleteOneVersion:bool=<nil>(<nil>)@VERSION Put:double=float64(0.5)@VERSION
DeleteRow dated id=string(größe 🚚)
`
	want = strings.ReplaceAll(want, "VERSION", strconv.FormatInt(version, 10))
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("what the handler saw (-want +got):\n%s", diff)
	}
	if s := d.Stats(); s.Failures != 0 || s.Settled != 4 {
		t.Errorf("%+v", s)
	}
}

// lines is how many lines a file has, which need not be there yet.
func lines(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}
