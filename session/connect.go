// Reaching the server: what bounds the attempt, and what the client hears that has
// none. How a connection is made stands in package upstream.

package session

import (
	"context"
	"net"
	"net/netip"
	"os"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/relay"
)

// connect reaches the server and starts the relay, or one that answers in its place,
// and says why.
func (s *session) connect() {
	s.setup.Store(uint32(imsg.StateConnect))
	conn, err := s.dial()
	if s.w.mustEnd() {
		if err == nil {
			conn.Close()
		}
		s.refuseLate()
		return
	}
	if err == nil {
		s.mu.Lock()
		if err = s.server.Open(conn); err == nil && s.ended {
			conn.Close()
		}
		s.mu.Unlock()
		if err == nil {
			s.facts.Outgoing = addrPort(conn.LocalAddr()).Addr()
			if s.tls && s.w.cfg.TLS.Port != 0 && !s.secureServer() {
				return
			}
			s.start(relay.New(&s.facts, s))
			return
		}
		conn.Close()
	}
	s.noteUnreachable(err)
	reason := s.text(imsg.MsgCannotConnect) + " [" + s.facts.Target.Addr().String() + "]: " + relay.ErrorText(err)
	if os.IsTimeout(err) {
		reason = s.text(imsg.MsgConnectTimeout) + " [" + s.facts.Target.Addr().String() + "]"
	}
	s.serveUnreachable(imsg.RuleServer, reason)
}

// noteUnreachable notes that the server was not reached, unless it is the client that has
// gone.
func (s *session) noteUnreachable(err error) {
	if !s.clientGone() {
		problem := relay.ErrorText(err)
		if os.IsTimeout(err) {
			problem = "no connection in time"
		}
		s.Observe(imsg.FindingServer, s.facts.ServerObject(), problem)
	}
}

// clientGone tells whether the session has ended while it was set up.
func (s *session) clientGone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// dial connects to the server within timeout_connect.
func (s *session) dial() (*net.TCPConn, error) {
	defer s.unlimited(s.w.cfg.TimeoutConnect)()
	ctx, cancel := context.WithTimeout(s.context(), imsg.Limit(s.w.cfg.TimeoutConnect))
	defer cancel()
	defer s.atEnd(cancel, false)()
	return s.w.dialer.Dial(ctx, s.w.cfg, s.facts.Client, s.facts.Target, s.logPortTaken)
}

func (s *session) logPortTaken(from netip.AddrPort) {
	if from.Port() != 0 {
		s.info("the client's port is taken, another one is used", "src", s.facts.Client, "dst", s.facts.Target)
		return
	}
	s.log().Warn("no port is left for a connection", "from", from.Addr(), "dst", s.facts.Target)
}

// serveUnreachable has the client served in the server's place: there is no server, for
// the reason that rule names.
func (s *session) serveUnreachable(rule imsg.PolicyRule, reason string) {
	s.admissionDecided()
	if s.clientGone() {
		return
	}
	s.start(relay.Unreachable(&s.facts, s, rule, reason))
}
