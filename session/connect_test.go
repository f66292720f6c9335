package session

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// TestCalledAgain: while a connection is being made that takes the place of another, what
// is heard of the one before is no news of it, and one that was given up is not made.
func TestCalledAgain(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: l.Addr().(*net.TCPAddr).Port}
	connect := func(s *session) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return s.connectSocket(fd, to)
	}
	// Its own goroutines tell nothing here: the session is not held.
	s := &session{w: &worker{poller: loop.NewGoroutines(), cfg: new(imsg.SessionConfig)}}
	s.facts.Target = addrPort(l.Addr())
	for range 2 {
		s.calling = &calling{then: func(error) {}}
		if then, err := s.called(); then != nil {
			t.Fatalf("it is told before anything was begun: %v", err)
		}
		if err := connect(s); err != nil {
			t.Fatal(err)
		}
		if err := s.server.Await(t.Context(), loop.Writable); err != nil {
			t.Fatal(err)
		}
		if then, err := s.called(); then == nil || err != nil || s.facts.Outgoing != s.facts.Target.Addr() {
			t.Fatalf("it is not told, or %v, from %v", err, s.facts.Outgoing)
		}
		s.server.Close()
	}
	if connect(s) != net.ErrClosed {
		t.Error("a connection that nobody waits for is made")
	}
}
