package loop

import (
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Raw is a descriptor that its owner reads and writes by means of his own: a link to another
// room.
type Raw struct {
	poller Poller
	owner  Owner
	heard  atomic.Pointer[chan struct{}] // of who waits in Write

	mu   sync.Mutex // held while the descriptor is used, so that it is not another's then
	fd   int
	open bool
}

// OpenRaw takes a descriptor, which must not block. Owner is told for as long as there is
// something to read.
func OpenRaw(p Poller, fd int, owner Owner) (*Raw, error) {
	r := &Raw{poller: p, owner: owner, fd: fd, open: true}
	if err := p.Add(fd, r, State); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return r, nil
}

// Happened is called by the poller.
func (r *Raw) Happened(turn *Turn, n News) {
	if n&Writable != 0 {
		r.wake()
	}
	if n&Readable != 0 {
		r.owner.News(turn)
		r.await(Readable)
	}
}

func (r *Raw) wake() {
	if heard := r.heard.Load(); heard != nil {
		select {
		case *heard <- struct{}{}:
		default:
		}
	}
}

func (r *Raw) await(n News) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open {
		r.poller.Await(r.fd, n)
	}
}

// Close closes the descriptor; whoever waits for it is woken.
func (r *Raw) Close() error {
	r.mu.Lock()
	if r.open {
		r.open = false
		r.poller.Remove(r.fd, true) // another process may still have it
		unix.Close(r.fd)
	}
	r.mu.Unlock()
	r.wake()
	return nil
}

// Control calls f with the descriptor, which nobody closes meanwhile. The error is
// net.ErrClosed.
func (r *Raw) Control(f func(fd uintptr)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.open {
		return net.ErrClosed
	}
	f(uintptr(r.fd))
	return nil
}

// Write calls f until it is done, and waits before each further time until there is room to
// write. One goroutine at a time may wait. The error is net.ErrClosed.
func (r *Raw) Write(f func(fd uintptr) (done bool)) error {
	heard := make(chan struct{}, 1)
	r.heard.Store(&heard)
	defer r.heard.Store(nil)
	for {
		done := false
		if err := r.Control(func(fd uintptr) { done = f(fd) }); done || err != nil {
			return err
		}
		r.await(Writable)
		<-heard
	}
}
