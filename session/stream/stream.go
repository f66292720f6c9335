// Package stream is one TCP side of a session: a connection that waits for octets
// without holding a buffer. It owns how octets are waited for, and never looks at
// them.
package stream

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// BufferSize is how many octets may be buffered, and the most that one read
	// brings. It holds the longest line of either side.
	BufferSize = 32 << 10

	// maxLeft is how many octets of a line that has only begun are kept outside a
	// buffer.
	maxLeft = 2 << 10

	// maxUnasked is how many buffers Drain reads: what a client may have sent
	// unasked.
	maxUnasked = 4
)

var inputs = sync.Pool{New: func() any { return new([BufferSize]byte) }}

// Stream is one TCP connection of a session. One that waits holds no buffer: the
// read is tried from inside the runtime's poller, and what it needs is taken
// from a pool only for as long as there are octets. The start of a line whose
// rest is long in coming costs what it is long.
//
// One goroutine reads, and one at a time writes; anybody may call Received, Pending,
// Closed and Expire.
type Stream struct {
	// Conn is nil before Open. Its deadlines, addresses and ends are the caller's to
	// use, its octets are not.
	Conn *net.TCPConn

	raw      syscall.RawConn
	in       *[BufferSize]byte // nil while nothing is buffered
	r, w     int
	left     []byte // what is buffered while there is no buffer
	received atomic.Int64

	n       int
	err     error
	reading func(fd uintptr) bool

	out     []byte
	outErr  error
	writing func(fd uintptr) bool

	tls  *tls.Conn // nil: in clear
	wire *wire     // beneath it
}

// Open makes conn the stream's connection. The error is that of a connection that is
// closed.
func (t *Stream) Open(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	t.Conn, t.raw = conn, raw
	t.reading, t.writing = t.tryRead, t.tryWrite
	return nil
}

// Reopen makes conn the stream's connection in the place of the one it had, which is
// closed. Nobody else may use the stream meanwhile.
func (t *Stream) Reopen(conn *net.TCPConn) error {
	t.Consume(len(t.Bytes()))
	t.tls, t.wire = nil, nil
	return t.Open(conn)
}

// tryRead makes one attempt; false makes the runtime wait for octets.
func (t *Stream) tryRead(fd uintptr) bool {
	t.acquire()
	if t.tls != nil {
		t.n, t.err = t.tryTLS(fd, t.in[t.w:])
	} else {
		for {
			t.n, t.err = sysRead(fd, t.in[t.w:])
			if t.err != syscall.EINTR {
				break
			}
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

// Fill waits for octets and adds them to what is buffered. The error is io.EOF
// at the other side's end, os.ErrDeadlineExceeded when the read deadline has passed,
// net.ErrClosed when the connection was closed here, io.ErrShortBuffer when a buffer
// is full; anything else comes of the system.
func (t *Stream) Fill() error {
	if t.in != nil && t.w == BufferSize {
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
	t.received.Store(t.received.Load() + int64(t.n)) // nobody else writes it
	return nil
}

// Bytes returns what is buffered; it is valid until Consume or Fill.
func (t *Stream) Bytes() []byte {
	if t.left != nil {
		t.acquire()
	}
	if t.in == nil {
		return nil
	}
	return t.in[t.r:t.w]
}

// Drain drops what lies in the kernel unread, up to what a client may have sent
// unasked, and waits for no more: a socket closed over it answers with a reset.
func (t *Stream) Drain() {
	t.acquire()
	defer t.release()
	t.raw.Control(func(fd uintptr) {
		for range maxUnasked {
			if n, err := sysRead(fd, t.in[:]); n <= 0 && err != syscall.EINTR {
				return
			}
		}
	})
}

// acquire takes a buffer, with what is left in it.
func (t *Stream) acquire() {
	if t.in == nil {
		t.in = inputs.Get().(*[BufferSize]byte)
		t.w = copy(t.in[:], t.left)
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

func (t *Stream) release() {
	inputs.Put(t.in)
	t.in, t.r, t.w = nil, 0, 0
}

func (t *Stream) tryWrite(fd uintptr) bool {
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

// Write writes all of p, or returns an error: os.ErrDeadlineExceeded when the write
// deadline has passed, net.ErrClosed, or that of the system.
func (t *Stream) Write(p []byte) error {
	if t.tls != nil {
		_, err := t.tls.Write(p)
		return err
	}
	return t.writeRaw(p)
}

func (t *Stream) writeRaw(p []byte) error {
	t.out, t.outErr = p, nil
	err := t.raw.Write(t.writing)
	t.out = nil
	if err == nil && t.outErr != nil {
		err = os.NewSyscallError("write", t.outErr)
	}
	return err
}

// SpliceTo moves what comes to another connection, past the buffers of both, and
// returns nil at this side's end. On Linux the kernel moves it, unless there is TLS.
func (t *Stream) SpliceTo(to *Stream) error {
	if t.tls != nil || to.tls != nil {
		return t.copyTo(to)
	}
	n, err := io.Copy(to.Conn, t.Conn)
	t.received.Add(n)
	return err
}

func (t *Stream) copyTo(to *Stream) error {
	for {
		if b := t.Bytes(); len(b) > 0 {
			if err := to.Write(b); err != nil {
				return err
			}
			t.Consume(len(b))
		}
		switch err := t.Fill(); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

// Received is how many octets have been read.
func (t *Stream) Received() int64 { return t.received.Load() }

// Await waits until there is something to read, be it the other side's end.
func (t *Stream) Await() error {
	if t.tls != nil { // which may have it already
		if err := t.Fill(); err != io.EOF {
			return err
		}
		return nil
	}
	var one [1]byte
	return t.raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return err != syscall.EAGAIN
	})
}

// Pending tells whether unread octets lie in the kernel.
func (t *Stream) Pending() bool {
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

// Closed tells whether the other side has closed its writing half, or all of the
// connection. It may be asked while somebody else uses the stream.
func (t *Stream) Closed() (half, whole bool) {
	if t.raw.Control(func(fd uintptr) { half, whole = sysClosed(int(fd)) }) != nil {
		return true, true
	}
	return half, whole
}

// Expire makes a read that waits, and every later one, fail with a time-out.
func (t *Stream) Expire() { t.Conn.SetReadDeadline(time.Unix(1, 0)) }
