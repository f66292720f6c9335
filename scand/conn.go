// A connection to a scanner. This file owns the socket and how it is waited for: by the
// room's loop, or else who scans sits in poll(2) himself, past the runtime's poller. No
// other thread stands between a scanner's word and who waits for it.

package scand

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// errClosed is the end of a connection before an octet of an answer has come.
var errClosed = errors.New("closed without an answer")

// conn is a connection that is used by one scan at a time; only shutdown and Happened may
// be called beside that.
type conn struct {
	fd   int
	ctx  context.Context // of the scan
	stop func() bool     // has ctx leave the connection alone
	by   loop.Poller     // that watches it; nil: none

	mu     sync.Mutex
	closed bool
	work   *loop.Work // that waits for it; nil: a goroutine's scan
}

// attach has the connection serve a scan until ctx ends; then it is shut down.
func (c *conn) attach(ctx context.Context) {
	c.mu.Lock()
	c.work = workOf(ctx)
	c.mu.Unlock()
	c.ctx, c.stop = ctx, context.AfterFunc(ctx, c.shutdown)
}

// detach ends what attach began. False means that the scan's time was over first: the
// connection is of no use any more.
func (c *conn) detach() bool {
	c.mu.Lock()
	c.work = nil
	c.mu.Unlock()
	return c.stop()
}

func (c *conn) shutdown() {
	c.mu.Lock()
	if !c.closed {
		unix.Shutdown(c.fd, unix.SHUT_RDWR)
	}
	c.mu.Unlock()
	c.Happened(nil, loop.Ended) // of what is not connected yet there may be no news
}

func (c *conn) close() {
	c.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	if c.by != nil {
		c.by.Remove(c.fd, false)
	}
	unix.Close(c.fd)
}

// Happened is called by the poller that watches it.
func (c *conn) Happened(turn *loop.Turn, _ loop.News) {
	c.mu.Lock()
	w := c.work
	c.mu.Unlock()
	if w != nil {
		w.News(turn)
	}
}

// connect connects a socket that does not block.
func (c *conn) connect(to unix.Sockaddr) error {
	err := unix.Connect(c.fd, to)
	if err == unix.EINPROGRESS || err == unix.EINTR {
		for !c.ready(unix.POLLOUT) {
			if err := c.wait(unix.POLLOUT); err != nil {
				return err
			}
		}
		var errno int
		if errno, err = unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && errno != 0 {
			err = unix.Errno(errno)
		}
	}
	return os.NewSyscallError("connect", err)
}

// wait waits until there is news of the socket, or the scan's time is over.
func (c *conn) wait(events int16) error {
	if c.watched() {
		return c.pause(events)
	}
	fds := []unix.PollFd{{Fd: int32(c.fd), Events: events}}
	for {
		n, err := unix.Poll(fds, c.left())
		switch {
		case c.ctx.Err() != nil:
			return c.over()
		case err == unix.EINTR:
		case err != nil:
			return os.NewSyscallError("poll", err)
		case n == 0:
			return os.ErrDeadlineExceeded
		default:
			return nil
		}
	}
}

// watched tells whether the room's loop has news of the socket for who waits.
func (c *conn) watched() bool {
	if c.work == nil {
		return false
	}
	if c.by == nil {
		if c.work.Poller.Add(c.fd, c, loop.Changes) != nil {
			c.work.Aside() // to wait as a goroutine's scan does
			return false
		}
		c.by = c.work.Poller
	}
	return true
}

// pause is wait in the room's loop, whose news may be another's: who waits finds out.
func (c *conn) pause(events int16) error {
	what := loop.Readable
	if events == unix.POLLOUT {
		what = loop.Writable
	}
	c.by.Await(c.fd, what)
	c.work.Pause()
	if c.ctx.Err() != nil {
		return c.over()
	}
	return nil
}

// left is the scan's time in milliseconds, as poll(2) has it.
func (c *conn) left() int {
	until, ok := c.ctx.Deadline()
	if !ok {
		return -1
	}
	return int(max(0, time.Until(until)+time.Millisecond-1) / time.Millisecond)
}

// over is what became of a scan whose context has ended.
func (c *conn) over() error {
	if err := c.ctx.Err(); err != context.DeadlineExceeded {
		return err
	}
	return os.ErrDeadlineExceeded
}

// Read waits for octets. What the end of the scan's time does to the socket is never
// taken for the scanner's end.
func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(c.fd, p)
		switch {
		case n > 0:
			return n, nil
		case err == unix.EAGAIN:
			if err := c.wait(unix.POLLIN); err != nil {
				return 0, err
			}
		case err == unix.EINTR:
		case c.ctx.Err() != nil:
			return 0, c.over()
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		default:
			return 0, io.EOF
		}
	}
}

// Write writes all of p.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.send(p, nil); err != nil {
		return 0, err
	}
	return len(p), nil
}

// send writes all of p; rights are descriptors that go with its first octet.
func (c *conn) send(p, rights []byte) error {
	for len(p) > 0 {
		n, err := unix.SendmsgN(c.fd, p, rights, nil, unix.MSG_NOSIGNAL)
		switch {
		case err == nil:
			p, rights = p[n:], nil
		case err == unix.EAGAIN:
			if err := c.wait(unix.POLLOUT); err != nil {
				return err
			}
		case err == unix.EINTR:
		case c.ctx.Err() != nil:
			return c.over()
		default:
			return os.NewSyscallError("sendmsg", err)
		}
	}
	return nil
}

// closeWrite tells the scanner that no more will come.
func (c *conn) closeWrite() error {
	return os.NewSyscallError("shutdown", unix.Shutdown(c.fd, unix.SHUT_WR))
}

// quiet tells that the other end has neither closed nor said anything.
func (c *conn) quiet() bool { return !c.ready(unix.POLLIN) }

// ready tells whether what is waited for is there, be it an error.
func (c *conn) ready(events int16) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: events}}, 0)
	return n != 0 || err != nil
}

// ask has send write a question and reads the answer to the connection's end, or up to
// the octet end if that is not negative. The error is errClosed when the scanner has
// closed and said nothing.
//
// An answer may come with an error from send: a scanner that refuses a message
// answers and closes while we still write. Such an answer never makes a message clean.
func (c *conn) ask(end int, send func(*conn) error) (answer []byte, sendErr error, err error) {
	if sendErr = send(c); sendErr != nil {
		sendErr = fmt.Errorf("send: %w", sendErr)
		if !hungUp(sendErr) {
			return nil, nil, sendErr
		}
	}
	answer, err = readAnswer(c, end)
	switch {
	case (hungUp(err) || err == nil && len(answer) == 0) && sendErr != nil:
		return nil, nil, fmt.Errorf("%w: %w", errClosed, sendErr)
	case hungUp(err), err == nil && len(answer) == 0:
		return nil, nil, errClosed
	case err != nil:
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	return answer, sendErr, nil
}

// hungUp tells that the other end has closed while we still wrote.
func hungUp(err error) bool {
	return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
}
