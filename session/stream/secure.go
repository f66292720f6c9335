// TLS on a stream. This file owns how crypto/tls is made to wait as a stream does: without
// a buffer, in the runtime's poller.

package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// ErrClear is what Secure returns when octets that came in clear are still unread: whoever
// reads them under TLS would take them for something said under TLS (RFC 3207, 4.2).
var ErrClear = errors.New("octets in clear before the handshake")

// Secure has all further octets of the connection go through TLS, when the handshake of
// the connection that begin returns has succeeded. After an error, or when ctx is over
// before, the connection is closed. Nobody else may read or write meanwhile.
func (t *Stream) Secure(ctx context.Context, begin func(net.Conn) *tls.Conn) (tls.ConnectionState, error) {
	if len(t.Bytes()) > 0 {
		t.Conn.Close()
		return tls.ConnectionState{}, ErrClear
	}
	w := &wire{t: t}
	conn := begin(w)
	if err := conn.HandshakeContext(ctx); err != nil {
		t.Conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return tls.ConnectionState{}, err
	}
	t.wire, t.tls = w, conn
	return conn.ConnectionState(), nil
}

// Secured tells whether there is TLS.
func (t *Stream) Secured() bool { return t.tls != nil }

// CloseWrite closes our half of the connection, and waits for nobody.
func (t *Stream) CloseWrite() {
	if t.tls != nil {
		t.wire.hasty = true
		t.tls.CloseWrite()
	}
	t.Conn.CloseWrite()
}

// errAgain says that there are no octets yet. crypto/tls goes on behind it, for it is
// temporary.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "no octets yet" }
func (again) Timeout() bool   { return false }
func (again) Temporary() bool { return true }

// wire is what crypto/tls takes for the connection. Deadlines are the stream's owner's to
// set.
type wire struct {
	t     *Stream
	fd    uintptr
	polls bool // it is read from inside the poller, and must not wait
	hasty bool // what cannot be written at once is not written
}

// tryTLS is sysRead of what TLS makes of the octets, from inside the poller.
func (t *Stream) tryTLS(fd uintptr, p []byte) (int, error) {
	t.wire.fd, t.wire.polls = fd, true
	n, err := t.tls.Read(p)
	t.wire.polls = false
	switch {
	case n > 0:
		return n, nil
	case err == io.EOF:
		return 0, nil
	case errors.Is(err, errAgain):
		return -1, syscall.EAGAIN
	}
	return -1, err
}

func (w *wire) Read(p []byte) (n int, err error) {
	if w.polls {
		n, err = sysRead(w.fd, p)
		if err == syscall.EAGAIN {
			return 0, errAgain
		}
	} else if werr := w.t.raw.Read(func(fd uintptr) bool {
		n, err = sysRead(fd, p)
		return err != syscall.EAGAIN
	}); werr != nil {
		return 0, werr
	}
	switch {
	case err == syscall.EINTR:
		return w.Read(p)
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write is called by one at a time: crypto/tls has a lock.
func (w *wire) Write(p []byte) (int, error) {
	if w.hasty {
		n, err := 0, error(nil)
		w.t.raw.Control(func(fd uintptr) { n, err = sysWrite(fd, p) })
		return max(n, 0), err
	}
	if err := w.t.writeRaw(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *wire) Close() error                   { return w.t.Conn.Close() }
func (w *wire) LocalAddr() net.Addr            { return w.t.Conn.LocalAddr() }
func (w *wire) RemoteAddr() net.Addr           { return w.t.Conn.RemoteAddr() }
func (*wire) SetDeadline(time.Time) error      { return nil }
func (*wire) SetReadDeadline(time.Time) error  { return nil }
func (*wire) SetWriteDeadline(time.Time) error { return nil }
