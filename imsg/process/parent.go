// A room's link to its parent. This file owns what every room hears and answers in
// the same way.

package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// Parent is a room's link to the parent.
type Parent struct {
	*link.Conn
	self   imsg.Room
	log    *logs.Log
	guard  sync.Locker // nil: none
	poller loop.Poller // nil: each link has a goroutine
	ctx    context.Context
	end    context.CancelCauseFunc

	relinkMu sync.Mutex
	relinkAt time.Time // when the last of the shortages is reported that were met
}

// Start opens a room's link to the parent, which it is born with, and says Hello
// over it.
func Start(f *os.File, self imsg.Room) (*Parent, error) {
	c, err := link.NewConn(f, self, imsg.Parent)
	if err != nil {
		return nil, err
	}
	p := &Parent{Conn: c, self: self, log: logs.New(self)}
	p.ctx, p.end = context.WithCancelCause(context.Background())
	if err := p.Send(&imsg.Hello{Room: self, PID: os.Getpid(), Fingerprint: imsg.Fingerprint()}); err != nil {
		return nil, fmt.Errorf("say hello: %w", err)
	}
	return p, nil
}

// Log returns the room's logger. What is logged before the first Sink is kept,
// within bounds, until there is one.
func (p *Parent) Log() *slog.Logger { return p.log.Logger() }

// Context returns one that ends with the room.
func (p *Parent) Context() context.Context { return p.ctx }

// End ends the room, for a cause or for none: its life is over.
func (p *Parent) End(cause error) {
	p.end(cause)
	p.Close()
}

// Guard names the lock that all of a room's work passes. A room that never gives
// it back hangs, however well it reads its links. It must be called before Run.
func (p *Parent) Guard(l sync.Locker) { p.guard = l }

// Poll has a poller wait for the links that are accepted. What comes by one of them is
// handled in its turn.
func (p *Parent) Poll(by loop.Poller) { p.poller = by }

// Loop is Poll by a loop, which it returns: nil where there can be none.
func (p *Parent) Loop() loop.Poller {
	l, err := loop.New()
	if err != nil {
		p.Log().Warn("no loop: each connection waits by itself", "error", err)
		return nil
	}
	p.poller = l
	return l
}

// Serve gives what the parent says to handle, keeping Sink and Ping for itself,
// until the link ends.
func (p *Parent) Serve(handle link.Handler) error {
	defer p.log.Flush()
	p.Lacking(func(m imsg.Message) bool {
		peer, ok := m.(*imsg.Peer)
		if ok {
			p.Log().Error("link refused", "peer", peer.Room, "member", peer.Member, "error", "no descriptor is free")
			p.relink(peer)
		}
		return ok
	})
	return p.Conn.Serve(func(r link.Request) {
		switch m := r.Message.(type) {
		case *imsg.Sink:
			p.log.SetSink(m, r.Files[0])
		case *imsg.Ping:
			p.pong(link.ReplyTo(r, m))
		default:
			handle(r)
		}
	})
}

// pong answers that the room works. The lock is waited for aside: the parent asks
// a few times only and then ends a room that does not answer.
func (p *Parent) pong(r link.Reply[imsg.Pong]) {
	answer := &imsg.Pong{Goroutines: uint32(runtime.NumGoroutine()), LinesLost: min(p.log.Lost(), imsg.MaxReport)}
	if p.guard == nil {
		r.Answer(answer)
		return
	}
	go func() {
		p.guard.Lock()
		defer p.guard.Unlock()
		r.Answer(answer)
	}()
}

// relinkPause is before another link is asked for in place of one that has failed for
// what the system lacks: that is not there again at once.
const relinkPause = time.Second

// relink reports, after a pause, that the link to a peer has failed at this end: without
// another these two would never speak again. When many fail at once their reports come in
// a line.
func (p *Parent) relink(m *imsg.Peer) {
	p.relinkMu.Lock()
	defer p.relinkMu.Unlock()
	now := time.Now()
	p.relinkAt = p.relinkAt.Add(imsg.Shortages.Every)
	if soonest := now.Add(relinkPause); p.relinkAt.Before(soonest) {
		p.relinkAt = soonest
	}
	time.AfterFunc(p.relinkAt.Sub(now), func() {
		p.Send(&imsg.BadPeer{Room: m.Room, Member: m.Member, Fault: imsg.Shortage})
	})
}

// Accept makes a link of the Peer m, which r brought, and serves it in the
// background until it ends. A peer that says what it may not is reported to the
// parent. A link that cannot be had or has failed by the system's fault is asked for anew.
func (p *Parent) Accept(r link.Request, m *imsg.Peer, handle link.Handler) (*link.Conn, error) {
	c, err := p.accept(r.Files[0], m, handle)
	if err != nil {
		p.relink(m)
	}
	return c, err
}

func (p *Parent) accept(f *os.File, m *imsg.Peer, handle link.Handler) (*link.Conn, error) {
	if p.poller != nil {
		return link.Poll(p.poller, f, p.self, m.Room, handle, func(err error) { p.ended(m, err) })
	}
	c, err := link.NewConn(f, p.self, m.Room)
	if err == nil {
		go func() { p.ended(m, c.Serve(handle)) }()
	}
	return c, err
}

// ended says why the link to m has ended.
func (p *Parent) ended(m *imsg.Peer, err error) {
	if err == nil {
		return
	}
	p.Log().Error("link closed", "peer", m.Room, "member", m.Member, "error", err)
	if errors.Is(err, link.ErrBadMessage) {
		p.Send(&imsg.BadPeer{Room: m.Room, Member: m.Member, Fault: imsg.Unsayable})
	} else {
		p.relink(m)
	}
}
