// Package stream is one TCP side of a session: a connection that is read and written
// without waiting, and that holds no buffer while it has nothing to say. It owns how news
// of connections is brought, and never looks at their octets.
package stream

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

const (
	// BufferSize is how many octets may be buffered, and the most that one read
	// brings. It holds the longest line of either side.
	BufferSize = 32 << 10
	// LargeSize is that of a large buffer, for a text of which much comes at a time.
	LargeSize = 128 << 10
	// maxLeft is how many octets of a line that has only begun are kept outside a
	// buffer.
	maxLeft = 2 << 10
	// maxUnasked is how many buffers Drain reads: what a client may have sent
	// unasked.
	maxUnasked = 4
)

// ErrAgain is that nothing can be done now: there is nothing to read, or no room to write.
// The owner is told when there is.
var ErrAgain = errors.New("not yet")

var (
	inputs      = bufferPool(BufferSize)
	largeInputs = bufferPool(LargeSize)
)

func bufferPool(size int) *sync.Pool {
	return &sync.Pool{New: func() any {
		b := make([]byte, size)
		return &b
	}}
}

// Stream is one TCP connection of a session. Nothing that it does waits, but for Await and
// Secure. One that has nothing to say holds no buffer; the start of a line whose rest is
// long in coming costs what it is long.
//
// One at a time reads, and one at a time writes; under TLS, where reading writes, too, one
// does either. Anybody may call Received, Closed and, but during Move, Close.
type Stream struct {
	poller loop.Poller
	owner  loop.Owner
	news   atomic.Uint32
	heard  atomic.Pointer[chan struct{}] // of who waits in Await

	mu   sync.Mutex // held while the descriptor is used, so that it is not another's then
	fd   int
	open bool

	in       *[]byte // nil while nothing is buffered
	r, w     int
	much     bool   // the last read has filled it, or more than a small one
	large    bool   // the next one may be large
	left     []byte // what is buffered while there is no buffer
	received atomic.Int64

	tls  *tls.Conn // nil: in clear
	dry  bool      // it was seen to hold no whole record
	wire *wire     // beneath it
	pipe *pipe     // what Move holds on the way from here
}

// Open makes a socket, which must not block, the stream's, in the place of the one that it
// had; both are closed if there is an error. Owner, which may be nil, is told of news; it
// and the poller are the same each time. Nobody else may use the stream meanwhile.
func (t *Stream) Open(p loop.Poller, fd int, owner loop.Owner) error {
	return t.take(p, fd, owner, loop.Writable)
}

// take is Open of a socket of which some news is known.
func (t *Stream) take(p loop.Poller, fd int, owner loop.Owner, known loop.News) error {
	t.Close()
	t.Consume(len(t.Bytes()))
	t.tls, t.wire, t.dry = nil, nil, false
	if t.poller == nil { // what was news before may be told just now
		t.poller, t.owner = p, owner
	}
	t.news.Store(uint32(known))
	t.mu.Lock()
	t.fd, t.open = fd, true
	t.mu.Unlock()
	watch := loop.Changes
	if known&loop.Writable == 0 {
		watch = loop.Room
	}
	if err := p.Add(fd, t, watch); err != nil {
		t.Close()
		return err
	}
	return nil
}

// Opened tells whether there has been a connection.
func (t *Stream) Opened() bool { return t.poller != nil }

// Close closes the connection. Who waits for it is woken. It must not be called during
// Move.
func (t *Stream) Close() {
	t.mu.Lock()
	if t.open {
		t.open = false
		t.poller.Remove(t.fd, false)
		unix.Close(t.fd)
	}
	if t.pipe != nil {
		t.pipe.close()
		t.pipe = nil
	}
	t.mu.Unlock()
	t.news.Or(uint32(loop.Readable | loop.Writable)) // whoever tries hears of it
	t.wake()
}

// Happened is called by the poller.
func (t *Stream) Happened(turn *loop.Turn, n loop.News) {
	t.news.Or(uint32(n))
	t.wake()
	if t.owner != nil {
		t.owner.News(turn)
	}
}

