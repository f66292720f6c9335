// A room's own view of its parent: what every room does in the same way at its
// birth, with its links, and at its end.

package imsg

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// Home is a room's link to the parent.
type Home struct {
	*Conn
	log   *Log
	guard sync.Locker // nil: none
}

// Arrive opens a room's link to the parent, which it is born with, and says
// Hello over it.
func Arrive(f *os.File, self Room) (*Home, error) {
	c, err := NewConn(f, self, Parent)
	if err != nil {
		return nil, err
	}
	h := &Home{Conn: c, log: NewLog(self)}
	if err := h.Send(&Hello{Room: self, PID: os.Getpid(), Fingerprint: Fingerprint()}); err != nil {
		return nil, fmt.Errorf("say hello: %w", err)
	}
	return h, nil
}

// Log returns the room's logger. What is logged before the first Sink is kept,
// within bounds, until there is one.
func (h *Home) Log() *slog.Logger { return h.log.Logger() }

// Guard names the lock that all of a room's work passes. A room that never gives
// it back hangs, however well it reads its links. It must be called before Serve.
func (h *Home) Guard(l sync.Locker) { h.guard = l }

// Serve gives what the parent says to handle, keeping Sink and Ping for itself.
// It returns nil when the parent has ended: then so must the room.
func (h *Home) Serve(handle Handler) error {
	defer h.log.Flush()
	return h.Conn.Serve(func(r Request) {
		switch m := r.Message.(type) {
		case *Sink:
			h.log.SetSink(m, r.Files[0])
		case *Ping:
			h.pong(r)
		default:
			handle(r)
		}
	})
}

// pong answers that the room works. The lock is waited for aside: the parent asks
// a few times only and then ends a room that does not answer.
func (h *Home) pong(r Request) {
	if h.guard == nil {
		r.Answer(&Pong{})
		return
	}
	go func() {
		h.guard.Lock()
		defer h.guard.Unlock()
		r.Answer(&Pong{})
	}()
}

// Join makes a link of a Peer message and serves it in the background until it
// ends. A peer that says what it may not is reported to the parent.
func (h *Home) Join(r Request, handle Handler) (*Conn, error) {
	p := r.Message.(*Peer)
	c, err := NewConn(r.Files[0], h.self, p.Room)
	if err != nil {
		return nil, err
	}
	go func() {
		if err := c.Serve(handle); errors.Is(err, ErrBadMessage) {
			h.Log().Error("link closed", "peer", p.Room, "member", p.Member, "error", err)
			h.Send(&BadPeer{Room: p.Room, Member: p.Member})
		}
	}()
	return c, nil
}
