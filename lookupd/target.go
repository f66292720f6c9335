// Who can say which server a connection was meant for: a helper on the router, or
// the packet filter of this machine. This file owns what they have in common, and
// how their errors cross to a session.

package lookupd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lookupd/nat"
	"github.com/smtp-gated/smtp-gated/lookupd/wire"
)

// A finder finds what client wanted when it came to local. Its errors wrap the
// imsg.Errno that a session gets to know; without one it is Internal. It keeps its
// own time.
type finder interface {
	find(ctx context.Context, client, local netip.AddrPort) (wire.Answer, error)
}

// withErrno wraps err with the imsg.Errno under which it crosses.
func withErrno(err error) error {
	var timeout net.Error
	errno := imsg.Internal
	switch {
	case errors.Is(err, wire.ErrNotFound), errors.Is(err, nat.ErrNotFound):
		errno = imsg.NotFound
	case errors.Is(err, wire.ErrMismatch), errors.Is(err, nat.ErrFamily):
		errno = imsg.Invalid
	case errors.Is(err, wire.ErrMalformed):
		errno = imsg.Malformed
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		errno = imsg.Timeout
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		errno = imsg.Resource
	}
	return fmt.Errorf("%w: %w", errno, err)
}

// maxRouters bounds the questions to routers on their way; each has a socket.
const maxRouters = 384

// routers is what both ways to a helper need. The helper runs on the client's
// address, which is the router's, and is asked from the address the client came
// to: that is how it knows which connection is meant.
type routers struct {
	port  uint16
	limit time.Duration // of one try
	slots chan struct{}
}

// acquire waits for a slot; release gives it back.
func (r *routers) acquire(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	select {
	case r.slots <- struct{}{}:
		return nil
	case <-wait.Done():
		return fmt.Errorf("%w: too many questions to routers", imsg.Busy)
	}
}

func (r *routers) release() { <-r.slots }

func (r *routers) helper(client netip.AddrPort) string {
	return netip.AddrPortFrom(client.Addr(), r.port).String()
}

// filter asks the packet filter through the device that the parent handed over.
type filter struct {
	look   func(k nat.Kernel, client, local netip.AddrPort) (netip.AddrPort, error)
	kernel atomic.Pointer[nat.Kernel] // nil before the device came
}

// open takes device over; only then may the room be asked.
func (f *filter) open(device *os.File) error {
	if f.kernel.Load() != nil {
		device.Close()
		return errors.New("a second packet filter came")
	}
	kernel := nat.Device(device)
	f.kernel.Store(&kernel)
	return nil
}

func (f *filter) find(_ context.Context, client, local netip.AddrPort) (wire.Answer, error) {
	kernel := f.kernel.Load()
	if kernel == nil {
		return wire.Answer{}, errors.New("the packet filter did not come")
	}
	target, err := f.look(*kernel, client, local)
	if err != nil {
		return wire.Answer{}, withErrno(err)
	}
	return wire.Answer{Target: target}, nil
}
