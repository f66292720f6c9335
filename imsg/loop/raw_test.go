package loop

import (
	"net"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// pollers has a test run with each.
func pollers(t *testing.T, test func(t *testing.T, p Poller)) {
	t.Run("loop", func(t *testing.T) { test(t, newLoop(t)) })
	t.Run("goroutines", func(t *testing.T) { test(t, NewGoroutines()) })
}

func newLoop(t *testing.T) *Loop {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// counted is more datagrams than a queue holds.
const counted = 5000

// counter is told when there are datagrams, which are numbered, and reads one.
type counter struct {
	t     *testing.T
	mu    sync.Mutex // until there is raw
	raw   *Raw
	n     int
	all   chan struct{} // closed behind the last
	ended chan struct{} // closed behind the other's end
}

func newCounter(t *testing.T, p Poller, fd int) *counter {
	t.Helper()
	c := &counter{t: t, all: make(chan struct{}), ended: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if c.raw, err = OpenRaw(p, fd, c); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *counter) News(*Turn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	over := false
	c.raw.Control(func(fd uintptr) {
		var b [8]byte
		k, err := unix.Read(int(fd), b[:])
		switch {
		case err == unix.EAGAIN:
		case err == nil && k == 0:
			over = true
		case err != nil || k != 2 || int(b[0])|int(b[1])<<8 != c.n:
			c.t.Errorf("datagram %d is %x: %v", c.n, b[:max(k, 0)], err)
			over = true
		default:
			if c.n++; c.n == counted {
				close(c.all)
			}
		}
	})
	if over {
		c.raw.Close()
		close(c.ended)
	}
}

// send sends them all.
func (c *counter) send() {
	for i := range counted {
		err := c.raw.Write(func(fd uintptr) bool {
			_, err := unix.Write(int(fd), []byte{byte(i), byte(i >> 8)})
			return err != unix.EAGAIN && err != unix.ENOBUFS
		})
		if err != nil {
			c.t.Error(err)
			return
		}
	}
}

func link(t *testing.T) (fds [2]int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds
}

// TestRaw: all that comes is told of, both ways at once and one at a time, and so is the
// end; who writes waits for room.
func TestRaw(t *testing.T) { pollers(t, testRaw) }

func testRaw(t *testing.T, p Poller) {
	fds := link(t)
	one, other := newCounter(t, p, fds[0]), newCounter(t, p, fds[1])
	go one.send()
	go other.send()
	imsgtest.Receive(t, "the last datagram", one.all)
	imsgtest.Receive(t, "the last datagram", other.all)
	one.raw.Close()
	imsgtest.Receive(t, "the other's end", other.ended)
	for _, r := range []*Raw{one.raw, other.raw} {
		if err := r.Control(func(uintptr) {}); err != net.ErrClosed {
			t.Errorf("it is closed: %v", err)
		}
		if err := r.Write(func(uintptr) bool { return false }); err != net.ErrClosed {
			t.Errorf("it is closed: %v", err)
		}
	}
}

// TestClosedWhileItWaits: who waits for room hears of the end.
func TestClosedWhileItWaits(t *testing.T) { pollers(t, testClosedWhileItWaits) }

func testClosedWhileItWaits(t *testing.T, p Poller) {
	fds := link(t)
	defer unix.Close(fds[1])
	c := newCounter(t, p, fds[0])
	tried := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		once := sync.OnceFunc(func() { close(tried) })
		ended <- c.raw.Write(func(uintptr) bool { once(); return false })
	}()
	imsgtest.Receive(t, "a try", tried)
	c.raw.Close()
	if err := imsgtest.Receive(t, "the end", ended); err != net.ErrClosed {
		t.Errorf("who waits hears %v", err)
	}
}
