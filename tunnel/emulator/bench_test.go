//go:build unix

package emulator

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// BenchmarkReadRecords serves pages over a real loopback connection to a reader
// that throws them away, with one processor for both. MB/cpu-s is by the time
// that the process had of it, which other processes take nothing of.
func BenchmarkReadRecords(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, kind := range []tunnelpb.TunnelType{tunnelpb.TunnelType_STREAM, tunnelpb.TunnelType_BASE_DATA} {
		for _, pages := range []int{64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%s/page=%dKiB", kind, pages>>10), func(b *testing.B) { benchmarkRead(b, kind, pages) })
		}
	}
}

func benchmarkRead(b *testing.B, kind tunnelpb.TunnelType, pageBytes int) {
	e := newEmulator(b, Config{PageBytes: pageBytes, PageRecords: maxPageRecords})
	newTableOf(b, e, 1)
	write := func() {
		// About 370 bytes, as a row of two key and five data columns has.
		for i := range 20_000 {
			c := putOf(fmt.Sprintf("key%06d", i), int64(i))
			for n := range 4 {
				c.Row.Columns = append(c.Row.Columns, plainbuffer.Cell{
					Name: fmt.Appendf(nil, "column%d", n), Value: plainbuffer.StringValue("some text of a column, not long"),
				})
			}
			mustWrite(b, e, c)
		}
	}
	if kind == tunnelpb.TunnelType_BASE_DATA {
		write()
	}
	id := newTunnelOf(b, e, kind, nil)
	if kind == tunnelpb.TunnelType_STREAM {
		write()
	}
	client := connect(b, e, id, 86400)
	channel := beat(b, e, id, client)[0].GetChannelId()
	at, _ := token(b, e, id, client, channel)
	body, err := proto.Marshal(&tunnelpb.ReadRecordsRequest{TunnelId: &id, ClientId: &client, ChannelId: &channel, Token: &at})
	if err != nil {
		b.Fatal(err)
	}
	var ask bytes.Buffer
	r := request("/tunnel/readrecords", "local", "id", "secret", body)
	r.Host = "emulator"
	if err := r.Write(&ask); err != nil {
		b.Fatal(err)
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: e}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	defer func() {
		server.Close()
		<-ended
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	reader := bufio.NewReaderSize(conn, 256<<10)
	scratch := make([]byte, 256<<10)

	var read int64
	before := cpuTime(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(ask.Bytes()); err != nil {
			b.Fatal(err)
		}
		a, err := http.ReadResponse(reader, nil)
		if err != nil || a.StatusCode != http.StatusOK {
			b.Fatalf("%v, %v", a, err)
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, a.Body, scratch)
		if err != nil {
			b.Fatal(err)
		}
		a.Body.Close()
		read += n
	}
	b.SetBytes(read / int64(b.N))
	b.ReportMetric(float64(read)/1e6/(cpuTime(b)-before).Seconds(), "MB/cpu-s")
}

// cpuTime is what the process has had so far, in the kernel too.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
