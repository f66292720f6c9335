package session

import (
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns the end of one session because an operator wants it.

// kill ends a session that lockd names, or will when it is here.
func (w *worker) kill(number uint64) {
	w.mu.Lock()
	s := w.sessions.Of(number)
	if s == nil {
		e := w.early[number]
		e.since, e.killed = time.Now(), true
		w.early[number] = e
	}
	w.mu.Unlock()
	if s != nil {
		go s.kill() // whoever runs it holds it for as long as it takes
	}
}

// kill ends the session at once. One whose server is being called hears why; one that is
// still asked about elsewhere is cut.
func (s *session) kill() {
	defer s.guard()
	s.w.mu.Lock() // which guards what a lookup finds
	ident := s.facts.Ident
	s.w.mu.Unlock()
	s.mu.Lock()
	defer s.unlock()
	switch {
	case s.over():
	case s.relay != nil:
		s.relay.Kill()
		s.follow()
	default:
		s.info("session is ended by an operator", "state", imsg.State(s.setup.Load()), "src", s.facts.Client.Addr(), "ident", ident)
		s.killed = true
		if s.calling == nil {
			s.endLocked("operator")
			return
		}
		s.callLate(time.Now())
	}
}

// mustEnd tells whether the session must end, or its worker's generation; s.mu is held.
func (s *session) mustEnd() bool { return s.killed || s.w.mustEnd() }
