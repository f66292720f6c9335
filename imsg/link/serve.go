// Receiving: every datagram is held against the table, decoded, and given to the
// call it answers or to the room's handler.

package link

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// Request is a message that arrived. Files are the handler's to close.
type Request struct {
	Message imsg.Message
	Files   []*os.File
	Until   time.Time // its asker waits no longer; zero for what is told or reported

	conn *Conn
	id   uint32
	by   *reader
}

// Handler takes what arrives. It runs on the link's reader: it must not block.
// A Request may be answered later, from any goroutine. A question whose asker
// waits no more does not get here.
type Handler func(Request)

// Behind has f done behind the handler, which must be who calls this, and calls it: f may
// take its time, as a file does.
func (r Request) Behind(f func()) {
	r.by.behind = append(r.by.behind, func(turn *loop.Turn) {
		if turn.Wary() {
			go f()
		} else {
			turn.Slow(f)
		}
	})
}

// From returns the link the request came by.
func (r Request) From() *Conn { return r.conn }

// Reply is what a question is answered by. A is the one type that answers it.
type Reply[A any] struct{ Request }

// ReplyTo returns what answers q, the question that r brought.
func ReplyTo[A any](r Request, q imsg.Question[A]) Reply[A] { return Reply[A]{r} }

// Answer answers the question.
func (r Reply[A]) Answer(a *A) { r.answer(a) }

// Fail answers a question with an error.
func (r Request) Fail(k imsg.Errno) { r.answer(&imsg.Failure{Errno: k}) }

// answer sends what answers a question. A peer that does not take its answers is
// cut off: Serve then ends as at a bad message, for a living room without its link
// would serve nobody. An answer that cannot be said is Internal, so that nobody waits
// for it in vain.
func (r Request) answer(m imsg.Message) {
	err := r.conn.send(imsg.Row(m), m, header{id: r.id}, nil)
	var unsayable imsg.RuleError
	if errors.As(err, &unsayable) {
		failure := &imsg.Failure{Errno: imsg.Internal}
		err = r.conn.send(imsg.Row(failure), failure, header{id: r.id}, nil)
	}
	if err == imsg.Busy {
		r.conn.overflowed.Store(true)
		r.conn.Close()
	}
}

// Close closes the files that came with the request.
func (r Request) Close() { closeAll(r.Files) }

// Serve reads the link until it ends and returns nil, or until something comes
// that the table does not allow and returns an error that wraps ErrBadMessage.
// Any other error is the system's, and not the peer's fault: the link cannot be read or
// written any more, or lacks the descriptor of what was told.
// In each case the link is closed then.
func (c *Conn) Serve(handle Handler) error {
	r := c.newReader(handle)
	for {
		if c.reads.Read(r.in.try) != nil { // closed by ourselves
			return r.end(io.EOF)
		}
		err := r.took()
		for _, f := range r.left() {
			f(loop.Passing)
		}
		if err != nil {
			return r.end(err)
		}
	}
}

// reader takes what comes by a link. One goroutine at a time uses it.
type reader struct {
	c      *Conn
	in     *datagram
	heard  imsg.Meter
	handle Handler
	behind []func(*loop.Turn)
}

func (c *Conn) newReader(handle Handler) *reader {
	return &reader{c: c, in: newDatagram(largest(c.peer, c.self)+headerLen, bringsFiles(c.peer, c.self)), heard: imsg.Meter{Pace: c.pace}, handle: handle}
}

// next takes what has come, if that is something, and does not wait. Once over is true the
// link is closed, and the error is Serve's.
func (r *reader) next() (over bool, err error) {
	did := false
	closed := r.c.raw.Control(func(fd uintptr) {
		for did = r.in.try(fd); !did && r.in.err == unix.EINTR; {
			did = r.in.try(fd)
		}
	})
	switch {
	case closed != nil:
		return true, r.end(io.EOF)
	case !did:
		return false, nil
	}
	if err := r.took(); err != nil {
		return true, r.end(err)
	}
	return false, nil
}

