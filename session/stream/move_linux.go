package stream

import (
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const canSplice = true

const (
	// spliceSize is how much is moved at a time, in octets: what a pipe holds (pipe(7)).
	spliceSize = 64 << 10
	// sparePipes is how many empty pipes are kept.
	sparePipes = 8
)

// pipe is where octets are on their way from one socket to another (splice(2)).
type pipe struct {
	r, w int
	n    int // octets in it
}

var spare struct {
	sync.Mutex
	pipes []*pipe
}

func newPipe() (*pipe, error) {
	spare.Lock()
	defer spare.Unlock()
	if n := len(spare.pipes); n > 0 {
		p := spare.pipes[n-1]
		spare.pipes = spare.pipes[:n-1]
		return p, nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	return &pipe{r: fds[0], w: fds[1]}, nil
}

// close gives a pipe back, if it is empty.
func (p *pipe) close() {
	spare.Lock()
	defer spare.Unlock()
	if p.n == 0 && len(spare.pipes) < sparePipes {
		spare.pipes = append(spare.pipes, p)
		return
	}
	unix.Close(p.r)
	unix.Close(p.w)
}

// splice moves a pipe's fill.
func (t *Stream) splice(to *Stream) (n int, err error) {
	if t.pipe == nil {
		if n, err = t.fillPipe(); n == 0 {
			return 0, err
		}
	}
	err = to.emptyPipe(t.pipe)
	if err == nil {
		t.pipe.close()
		t.pipe = nil
	}
	return n, err
}

// fillPipe takes a pipe and what has come.
func (t *Stream) fillPipe() (n int, err error) {
	if !t.has(Readable) {
		return 0, ErrAgain
	}
	p, err := newPipe()
	if err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.open {
		p.close()
		return 0, net.ErrClosed
	}
	t.news.And(^uint32(Readable))
	p.n, err = move(t.fd, p.w, spliceSize)
	switch {
	case err == unix.EAGAIN:
		t.poller.await(t.fd, Readable)
		err = ErrAgain
	case err != nil:
		err = os.NewSyscallError("splice", err)
	case p.n == 0:
		err = io.EOF
	}
	if err != ErrAgain {
		t.news.Or(uint32(Readable))
	}
	if err != nil {
		p.n = 0
		p.close()
		return 0, err
	}
	t.pipe = p
	return p.n, nil
}

// emptyPipe writes what is in a pipe.
func (t *Stream) emptyPipe(p *pipe) error {
	if !t.has(Writable) {
		return ErrAgain
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for p.n > 0 {
		if !t.open {
			return net.ErrClosed
		}
		t.news.And(^uint32(Writable))
		n, err := move(p.r, t.fd, p.n)
		if err == unix.EAGAIN {
			t.poller.await(t.fd, Writable)
			return ErrAgain
		}
		t.news.Or(uint32(Writable))
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
