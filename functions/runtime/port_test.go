package runtime

import (
	"net"
	"testing"
)

func TestTwoProgramsNeverHaveOnePort(t *testing.T) {
	port, held, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	// Another runtime's search comes by the same port only while nobody holds it.
	search := func() error {
		packets, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", loopback("127.0.0.1", port))
		if err == nil {
			_ = packets.Close()
		}
		return err
	}
	if search() == nil {
		t.Error("the port may be given out again")
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", loopback("", port))
	if err != nil { // for the program, it is free
		t.Fatal(err)
	}
	_ = listener.Close()
	_ = held.Close()
	if err := search(); err != nil {
		t.Error(err)
	}
}
