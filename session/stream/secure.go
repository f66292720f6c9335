// TLS on a stream. This file owns how crypto/tls is made to do without waiting: it reads
// what has come, and what there is no room for waits sealed.

package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// ErrClear is what Secure returns when octets that came in clear are still unread: whoever
// reads them under TLS would take them for something said under TLS (RFC 3207, 4.2).
var ErrClear = errors.New("octets in clear before the handshake")

// piece is how much is sealed at a time, in octets: a record (RFC 8446, 5.1).
const piece = 16 << 10

// maxUntaken is how much may be sealed and find no room before nothing more is opened, in
// octets: far more than a piece. The rest is what crypto/tls itself has answered, to a side
// that has it change keys again and again, and takes no octet.
const maxUntaken = 4 * piece

var errUntaken = errors.New("answers to TLS itself are not taken")

// Secure has all further octets of the connection go through TLS, when the handshake of
// the connection that begin returns has succeeded. It waits for that. After an error, or
// when ctx is over before, the connection is closed. Nobody else may read or write
// meanwhile.
func (t *Stream) Secure(ctx context.Context, begin func(net.Conn) *tls.Conn) (tls.ConnectionState, error) {
	if t.Buffered() > 0 {
		t.Close()
		return tls.ConnectionState{}, ErrClear
	}
	return t.secure(&wire{t: t, ctx: ctx}, begin)
}

// SecureFirst is Secure of a connection that begins with TLS: octets that are buffered are
// the first of it.
func (t *Stream) SecureFirst(ctx context.Context, begin func(net.Conn) *tls.Conn) (tls.ConnectionState, error) {
	w := &wire{t: t, ctx: ctx, early: append([]byte(nil), t.Bytes()...)}
	t.Skip(len(w.early)) // it has none of the other side's
	return t.secure(w, begin)
}

func (t *Stream) secure(w *wire, begin func(net.Conn) *tls.Conn) (tls.ConnectionState, error) {
	ctx := w.ctx
	conn := begin(w)
	t.wire = w
	err := conn.HandshakeContext(ctx)
	for err == nil && len(w.sealed) > 0 { // our last words of it
		if err = t.flush(); err == ErrAgain {
			err = t.Await(ctx, loop.Writable)
		}
	}
	if err != nil {
		t.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return tls.ConnectionState{}, err
	}
	w.ctx = nil
	t.tls = conn
	return conn.ConnectionState(), nil
}

// Secured tells whether there is TLS.
func (t *Stream) Secured() bool { return t.tls != nil }

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
	t      *Stream
	ctx    context.Context // of the handshake, which may wait; nil: it is over
	early  []byte          // what was read before it began
	sealed []byte          // what is to be written
}

// readTLS is read of what TLS makes of the octets; an error may follow octets.
func (t *Stream) readTLS(p []byte) (n int, err error) {
	n, err = t.tls.Read(p)
	t.dry = errors.Is(err, errAgain)
	if t.dry {
		err = ErrAgain
	}
	if n == 0 && err == nil { // there is nothing in a record
		err = ErrAgain
	}
	return n, err
}

// writeTLS is Write: it seals no more while what was sealed before finds no room.
func (t *Stream) writeTLS(p []byte) (n int, err error) {
	for {
		if err := t.flush(); err != nil || n == len(p) {
			return n, err
		}
		k, err := t.tls.Write(p[n:min(len(p), n+piece)])
		n += k
		if err != nil {
			return n, err
		}
	}
}

// flush writes what is sealed.
func (t *Stream) flush() error {
	w := t.wire
	if len(w.sealed) == 0 {
		return nil
	}
	n, err := t.write(w.sealed)
	if w.sealed = w.sealed[n:]; len(w.sealed) == 0 {
		w.sealed = nil
	}
	return err
}

func (w *wire) Read(p []byte) (n int, err error) {
	// What answers TLS itself has nobody else to write it.
	if err := w.t.flush(); err == ErrAgain && len(w.sealed) > maxUntaken {
		return 0, errUntaken
	}
	if len(w.early) > 0 {
		n = copy(p, w.early)
		w.early = w.early[n:]
		return n, nil
	}
	for {
		n, err = w.t.read(p)
		switch {
		case err == ErrAgain && w.ctx == nil:
			return 0, errAgain
		case err == ErrAgain:
			news := loop.Readable
			if w.t.flush() == ErrAgain {
				news |= loop.Writable
			}
			if err := w.t.Await(w.ctx, news); err != nil {
				return 0, err
			}
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Write takes all of p: what there is no room for is written later.
func (w *wire) Write(p []byte) (int, error) {
	n := 0
	if len(w.sealed) == 0 {
		var err error
		if n, err = w.t.write(p); err != nil && err != ErrAgain {
			return n, err
		}
	}
	w.sealed = append(w.sealed, p[n:]...)
	return len(p), nil
}

func (w *wire) Close() error {
	w.t.Close()
	return nil
}

// LocalAddr and RemoteAddr name what crypto/tls remembers sessions by.
func (w *wire) LocalAddr() net.Addr            { return net.TCPAddrFromAddrPort(w.t.Local()) }
func (w *wire) RemoteAddr() net.Addr           { return net.TCPAddrFromAddrPort(w.t.Remote()) }
func (*wire) SetDeadline(time.Time) error      { return nil }
func (*wire) SetReadDeadline(time.Time) error  { return nil }
func (*wire) SetWriteDeadline(time.Time) error { return nil }
