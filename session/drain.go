// The end of a worker: it stops accepting, says so, and goes with its last session.
// When its generation must end, so must each session that has no message under way.
// This file owns both.

package session

import (
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// undecidedWait bounds how long those just accepted may keep a reload from being
// complete: what they wait for they cannot shorten.
const undecidedWait = 10 * time.Second

// drain stops accepting; the process ends with its last session. The sockets
// themselves go on, in other hands, but for those that close for good.
func (w *worker) drain(m *imsg.Drain) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.draining {
		w.draining = true
		for _, l := range w.listeners {
			if !slices.Contains(m.Closing, l.address) {
				l.Close()
				continue
			}
			w.open++ // until it is empty: the process must not end before
			go w.emptyListener(l)
		}
		w.idle.Broadcast()
		go w.finishDrain()
	}
	if m.End {
		w.endAll()
		for s := range w.sessions.All() {
			go s.wake()
		}
	}
}

// finishDrain tells the parent when nobody is accepted any more, and nobody who was
// waits for admission, and ends the process behind its last session.
func (w *worker) finishDrain() {
	time.AfterFunc(undecidedWait, func() {
		w.mu.Lock()
		w.waitOver = true
		w.mu.Unlock()
		w.idle.Broadcast()
	})
	w.mu.Lock()
	for w.undecided > 0 && !w.waitOver {
		w.idle.Wait()
	}
	w.drained = true
	w.mu.Unlock()
	w.parent.Send(&imsg.Drained{})
	w.mu.Lock()
	for w.open > 0 {
		w.idle.Wait()
	}
	w.mu.Unlock()
	w.report()
	w.settleTraces()
	w.parent.Close()
}

// admissionDecided says that the configuration will not be asked about a connection any
// more. False: this was said for it already, it waited too long for its admission
// and must not get it.
func (w *worker) admissionDecided() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.undecided--; w.draining {
		w.idle.Broadcast()
	}
	return !w.drained
}

// admissionDecided says so of a session, once.
func (s *session) admissionDecided() bool {
	if !s.undecided {
		return true
	}
	s.undecided = false
	return s.w.admissionDecided()
}

// mustEnd tells whether the worker's generation must end.
func (w *worker) mustEnd() bool { return w.ending.Err() != nil }

// wake tells a session that it must end. What it is about to say it still says, in
// order.
func (s *session) wake() {
	defer s.guard()
	s.mu.Lock()
	defer s.unlock()
	s.callLate(time.Now())
	if s.relay != nil && !s.over() {
		s.relay.Finish()
		s.follow()
	}
}

// refuseLate says in place of a greeting that the client has come too late, or that an
// operator has ended its session.
func (s *session) refuseLate() {
	by, rule := "admin", imsg.RuleShutdown
	s.mu.Lock()
	if s.killed {
		by, rule = "operator", imsg.RuleOperator
	}
	s.mu.Unlock()
	s.closeBy(by)
	s.w.count(imsg.CountRejectOther, 1)
	s.refuseConnection(refused{rule: rule, code: smtp.CodeShutdown, text: imsg.MsgTempUnavail})
}
