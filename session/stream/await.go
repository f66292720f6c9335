package stream

import (
	"context"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// This file owns what waits for news in a goroutine of its own: handshakes, last words,
// and connections that are being made.

// Await returns when there is one of the news. The error is that of ctx, or net.ErrClosed.
// One goroutine at a time may wait.
func (t *Stream) Await(ctx context.Context, n News) error {
	heard := make(chan struct{}, 1)
	t.heard.Store(&heard)
	defer t.heard.Store(nil)
	for {
		if t.With(func(int) error { return nil }) != nil {
			return net.ErrClosed
		}
		if t.has(n) {
			return nil
		}
		select {
		case <-heard:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// FillUntil is Fill, and waits for what comes.
func (t *Stream) FillUntil(ctx context.Context) error {
	for {
		err := t.Fill()
		if err != ErrAgain {
			return err
		}
		if err := t.Await(ctx, Readable); err != nil {
			return err
		}
	}
}

// WriteUntil writes all of p, and waits for room.
func (t *Stream) WriteUntil(ctx context.Context, p []byte) error {
	for {
		n, err := t.Write(p)
		if err != ErrAgain {
			return err
		}
		p = p[n:]
		if err := t.Await(ctx, Writable); err != nil {
			return err
		}
	}
}

// Connect has the stream's socket, which is not connected, connected to an address. The
// error is that of the system or of ctx.
func (t *Stream) Connect(ctx context.Context, to unix.Sockaddr) error {
	err := t.With(func(fd int) error {
		t.news.And(^uint32(Writable))
		return unix.Connect(fd, to)
	})
	for err == unix.EINPROGRESS || err == unix.EINTR || err == unix.ENOTCONN {
		if err = t.With(func(fd int) error { t.poller.await(fd, Writable); return nil }); err != nil {
			break
		}
		if err = t.Await(ctx, Writable); err != nil {
			return err
		}
		err = t.With(func(fd int) error {
			errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err == nil && errno != 0 {
				err = unix.Errno(errno)
			}
			if err == nil {
				// A socket nobody has connected yet counts as writable: this may be the
				// news of then.
				t.news.And(^uint32(Writable))
				if _, err = unix.Getpeername(fd); err == nil {
					t.news.Or(uint32(Writable))
				}
			}
			return err
		})
	}
	if err == nil {
		// TCP connects a socket to itself where nobody listens at the port that it got.
		if t.Local() == t.Remote() {
			err = unix.ECONNREFUSED
		}
	}
	if err == net.ErrClosed {
		return err
	}
	return os.NewSyscallError("connect", err)
}

// zone is the name of an interface, or its number where it has none.
func zone(id uint32) string {
	if i, err := net.InterfaceByIndex(int(id)); err == nil {
		return i.Name
	}
	return strconv.Itoa(int(id))
}
