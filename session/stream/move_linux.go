package stream

import (
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

const canSplice = true

// spliceSize is how much is moved at a time, in octets: what a pipe holds (pipe(7)).
const spliceSize = 64 << 10

// pipe is where octets are on their way from one socket to another (splice(2)). There is
// one only while there are octets.
type pipe struct {
	r, w int
	n    int // octets in it
}

func newPipe() (*pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	return &pipe{r: fds[0], w: fds[1]}, nil
}

func (p *pipe) close() {
	unix.Close(p.r)
	unix.Close(p.w)
}

// splice moves a pipe's fill.
func (t *Stream) splice(to *Stream) (n int, err error) {
	if t.pipe == nil || t.pipe.n == 0 {
		if n, err = t.fillPipe(); err != nil {
			return 0, err
		}
	}
	return n, to.emptyPipe(t.pipe)
}

// fillPipe has what has come in a pipe.
func (t *Stream) fillPipe() (n int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer func() {
		if err != nil && t.pipe != nil {
			t.pipe.close()
			t.pipe = nil
		}
	}()
	switch {
	case !t.open:
		return 0, net.ErrClosed
	case !t.has(loop.Readable):
		return 0, ErrAgain
	case t.pipe == nil:
		if t.pipe, err = newPipe(); err != nil {
			return 0, err
		}
	}
	t.news.And(^uint32(loop.Readable))
	n, err = move(t.fd, t.pipe.w, spliceSize)
	switch {
	case err == unix.EAGAIN:
		t.poller.Await(t.fd, loop.Readable)
		return 0, ErrAgain
	case err != nil:
		err = os.NewSyscallError("splice", err)
	case n == 0:
		err = io.EOF
	}
	t.news.Or(uint32(loop.Readable))
	t.pipe.n = n
	return n, err
}

// emptyPipe writes what is in a pipe.
func (t *Stream) emptyPipe(p *pipe) error {
	if !t.has(loop.Writable) {
		return ErrAgain
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for p.n > 0 {
		if !t.open {
			return net.ErrClosed
		}
		t.news.And(^uint32(loop.Writable))
		n, err := move(p.r, t.fd, p.n)
		if err == unix.EAGAIN {
			t.poller.Await(t.fd, loop.Writable)
			return ErrAgain
		}
		t.news.Or(uint32(loop.Writable))
		if err != nil {
			return os.NewSyscallError("splice", err)
		}
		p.n -= n
	}
	return nil
}

func move(from, to, n int) (int, error) {
	for {
		k, err := unix.Splice(from, nil, to, nil, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if err != unix.EINTR {
			return max(int(k), 0), err
		}
	}
}
