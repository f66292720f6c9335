// A room that answers questions and keeps nothing between them. This file owns how
// many it works on, until when, and that such a room drains with its last link.

package process

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// Service answers the questions of peers.
type Service struct {
	parent *Parent
	slots  chan struct{} // one for each question that is worked on

	mu       sync.Mutex
	links    int
	draining bool
}

// NewService makes the room of p one that works on at most n questions at once. Its
// lock is the room's guard.
func NewService(p *Parent, n int) *Service {
	s := &Service{parent: p, slots: make(chan struct{}, n)}
	p.Guard(&s.mu)
	return s
}

// Accept serves a peer. handle gets a context that ends with the link: so does what
// is worked on for it.
func (s *Service) Accept(handle func(context.Context, link.Request)) Peer {
	return func(r link.Request, m *imsg.Peer) error {
		_, err := s.Attach(r, m, handle)
		return err
	}
}

// Attach is Accept for one peer, and returns the link to it.
func (s *Service) Attach(r link.Request, m *imsg.Peer, handle func(context.Context, link.Request)) (*link.Conn, error) {
	ctx, cancel := context.WithCancel(s.parent.ctx)
	conn, err := s.parent.Accept(r, m, func(r link.Request) { handle(ctx, r) })
	if err != nil {
		cancel()
		return nil, err
	}
	s.mu.Lock()
	s.links++
	s.mu.Unlock()
	go func() {
		select {
		case <-conn.Done():
		case <-s.parent.ctx.Done():
			conn.Close()
		}
		cancel()
		s.linkEnded()
	}()
	return conn, nil
}

// Drain lets the room end with its last link: who drains still asks.
func (s *Service) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	if s.links == 0 {
		s.parent.End(nil)
	}
}

func (s *Service) linkEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links--
	if s.draining && s.links == 0 {
		s.parent.End(nil)
	}
}

// Work has one question worked on aside: Busy is its answer when too many are. The
// work's context ends with ctx, and when the asker waits no more or gives the
// question up. An error that is an imsg.Errno is the answer's, any other Internal; so
// is a panic, which fails this question alone. The request's files are closed when
// that is said. It does not block.
func Work[A any](ctx context.Context, s *Service, r link.Request, q imsg.Question[A], work func(context.Context) (*A, error)) {
	WorkBy(func(f func()) { go f() }, ctx, s, r, q, work)
}

// WorkBy is Work that start has begun in its own way.
func WorkBy[A any](start func(func()), ctx context.Context, s *Service, r link.Request, q imsg.Question[A], work func(context.Context) (*A, error)) {
	reply := link.ReplyTo(r, q)
	select {
	case s.slots <- struct{}{}:
	default:
		r.Close()
		reply.Fail(imsg.Busy)
		return
	}
	asked, cancel := r.Context(ctx)
	start(func() {
		defer r.Close() // nobody waits for it
		answer, err := safely(s.parent, q, func() (*A, error) { return work(asked) })
		cancel()
		// The slot is free before the answer is out: who asks again on getting it
		// finds one.
		<-s.slots
		if ctx.Err() != nil { // our own end cut the work short
			return
		}
		var kind imsg.Errno
		switch {
		case err == nil:
			reply.Answer(answer)
		case errors.As(err, &kind):
			reply.Fail(kind)
		default:
			reply.Fail(imsg.Internal)
		}
	})
}

// safely does the work on q. A panic is an error.
func safely[A any](p *Parent, q imsg.Question[A], work func() (*A, error)) (answer *A, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = imsg.Internal
			p.Log().Error("BUG: work on a question panicked", "question", fmt.Sprintf("%T", q), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	return work()
}
