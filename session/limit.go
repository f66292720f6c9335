// What a session asks of others, and how long that may take. Where the administrator
// sets no limit the client's own is one: who has gone waits for nothing. This file
// owns how a question is put, and how it ends then.

package session

import (
	"context"
	"os"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
	"github.com/smtp-gated/smtp-gated/session/relay"
)

// patientWait is how long an answer that a message waits for may take once the
// generation must end.
const patientWait = 10 * time.Minute

// context is over with the session.
func (s *session) context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil {
		s.life, s.endLife = context.WithCancel(context.Background())
		if s.ended {
			s.endLife()
		}
	}
	return s.life
}

// limited returns a context for what takes as long as limit allows. Without a limit it
// is over when the generation must end, too; what is patient has its time then. done
// is due.
func (s *session) limited(limit time.Duration, patient bool) (ctx context.Context, done func()) {
	if limit > 0 {
		return s.context(), func() {}
	}
	ctx, cancel := context.WithCancel(s.context())
	unending := s.atEnd(cancel, patient)
	return ctx, func() {
		unending()
		cancel()
	}
}

// atEnd has something cancelled when the generation must end, until stop is called.
func (s *session) atEnd(cancel func(), patient bool) (stop func() bool) {
	left := time.Duration(0)
	if patient {
		left = patientWait
	}
	return context.AfterFunc(s.w.ending, func() { time.AfterFunc(left, cancel) })
}

// askFor puts a relay's question to the room that it is for.
func (s *session) askFor(turn *loop.Turn, q *relay.Question) {
	switch m := q.Message.(type) {
	case *imsg.QuotaUse:
		askRoom(s, q, &s.w.lockd, m)
	case *imsg.LoginTaken:
		askRoom(s, q, &s.w.lockd, m)
	case *imsg.Offence:
		askRoom(s, q, &s.w.lockd, m)
	case *imsg.DNSBLQuery:
		askRoom(s, q, &s.w.lookupd, m)
	case *imsg.SPF:
		askRoom(s, q, &s.w.lookupd, m)
	case *imsg.Scan:
		var f *os.File
		var err error
		turn.Slow(func() { f, err = s.spool.Reader() })
		if err != nil {
			go s.answered(nil, q, nil, err, 0) // who asks holds the relay
			return
		}
		m.Spool = s.spool.Name()
		askRoom(s, q, &s.w.scand, m, f)
	default:
		go s.answered(nil, q, nil, imsg.Internal, 0)
	}
}

// askRoom asks without waiting, where that can be.
func askRoom[A any](s *session, q *relay.Question, room *link.Peer, question imsg.Question[A], files ...*os.File) {
	start := time.Now()
	ctx, done := s.limited(q.Limit, q.Patient)
	answered := func(turn *loop.Turn, a *A, err error) {
		done()
		s.answered(turn, q, any(a).(imsg.Message), err, time.Since(start))
	}
	if !link.AskThen(ctx, room, question, imsg.Limit(q.Limit), answered, files...) {
		go func() {
			a, err := ask(ctx, room, question, q.Limit, files...)
			answered(nil, a, err)
		}()
	}
}

// ask asks another room until ctx is over, at most for limit.
func ask[A any](ctx context.Context, room *link.Peer, question imsg.Question[A], limit time.Duration, files ...*os.File) (*A, error) {
	return link.AskUntil(room, ctx.Done(), question, imsg.Limit(limit), files...)
}

// askLookupd asks lookupd while the session is set up.
func askLookupd[A any](s *session, question imsg.Question[A], limit time.Duration) (*A, error) {
	defer s.unlimited(limit)()
	limit = relay.LookupLimit(limit)
	ctx, done := s.limited(limit, false)
	defer done()
	return ask(ctx, &s.w.lookupd, question, limit)
}

// unlimited says that the set-up does what has no limit but the client's; the returned
// function, that it is done.
func (s *session) unlimited(limit time.Duration) (done func()) {
	if limit > 0 {
		return func() {}
	}
	s.mu.Lock()
	s.asking++
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		s.asking--
		s.mu.Unlock()
	}
}

// abandoned tells whether the client has gone for whom something without a limit is
// waited for. Called by the worker's clock only; s.mu is held.
func (s *session) abandoned() bool {
	if s.asking == 0 {
		s.leftFor = 0
		return false
	}
	half, whole := s.client.Closed()
	if half {
		s.leftFor += lookInterval
	}
	return whole || s.leftFor >= relay.LeftWait
}