func (t *Stream) wake() {
	if heard := t.heard.Load(); heard != nil {
		select {
		case *heard <- struct{}{}:
		default:
		}
	}
}

func (t *Stream) has(n loop.News) bool { return t.news.Load()&uint32(n) != 0 }

// With calls f with the descriptor, which nobody closes meanwhile. The error is
// net.ErrClosed, or f's.
func (t *Stream) With(f func(fd int) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.open {
		return net.ErrClosed
	}
	return f(t.fd)
}

// read is one read that does not wait. 0 without an error is the other side's end.
func (t *Stream) read(p []byte) (n int, err error) {
	if !t.has(loop.Readable) {
		return 0, ErrAgain
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.open {
		return 0, net.ErrClosed
	}
	t.news.And(^uint32(loop.Readable)) // what comes from now on is news
	for {
		n, err = sysRead(uintptr(t.fd), p)
		if err != syscall.EINTR {
			break
		}
	}
	switch {
	case err == syscall.EAGAIN:
		t.poller.Await(t.fd, loop.Readable)
		return 0, ErrAgain
	case err != nil:
		t.news.Or(uint32(loop.Readable))
		return 0, os.NewSyscallError("read", err)
	case n == len(p) || n == 0 || t.has(loop.Ended): // there may be more
		t.news.Or(uint32(loop.Readable))
	default:
		t.poller.Await(t.fd, loop.Readable)
	}
	return n, nil
}

// Fill adds what has come to what is buffered. The error is ErrAgain, io.EOF at the other
// side's end, net.ErrClosed when the connection was closed here, io.ErrShortBuffer when a
// buffer is full; anything else comes of the system.
func (t *Stream) Fill() (err error) {
	if t.tls == nil && !t.has(loop.Readable) {
		t.waits()
		return ErrAgain
	}
	t.acquire()
	if t.w == len(*t.in) {
		if t.r == 0 {
			return io.ErrShortBuffer
		}
		t.w = copy(*t.in, (*t.in)[t.r:t.w])
		t.r = 0
	}
	var n int
	if t.tls != nil {
		n, err = t.readTLS((*t.in)[t.w:])
	} else if n, err = t.read((*t.in)[t.w:]); err == nil && n == 0 {
		err = io.EOF
	}
	t.w += n
	t.received.Store(t.received.Load() + int64(n)) // nobody else writes it
	if n > 0 {
		t.much = n > BufferSize || t.w == len(*t.in)
		return nil
	}
	t.waits()
	return err
}

// Large says whether the next buffer may be a large one, which it is if the last read has
// filled the one before.
func (t *Stream) Large(may bool) { t.large = may }

// waits gives the buffer back, unless too much is left in it to be kept otherwise.
func (t *Stream) waits() {
	if t.in == nil || t.w-t.r > maxLeft {
		return
	}
	if t.r < t.w {
		t.left = append([]byte(nil), (*t.in)[t.r:t.w]...)
	}
	t.release()
}

// Bytes returns what is buffered; it is valid until Consume or Fill.
func (t *Stream) Bytes() []byte {
	if t.left != nil {
		t.acquire()
	}
	if t.in == nil {
		return nil
	}
	return (*t.in)[t.r:t.w]
}

// Buffered is how many octets are.
func (t *Stream) Buffered() int { return t.w - t.r + len(t.left) }

// Drain drops what lies in the kernel unread, up to what a client may have sent
// unasked: a socket closed over it answers with a reset.
func (t *Stream) Drain() {
	t.acquire()
	defer t.release()
	t.With(func(fd int) error {
		for range maxUnasked {
			if n, err := sysRead(uintptr(fd), *t.in); n <= 0 && err != syscall.EINTR {
				break
			}
		}
		return nil
	})
}

// acquire takes a buffer, with what is left in it.
func (t *Stream) acquire() {
	if t.in == nil {
		from := inputs
		if t.large && t.much {
			from = largeInputs
		}
		t.in = from.Get().(*[]byte)
		t.w = copy(*t.in, t.left)
		t.left = nil
	}
}

// Consume drops n buffered octets, and the buffer with the last of them.
func (t *Stream) Consume(n int) {
	t.r += n
	if t.r == t.w && t.in != nil {
		t.release()
	}
}

// Skip drops n buffered octets as if they had not come: they are none of the other side's.
func (t *Stream) Skip(n int) {
	t.Consume(n)
	t.received.Store(t.received.Load() - int64(n))
}

func (t *Stream) release() {
	if len(*t.in) == BufferSize {
		inputs.Put(t.in)
	} else {
		largeInputs.Put(t.in)
	}
	t.in, t.r, t.w = nil, 0, 0
}

// Write writes what there is room for, and returns how much of p that is. ErrAgain is that
// Write is due again, with the rest of p, though nothing may be left of it. The other
// errors are net.ErrClosed and the system's.
func (t *Stream) Write(p []byte) (n int, err error) {
	if t.tls != nil {
		return t.writeTLS(p)
	}
	return t.write(p)
}

func (t *Stream) write(p []byte) (n int, err error) {
	if !t.has(loop.Writable) {
		return 0, ErrAgain
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for n < len(p) {
		if !t.open {
			return n, net.ErrClosed
		}
		t.news.And(^uint32(loop.Writable))
		k, err := sysWrite(uintptr(t.fd), p[n:])
		switch {
		case err == syscall.EAGAIN:
			t.poller.Await(t.fd, loop.Writable)
			return n, ErrAgain
		case err != nil && err != syscall.EINTR:
			t.news.Or(uint32(loop.Writable))
			return n, os.NewSyscallError("write", err)
		}
		t.news.Or(uint32(loop.Writable))
		n += max(k, 0)
	}
	return n, nil
}

// CloseWrite closes our half of the connection.
func (t *Stream) CloseWrite() {
	if t.tls != nil {
		t.tls.CloseWrite()
		t.flush()
	}
	t.With(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
}

// Received is how many octets have been read.
func (t *Stream) Received() int64 { return t.received.Load() }

// Pending tells whether there are octets that Fill was not asked for yet: they lie in the
// kernel, or, as far as is known, with TLS. Of those there may turn out to be none.
func (t *Stream) Pending() (pending bool) {
	if t.tls != nil && !t.dry {
		return true
	}
	var one [1]byte
	t.With(func(fd int) error {
		n, _, err := syscall.Recvfrom(fd, one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		pending = err == nil && n > 0
		return nil
	})
	return pending
}

// Closed tells whether the other side has closed its writing half, or all of the
// connection. It may be asked while somebody else uses the stream.
func (t *Stream) Closed() (half, whole bool) {
	if t.With(func(fd int) error { half, whole = sysClosed(fd); return nil }) != nil {
		return true, true
	}
	return half, whole
}

// Local returns our address of the connection.
func (t *Stream) Local() (a netip.AddrPort) { return t.address(syscall.Getsockname) }

// Remote returns the other side's, which a connection does not have any more that was
// reset.
func (t *Stream) Remote() (a netip.AddrPort) { return t.address(syscall.Getpeername) }

// address asks by package syscall: x/sys would ask for the protocol, too.
func (t *Stream) address(ask func(fd int) (syscall.Sockaddr, error)) (a netip.AddrPort) {
	t.With(func(fd int) error {
		sa, err := ask(fd)
		if err == nil {
			a = addrPort(sa)
		}
		return err
	})
	return a
}

// addrPort is a socket's address; an IPv4 one in IPv6's form is IPv4.
func addrPort(sa syscall.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		ip := netip.AddrFrom16(a.Addr)
		if a.ZoneId != 0 && !ip.Is4In6() {
			ip = ip.WithZone(zone(a.ZoneId))
		}
		return netip.AddrPortFrom(ip.Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}
