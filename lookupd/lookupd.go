// Package lookupd is the room that asks the network about a client: DNS block
// lists.
package lookupd

// This file owns the room: its links and how many questions it holds. It must
// never read what came from the network itself.

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	// maxHeld bounds the questions that are worked on at once.
	maxHeld = 1024
	// longest ends a question if no limit is configured.
	longest = time.Minute
)

type room struct {
	home  *imsg.Home
	ctx   context.Context
	stop  context.CancelCauseFunc // ends the room
	held  chan struct{}
	lists *blocklists
	limit time.Duration // of one question

	mu       sync.Mutex
	links    int
	draining bool
}

// Main runs the room over f, its link to the parent, until the parent ends. An
// error says why the room ended by itself; it is the caller's to log.
func Main(f *os.File) error {
	home, err := imsg.Arrive(f, imsg.Lookupd)
	if err != nil {
		return err
	}
	l := &room{home: home, held: make(chan struct{}, maxHeld)}
	l.ctx, l.stop = context.WithCancelCause(context.Background())
	defer l.stop(nil)
	context.AfterFunc(l.ctx, func() { home.Close() })

	if err := home.Serve(l.hear); err != nil {
		return err
	}
	if err := context.Cause(l.ctx); err != context.Canceled {
		return err
	}
	return nil
}

// hear takes what the parent says.
func (l *room) hear(r imsg.Request) {
	switch m := r.Message.(type) {
	case *imsg.LookupdConfig:
		if l.lists != nil {
			l.stop(errors.New("configured twice"))
			return
		}
		l.lists = newBlocklists(m.Zones, m.Nameservers, l.home.Log())
		l.limit = longest
		if m.Timeout > 0 {
			l.limit = min(m.Timeout, longest)
		}
		l.home.Send(&imsg.Ready{})
	case *imsg.Peer:
		if err := l.join(r, m); err != nil {
			r.Close()
			l.home.Log().Error("link refused", "peer", m.Room, "member", m.Member, "error", err)
		}
	case *imsg.Drain:
		l.drain()
	}
}

// join serves one session worker. When the link ends, so does what it asked for.
func (l *room) join(r imsg.Request, p *imsg.Peer) error {
	switch {
	case l.lists == nil:
		return errors.New("came before the configuration")
	case p.Room != imsg.Session:
		return errors.New("only sessions ask for lookups")
	}
	ctx, cancel := context.WithCancel(l.ctx)
	conn, err := l.home.Join(r, func(r imsg.Request) { l.take(ctx, r) })
	if err != nil {
		cancel()
		return err
	}
	l.mu.Lock()
	l.links++
	l.mu.Unlock()
	go func() {
		select {
		case <-conn.Done():
		case <-l.ctx.Done():
			conn.Close()
		}
		cancel()
		l.part()
	}()
	return nil
}

// drain lets the room end with its last link: sessions that drain still ask.
func (l *room) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draining = true
	if l.links == 0 {
		l.stop(nil)
	}
}

func (l *room) part() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.links--
	if l.draining && l.links == 0 {
		l.stop(nil)
	}
}

// take accepts one question, or refuses it when too many are held. It does not block.
func (l *room) take(ctx context.Context, r imsg.Request) {
	q, ok := r.Message.(*imsg.Listed)
	if !ok {
		r.Close()
		return
	}
	if !q.Client.IsValid() {
		r.Fail(imsg.Invalid)
		return
	}
	select {
	case l.held <- struct{}{}:
	default:
		r.Fail(imsg.Busy)
		return
	}
	go func() {
		limited, cancel := context.WithTimeout(ctx, l.limit)
		listing := l.lists.ask(limited, q.Client)
		cancel()
		<-l.held
		if ctx.Err() == nil { // else our own end cut the question short
			r.Answer(&listing)
		}
	}()
}
