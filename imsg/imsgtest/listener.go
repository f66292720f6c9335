package imsgtest

import (
	"net"
	"syscall"
)

// FailingListener accepts nobody: it fails for want of memory as often as Left says,
// and is closed then.
type FailingListener struct {
	net.Listener
	Left int
}

// Accept implements net.Listener.
func (l *FailingListener) Accept() (net.Conn, error) {
	if l.Left--; l.Left < 0 {
		return nil, net.ErrClosed
	}
	return nil, syscall.ENOBUFS
}
