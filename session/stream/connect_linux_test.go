package stream

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// TestStaleNews: news of a socket that had the number before makes no connection of one
// that is on its way, and those that follow are heard.
func TestStaleNews(t *testing.T) { pollers(t, testStaleNews) }

func testStaleNews(t *testing.T, p loop.Poller) {
	socket := func() int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	l := socket()
	defer unix.Close(l)
	if err := unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	// There is room for one that nobody has accepted; the next one's connection waits for
	// its second try.
	if err := unix.Listen(l, 0); err != nil {
		t.Fatal(err)
	}
	to, err := unix.Getsockname(l)
	if err != nil {
		t.Fatal(err)
	}
	first := socket()
	defer unix.Close(first)
	if err := unix.Connect(first, to); err != nil {
		t.Fatal(err)
	}
	fd := socket()
	unix.SetNonblock(fd, true)
	near := new(Stream)
	defer near.Close()
	if err := near.Connect(p, fd, to, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		near.Happened(nil, loop.Readable|loop.Writable|loop.Ended)
		if _, err := near.Connected(netip.AddrPort{}); err != ErrAgain {
			t.Fatalf("it is connected, or %v", err)
		}
	}
	accepted, _, err := unix.Accept(l)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(accepted)
	for err = ErrAgain; err == ErrAgain; _, err = near.Connected(netip.AddrPort{}) {
		if err := near.Await(soon(t), loop.Writable); err != nil {
			t.Fatal(err)
		}
	}
	if err != nil {
		t.Error(err)
	}
}
