package stream

import (
	"net"
	"strings"
	"testing"
)

// pair is a stream and the connection's other end.
func pair(t testing.TB) (near *Stream, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if far, err = net.Dial("tcp4", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	near = new(Stream)
	if err := near.Open(conn.(*net.TCPConn)); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// A side that waits holds no buffer, whatever it has begun to say, and loses
// none of it.
func TestWaitingHoldsNoBuffer(t *testing.T) {
	s, far := pair(t)
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
		for len(s.Bytes()) < len(want) {
			if err := s.Fill(); err != nil {
				t.Fatal(err)
			}
		}
		if rest, ok := strings.CutPrefix(want, "first\r\n"); ok {
			s.Consume(len("first\r\n"))
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
		if got := string(s.Bytes()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	s.Consume(len(want))
	if s.in != nil || s.left != nil {
		t.Error("a buffer for nothing")
	}
}
