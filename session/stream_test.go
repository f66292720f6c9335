package session

import (
	"net"
	"strings"
	"testing"
)

// A side that waits holds no buffer, whatever it has begun to say, and loses
// none of it.
func TestWaitingHoldsNoBuffer(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	var s stream
	if err := s.open(near.(*net.TCPConn)); err != nil {
		t.Fatal(err)
	}
	want := ""
	for _, tc := range []struct {
		text   string
		buffer bool // it is too long to be kept otherwise
	}{
		{"first\r\nN", false}, {"O", false}, {strings.Repeat("x", maxLeft), true}, {"\r\n", true},
	} {
		if _, err := far.Write([]byte(tc.text)); err != nil {
			t.Fatal(err)
		}
		want += tc.text
		for len(s.bytes()) < len(want) {
			if err := s.fill(); err != nil {
				t.Fatal(err)
			}
		}
		if rest, ok := strings.CutPrefix(want, "first\r\n"); ok {
			s.consume(len("first\r\n"))
			want = rest
		}
		s.raw.Control(func(fd uintptr) {
			if s.tryRead(fd) {
				t.Errorf("%d octets, %v", s.n, s.err)
			}
		})
		if (s.in != nil) != tc.buffer {
			t.Errorf("%d octets wait in a buffer: %t", len(want), s.in != nil)
		}
		if got := string(s.bytes()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	s.consume(len(want))
	if s.in != nil || s.left != nil {
		t.Error("a buffer for nothing")
	}
}