// left returns what is to be done behind what came.
func (r *reader) left() []func(*loop.Turn) {
	behind := r.behind
	r.behind = nil
	return behind
}

// took judges what was read, and hands it on.
func (r *reader) took() error {
	data, files, err := r.c.received(r.in)
	switch {
	case err != nil:
	case r.c.pace.Burst > 0 && !r.heard.Take(1, time.Now()):
		err = fmt.Errorf("from %s: %w", r.c.peer, bad("it does not stop talking"))
	default:
		if err = r.c.take(data, files, r.in.flags&unix.MSG_CTRUNC != 0, r); err == nil {
			return nil
		}
		err = fmt.Errorf("from %s: %w", r.c.peer, err)
	}
	closeAll(files)
	return err
}

// end closes the link, and returns what Serve does.
func (r *reader) end(err error) error {
	c := r.c
	defer c.Close()
	switch {
	case c.overflowed.Load():
		return bad("%s does not take its answers", c.peer)
	case errors.Is(err, io.EOF):
		c.sendMu.Lock()
		defer c.sendMu.Unlock()
		return c.failure
	}
	return err
}

// errNoneFree is the cause of the end of a link by which something came without its
// descriptor.
var errNoneFree = errors.New("no descriptor is free for what comes along")

// take judges a message and hands it on. Descriptors are lost when more come than any
// message has, which is the peer's fault, or when this end has none free.
func (c *Conn) take(data []byte, files []*os.File, lost bool, by *reader) error {
	h, err := parseHeader(data)
	if err != nil {
		return err
	}
	e := imsg.RowOf(h.typ)
	if e == nil {
		return bad("unknown type %d", h.typ)
	}
	denied := e.Denied.Has(c.peer) // whatever comes along
	wrong := len(files) > e.Files || len(files) == e.Files && lost || len(files) < e.Files && !lost
	switch {
	case !e.Crosses(c.peer, c.self):
		return bad("%s may not say %s to %s", c.peer, e.Name, c.self)
	case wrong && !denied:
		return bad("%s with %d files, not %d, some lost: %t", e.Name, len(files), e.Files, lost)
	case (h.id == 0) != (e.Way == imsg.Tell):
		return bad("%s with call id %d", e.Name, h.id)
	case (h.until == 0) != (e.Way != imsg.Ask):
		return bad("%s with deadline %d", e.Name, h.until)
	}
	if denied {
		Request{conn: c, id: h.id}.Fail(imsg.ReadOnly)
		closeAll(files)
		return nil
	}
	k := codecs.Get().(*codec)
	defer k.free()
	m, err := k.decode(e, data[headerLen:])
	if err != nil {
		return err
	}
	if c.self == imsg.Control { // it shows what it hears
		imsg.MakePrintable(m)
	}
	if e.Way == imsg.Answer {
		return c.settle(e, h.id, m, by)
	}
	if m, ok := m.(*imsg.GiveUp); ok {
		c.givenUp(m.ID)
		return nil
	}
	r := Request{Message: m, Files: files, conn: c, id: h.id, by: by}
	if e.Way == imsg.Ask && !e.Report {
		r.Until = time.Now().Add(time.Duration(h.until - monotonic()))
		if r.Late() {
			r.Close()
			r.Fail(imsg.Timeout)
			return nil
		}
	}
	if len(files) < e.Files {
		return c.lack(r)
	}
	by.handle(r)
	return nil
}

// lack deals with what has come without its descriptors. A question fails alone.
func (c *Conn) lack(r Request) error {
	switch {
	case imsg.Row(r.Message).Way == imsg.Ask:
		r.Fail(imsg.Resource)
	case imsg.Row(r.Message).Spare:
	case c.lacking == nil || !c.lacking(r.Message):
		return fmt.Errorf("%T: %w", r.Message, errNoneFree)
	}
	r.Close()
	return nil
}
