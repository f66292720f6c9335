package stream

import (
	"context"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// pair is a stream and the connection's other end.
func pair(t testing.TB, p loop.Poller) (near *Stream, far net.Conn) {
	t.Helper()
	return pairOf(t, p, nil)
}

// pairOf is pair for an owner.
func pairOf(t testing.TB, p loop.Poller, owner loop.Owner) (near *Stream, far net.Conn) {
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
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	near = new(Stream)
	raw.Control(func(n uintptr) {
		var fd int
		if fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = near.Open(p, fd, owner)
		}
	})
	conn.Close()
	t.Cleanup(near.Close)
	return near, far
}

// pollers has a test run with each.
func pollers(t *testing.T, test func(t *testing.T, p loop.Poller)) {
	t.Run("loop", func(t *testing.T) { test(t, newLoop(t)) })
	t.Run("goroutines", func(t *testing.T) { test(t, loop.NewGoroutines()) })
}

func newLoop(t testing.TB) *loop.Loop {
	t.Helper()
	l, err := loop.New()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// soon ends after a while.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), imsgtest.Patience)
	t.Cleanup(cancel)
	return ctx
}

// TestLargeBuffer: who brings much, and may, fills a large buffer, and nobody else does.
func TestLargeBuffer(t *testing.T) {
	for _, tc := range []struct {
		name string
		may  bool
		want int
	}{{"may", true, LargeSize}, {"may not", false, BufferSize}} {
		t.Run(tc.name, func(t *testing.T) {
			pollers(t, func(t *testing.T, p loop.Poller) {
				s, far := pair(t, p)
				s.Large(tc.may)
				go far.Write(make([]byte, 2*LargeSize)) // which the end of the test may cut off
				for filled := false; !filled; filled = len(s.Bytes()) == BufferSize {
					if err := s.FillUntil(soon(t)); err != nil {
						t.Fatal(err)
					}
					if len(*s.in) != BufferSize {
						t.Fatalf("a buffer of %d for the first octets", len(*s.in))
					}
				}
				s.Consume(BufferSize)
				if err := s.FillUntil(soon(t)); err != nil {
					t.Fatal(err)
				}
				if n := len(*s.in); n != tc.want {
					t.Errorf("a buffer of %d, want %d", n, tc.want)
				}
			})
		})
	}
}

// A side that waits holds no buffer, whatever it has begun to say, and loses
// none of it.
func TestWaitingHoldsNoBuffer(t *testing.T) { pollers(t, testWaitingHoldsNoBuffer) }

func testWaitingHoldsNoBuffer(t *testing.T, p loop.Poller) {
	s, far := pair(t, p)
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
			if err := s.FillUntil(soon(t)); err != nil {
				t.Fatal(err)
			}
		}
		if rest, ok := strings.CutPrefix(want, "first\r\n"); ok {
			s.Consume(len("first\r\n"))
			want = rest
		}
		for range 2 { // the first may be for nothing
			if err := s.Fill(); err != ErrAgain {
				t.Errorf("error %v", err)
			}
		}
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

// TestFillsInTime: who has time until a moment reads nothing behind it, be there octets
// without end.
func TestFillsInTime(t *testing.T) { pollers(t, testFillsInTime) }

func testFillsInTime(t *testing.T, p loop.Poller) {
	near, far := pair(t, p)
	far.Write([]byte("NOOP\r\n"))
	if err := near.Await(soon(t), loop.Readable); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := near.FillUntil(ctx); err != context.Canceled || near.Received() > 0 {
		t.Errorf("%d octets, error %v", near.Received(), err)
	}
}
