package stream

import "context"

// Raw is a descriptor that its owner reads and writes by other means than a Stream's: a link
// to another room. It is a syscall.RawConn.
type Raw struct{ s Stream }

// OpenRaw takes a descriptor, which must not block. Owner is told of news.
func OpenRaw(p Poller, fd int, owner Owner) (*Raw, error) {
	r := new(Raw)
	return r, r.s.Open(p, fd, owner)
}

// Close closes the descriptor; whoever waits for it is woken.
func (r *Raw) Close() error {
	r.s.Close()
	return nil
}

// Control calls f with the descriptor, which nobody closes meanwhile. The error is
// net.ErrClosed.
func (r *Raw) Control(f func(fd uintptr)) error {
	return r.s.With(func(fd int) error {
		f(uintptr(fd))
		return nil
	})
}

// Read calls f until it is done, and waits before each further time until there is something
// to read. One goroutine at a time may wait, be it in Write. The error is net.ErrClosed.
func (r *Raw) Read(f func(fd uintptr) (done bool)) error { return r.until(Readable, f) }

// Write is Read for who writes.
func (r *Raw) Write(f func(fd uintptr) (done bool)) error { return r.until(Writable, f) }

func (r *Raw) until(n News, f func(fd uintptr) bool) error {
	for {
		done := false
		err := r.s.With(func(fd int) error {
			r.s.news.And(^uint32(n)) // what comes from now on is news
			if done = f(uintptr(fd)); !done {
				r.s.poller.await(fd, n)
			}
			return nil
		})
		if done || err != nil {
			return err
		}
		if err := r.s.Await(context.Background(), n); err != nil {
			return err
		}
	}
}

// Again has it be news when there is something to read, for who has read all by Control.
func (r *Raw) Again() {
	r.s.With(func(fd int) error {
		r.s.poller.await(fd, Readable)
		return nil
	})
}
