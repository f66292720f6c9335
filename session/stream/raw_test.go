package stream

import (
	"net"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// counted is more datagrams than a queue holds.
const counted = 5000

// counter reads datagrams that are numbered.
type counter struct {
	t     *testing.T
	n     int
	ended chan struct{} // closed behind the last
}

func newCounter(t *testing.T) *counter { return &counter{t: t, ended: make(chan struct{})} }

func (c *counter) read(fd uintptr) (done bool) {
	var b [8]byte
	k, err := unix.Read(int(fd), b[:])
	if err == unix.EAGAIN || err == nil && k == 0 {
		return false
	}
	if err != nil || k != 2 || int(b[0])|int(b[1])<<8 != c.n {
		c.t.Errorf("datagram %d is %x: %v", c.n, b[:max(k, 0)], err)
	}
	if c.n++; c.n == counted {
		close(c.ended)
	}
	return true
}

// send sends them.
func send(t *testing.T, to *Raw) {
	for i := range counted {
		err := to.Write(func(fd uintptr) bool {
			_, err := unix.Write(int(fd), []byte{byte(i), byte(i >> 8)})
			return err != unix.EAGAIN && err != unix.ENOBUFS
		})
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// told reads when it is news that there is something.
type told struct {
	*counter
	mu  sync.Mutex // until there is raw
	raw *Raw
}

func (o *told) News(*Turn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for done := true; done; {
		if o.raw.Control(func(fd uintptr) { done = o.read(fd) }) != nil {
			return
		}
	}
	o.raw.Again()
}

// TestRaw: what others read and write is waited for, by a goroutine and by who is told.
func TestRaw(t *testing.T) { pollers(t, testRaw) }

func testRaw(t *testing.T, p Poller) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	writer, err := OpenRaw(p, fds[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	owner := &told{counter: newCounter(t)}
	owner.mu.Lock()
	reader, err := OpenRaw(p, fds[1], owner)
	if owner.raw = reader; err != nil {
		t.Fatal(err)
	}
	owner.mu.Unlock()
	go send(t, writer)
	imsgtest.Receive(t, "the last datagram", owner.ended)

	waits := newCounter(t)
	ended := make(chan error, 1)
	go func() {
		for {
			if err := writer.Read(waits.read); err != nil {
				ended <- err
				return
			}
		}
	}()
	go send(t, reader)
	imsgtest.Receive(t, "the last datagram", waits.ended)
	writer.Close()
	if err := imsgtest.Receive(t, "the end", ended); err != net.ErrClosed {
		t.Errorf("who reads hears %v", err)
	}
	reader.Close()
	if err := reader.Control(func(uintptr) {}); err != net.ErrClosed {
		t.Errorf("it is closed: %v", err)
	}
}
