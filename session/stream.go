// One side of a session: a connection that waits for octets without holding a
// buffer. This file owns how octets are waited for; it never looks at them.

package session

import (
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// bufSize is what one read may bring. It holds the longest line of either side.
const bufSize = 32 << 10

var inputs = sync.Pool{New: func() any { return new([bufSize]byte) }}

// outputs hold what a batch of input becomes: at most twice its size (dots),
// and a few lines of our own.
var outputs = sync.Pool{New: func() any {
	b := make([]byte, 0, 2*bufSize+4<<10)
	return &b
}}

// maxLeft is how much of a line that has only begun is kept outside a buffer.
const maxLeft = 2 << 10

// stream is one TCP connection of a session. One that waits holds no buffer: the
// read is tried from inside the runtime's poller, and what it needs is taken
// from a pool only for as long as there are octets. The start of a line whose
// rest is long in coming costs what it is long.
type stream struct {
	conn *net.TCPConn
	raw  syscall.RawConn
	in   *[bufSize]byte // nil while nothing is buffered
	r, w int
	left []byte       // what is buffered while there is no buffer
	got  atomic.Int64 // octets read, for CLOSE and the live table

	n       int
	err     error
	reading func(fd uintptr) bool

	out     []byte
	outErr  error
	writing func(fd uintptr) bool
}

func (t *stream) open(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	t.conn, t.raw = conn, raw
	t.reading, t.writing = t.tryRead, t.tryWrite
	return nil
}

// tryRead makes one attempt; false makes the runtime wait for octets.
func (t *stream) tryRead(fd uintptr) bool {
	t.acquire()
	for {
		t.n, t.err = sysRead(fd, t.in[t.w:])
		if t.err != syscall.EINTR {
			break
		}
	}
	if t.n <= 0 && t.w-t.r <= maxLeft {
		if t.r < t.w {
			t.left = append([]byte(nil), t.in[t.r:t.w]...)
		}
		t.release()
	}
	return t.err != syscall.EAGAIN
}

// fill waits for octets and adds them to what is buffered. The error is io.EOF
// at the other side's end, os.ErrDeadlineExceeded when the session's time is
// over, net.ErrClosed when it was ended from elsewhere.
func (t *stream) fill() error {
	if t.in != nil && t.w == bufSize {
		if t.r == 0 {
			return io.ErrShortBuffer
		}
		t.w = copy(t.in[:], t.in[t.r:t.w])
		t.r = 0
	}
	if err := t.raw.Read(t.reading); err != nil {
		return err
	}
	switch {
	case t.err != nil:
		return os.NewSyscallError("read", t.err)
	case t.n == 0:
		return io.EOF
	}
	t.w += t.n
	t.got.Store(t.got.Load() + int64(t.n))
	return nil
}

// bytes returns what is buffered; it is valid until consume or fill.
func (t *stream) bytes() []byte {
	if t.left != nil {
		t.acquire()
	}
	if t.in == nil {
		return nil
	}
	return t.in[t.r:t.w]
}

// drain drops what lies in the kernel unread, up to what a client may have sent
// unasked, and waits for no more: a socket closed over it answers with a reset.
func (t *stream) drain() {
	t.acquire()
	defer t.release()
	t.raw.Control(func(fd uintptr) {
		for range 4 {
			if n, err := sysRead(fd, t.in[:]); n <= 0 && err != syscall.EINTR {
				return
			}
		}
	})
}

// acquire takes a buffer, with what is left in it.
func (t *stream) acquire() {
	if t.in == nil {
		t.in = inputs.Get().(*[bufSize]byte)
		t.w = copy(t.in[:], t.left)
		t.left = nil
	}
}

// consume drops n buffered octets, and the buffer with the last of them.
func (t *stream) consume(n int) {
	t.r += n
	if t.r == t.w && t.in != nil {
		t.release()
	}
}

func (t *stream) release() {
	inputs.Put(t.in)
	t.in, t.r, t.w = nil, 0, 0
}

func (t *stream) tryWrite(fd uintptr) bool {
	for len(t.out) > 0 {
		n, err := sysWrite(fd, t.out)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return false
		case err != nil:
			t.outErr = err
			return true
		default:
			t.out = t.out[n:]
		}
	}
	return true
}

// write writes all of p. One goroutine at a time.
func (t *stream) write(p []byte) error {
	t.out, t.outErr = p, nil
	err := t.raw.Write(t.writing)
	t.out = nil
	if err == nil && t.outErr != nil {
		err = os.NewSyscallError("write", t.outErr)
	}
	return err
}

// await waits until there is something to read, be it the other side's end.
func (t *stream) await() error {
	var one [1]byte
	return t.raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return err != syscall.EAGAIN
	})
}

// pending tells whether unread octets lie in the kernel.
func (t *stream) pending() bool {
	var n int
	var err error
	var one [1]byte
	if t.raw.Control(func(fd uintptr) {
		n, _, err = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	}) != nil {
		return false
	}
	return err == nil && n > 0
}

// closed tells whether the other side has closed its writing half, or all of the
// connection. It may be asked while somebody else uses the stream.
func (t *stream) closed() (half, whole bool) {
	if t.raw.Control(func(fd uintptr) { half, whole = sysClosed(int(fd)) }) != nil {
		return true, true
	}
	return half, whole
}

// expire makes a read that waits, and every later one, fail with a time-out.
func (t *stream) expire() { t.conn.SetReadDeadline(time.Unix(1, 0)) }

// isClosed tells whether err means that somebody ended the connection, be it
// orderly or by reset: wire rules call both a close.
func isClosed(err error) bool { return err != nil && !os.IsTimeout(err) }
