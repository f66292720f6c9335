package imsgtest

import (
	"net"
	"runtime"
	"testing"
)

// TestPort: a kept port is for a listener that names it, and for nobody else.
func TestPort(t *testing.T) {
	at := Port(t)
	for range 2 { // a program may be started again
		l, err := net.Listen("tcp4", at.String())
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp4", at.String())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		l.Close()
	}
	if runtime.GOOS != "linux" {
		t.Skip("kept on Linux only")
	}
	taken := map[uint16]bool{at.Port(): true}
	for range 500 {
		next := Port(t).Port()
		if taken[next] {
			t.Fatalf("port %d was given twice", next)
		}
		taken[next] = true
	}
	for range 500 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, a := range []net.Addr{l.Addr(), c.LocalAddr()} {
			if port := uint16(a.(*net.TCPAddr).Port); taken[port] {
				t.Fatalf("a stranger got port %d", port)
			}
		}
	}
}
