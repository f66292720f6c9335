// What a session asks of others, and how long that may take. Where the administrator
// sets no limit the client's own is one: who has gone waits for nothing. This file
// owns how a question ends then; nobody reads the client while it is open.

package session

import (
	"context"
	"os"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// halfClosedWait is how long a client may wait that has closed its writing half. It
// still gets what it is owed, but it may as well have gone.
const halfClosedWait = 10 * time.Second

// limited returns a context that ends after limit, and when the generation must
// end; a message under way has the time its answer may take then. If limit is 0 it
// ends with the session too, which the worker's clock ends when the client has
// gone; done is due.
func (s *session) limited(limit time.Duration) (ctx context.Context, done context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), imsg.Limit(limit))
	s.mu.Lock()
	left := time.Duration(0)
	if s.phase == verdictPending {
		left = answerWait
	}
	s.mu.Unlock()
	unending := context.AfterFunc(s.w.ending, func() { time.AfterFunc(left, cancel) })
	if limit == 0 {
		s.setCancelAsk(cancel)
	}
	return ctx, func() {
		unending()
		s.setCancelAsk(nil)
		cancel()
	}
}

// setCancelAsk says what ends the question under way; nil, it needs nothing.
func (s *session) setCancelAsk(cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancelAsk = cancel
	if cancel != nil && s.ended {
		cancel()
	}
}

// ask asks another room, at most for limit.
func ask[A any](s *session, room *link.Peer, question imsg.Question[A], limit time.Duration, files ...*os.File) (*A, error) {
	if limit > 0 {
		return link.Ask(room, question, limit, files...)
	}
	ctx, done := s.limited(limit)
	defer done()
	answer, err := link.AskUntil(room, ctx.Done(), question, imsg.Longest, files...)
	if err != nil && ctx.Err() == context.DeadlineExceeded {
		err = imsg.Timeout
	}
	return answer, err
}

// abandoned tells whether the client of a question without a limit has gone. Called
// by the worker's clock only.
func (s *session) abandoned() bool {
	s.mu.Lock()
	asking := s.cancelAsk != nil
	s.mu.Unlock()
	if !asking {
		s.halfClosedFor = 0
		return false
	}
	half, whole := s.client.Closed()
	if half {
		s.halfClosedFor += lookInterval
	}
	return whole || s.halfClosedFor >= halfClosedWait
}
