package session

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/relay"
	"github.com/smtp-gated/smtp-gated/session/upstream"
)

// This file owns how a session comes from one server of the fixed modes to the next. When
// it may is the relay's to say, as soon as there is one; which is next package upstream
// knows.

// choose has the session go to the next server, and tells whether there is one. Nobody else
// uses the session's facts.
func (s *session) choose() bool {
	server, another, ok := s.w.servers.Next(&s.tried, time.Now(), func(addr netip.AddrPort, problem string) {
		// Its finding counts those whom it does not serve, or few would ever come together.
		s.w.reports.observe(imsg.FindingServer, addr.String(), problem)
	})
	if !ok {
		return false
	}
	s.facts.Server, s.facts.Target, s.facts.Another = server, server, another
	if port := s.w.cfg.TLS.Port; s.tls && port != 0 {
		s.facts.Target = netip.AddrPortFrom(server.Addr(), port)
	}
	return true
}

// callNext has the next server called, as the one there is does not serve the session.
// False: there is none, or nobody waits for one any more.
func (s *session) callNext() bool {
	if !s.facts.Another || s.clientGone() {
		return false
	}
	s.w.mu.Lock() // others look at the target
	s.mu.Lock()
	s.facts.Secured[relay.Server] = false
	ok := s.choose()
	s.mu.Unlock()
	s.w.mu.Unlock()
	switch {
	case !ok:
		return false
	case upstream.Loops(s.w.cfg, s.facts.Client, s.facts.Local, s.facts.Target):
		s.info("loop refused", "src", s.facts.Client, "dst", s.facts.Target)
		s.connected(errLoop)
	case upstream.Waits(s.w.cfg, s.facts.Client.Addr()):
		s.aside(s.connect)
	default:
		s.connect()
	}
	return true
}

// errLoop is why a server is not called that we are ourselves.
const errLoop = imsg.Invalid

// callAnother is callNext for a relay whose server did not stand the test.
func (s *session) callAnother() {
	if !s.callNext() {
		s.mu.Lock()
		defer s.unlock()
		if !s.over() {
			s.relay.Abort("server")
			s.run(nil)
		}
	}
}

// succeeds tells whether a new relay may take the place of the one there is, and clears up
// for it; s.mu is held. One that has ended meanwhile has had the last word.
func (s *session) succeeds() bool {
	if s.relay.Status().ClosedBy != "" {
		return false
	}
	s.fate[relay.Server], s.halved[relay.Server] = relay.Open, false
	return true
}

// rate notes how the server has done: problem is empty if it serves the session.
func (s *session) rate(problem string) {
	server := s.facts.Server
	switch {
	case problem == "" && s.w.servers.Served(server):
		s.Log(slog.LevelWarn, "SERVER:BACK", "dst", server)
	case problem != "" && s.w.servers.Failed(server, problem, time.Now()):
		s.Log(slog.LevelWarn, "SERVER:PASSED_OVER", "dst", server, "seconds", int(upstream.Pause/time.Second), "error", problem)
	}
}
