// One side of a connection of the command bench: lines and texts out of a buffer that is
// small until a text comes. This file owns the buffer and the time limit of what is waited
// for; it knows no command.

package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// lineSize is the buffer of a session that says and hears lines only: of 10,000 idle
	// ones each has it. It holds twice the longest line of RFC 5321, 4.5.3.1.
	lineSize = 1 << 10
	// textSize is that of one that has met a text.
	textSize = 64 << 10
)

var errLongLine = errors.New("a line without an end")

var texts = sync.Pool{New: func() any { return new([textSize]byte) }}

// wire is a connection and what was read ahead of it.
type wire struct {
	net.Conn
	buf   []byte
	r, w  int             // what is read and not yet taken
	text  *[textSize]byte // the buffer of a text, once there was one
	quiet time.Duration   // how long the other side may be silent; 0: the caller sets limits
	until time.Time       // the limit that this has set
}

func newWire(c net.Conn) *wire { return &wire{Conn: c, buf: make([]byte, lineSize)} }

// close ends the connection.
func (w *wire) close() {
	w.Conn.Close()
	if w.text != nil {
		texts.Put(w.text)
		w.text, w.buf, w.r, w.w = nil, nil, 0, 0
	}
}

// enlarge makes room for a text.
func (w *wire) enlarge() {
	if w.text != nil {
		return
	}
	w.text = texts.Get().(*[textSize]byte)
	w.w = copy(w.text[:], w.buf[w.r:w.w])
	w.r, w.buf = 0, w.text[:]
}

// more reads on, behind what there is.
func (w *wire) more() error {
	if w.r > 0 {
		w.w = copy(w.buf, w.buf[w.r:w.w])
		w.r = 0
	}
	if w.w == len(w.buf) {
		return errLongLine
	}
	if w.quiet > 0 {
		// A limit is renewed when a tenth of it is gone, not at each read.
		if now := time.Now(); w.until.Sub(now) < w.quiet*9/10 {
			w.until = now.Add(w.quiet)
			if err := w.SetDeadline(w.until); err != nil {
				return err
			}
		}
	}
	n, err := w.Read(w.buf[w.w:])
	w.w += n
	if n > 0 {
		return nil
	}
	return err
}

// line returns the next line without its end; it is good until the next call.
func (w *wire) line() ([]byte, error) {
	for seen := 0; ; {
		if i := bytes.IndexByte(w.buf[w.r+seen:w.w], '\n'); i >= 0 {
			line := w.buf[w.r : w.r+seen+i]
			w.r += seen + i + 1
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		seen = w.w - w.r
		if err := w.more(); err != nil {
			return nil, err
		}
	}
}

// lineAhead tells whether another line was read already.
func (w *wire) lineAhead() bool { return bytes.IndexByte(w.buf[w.r:w.w], '\n') >= 0 }

var textEnd = []byte("\r\n.\r\n")

// skipText reads a text to its end, RFC 5321, 4.1.1.4, and returns its octets without that.
func (w *wire) skipText() (octets int64, err error) {
	w.enlarge()
	for first := true; ; {
		ahead := w.buf[w.r:w.w]
		if first && len(ahead) >= 3 {
			if bytes.HasPrefix(ahead, textEnd[2:]) {
				w.r += 3
				return 0, nil
			}
			first = false
		}
		if i := bytes.Index(ahead, textEnd); i >= 0 {
			w.r += i + len(textEnd)
			return octets + int64(i) + 2, nil
		}
		if !first {
			// The end may have begun: its last octet alone is surely not there.
			done := max(len(ahead)-len(textEnd)+1, 0)
			w.r += done
			octets += int64(done)
		}
		if err := w.more(); err != nil {
			return octets, err
		}
	}
}

// skip reads n octets.
func (w *wire) skip(n int64) error {
	w.enlarge()
	for {
		ahead := min(int64(w.w-w.r), n)
		w.r += int(ahead)
		if n -= ahead; n == 0 {
			return nil
		}
		if err := w.more(); err != nil {
			return err
		}
	}
}

// secure begins TLS on what was a plain connection; what was said before it and read ahead
// is an error, RFC 3207, 4.2.
func (w *wire) secure(c *tls.Conn) error {
	if w.w > w.r {
		return errors.New("something was said before TLS had begun")
	}
	w.Conn = c
	return c.Handshake()
}
