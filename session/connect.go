// Reaching the server: what bounds the attempt, and what the client hears that has
// none. How a connection is made stands in package upstream.

package session

import (
	"net"
	"net/netip"
	"os"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// connect reaches the server, or answers in its place, and says why.
func (s *session) connect() bool {
	s.state.Store(uint32(imsg.StateConnect))
	// TimeoutConnect bounds the attempt, not timeout_idle.
	s.idleLimit.Store(forever)
	conn, err := s.dial()
	if s.w.mustEnd() {
		if err == nil {
			conn.Close()
		}
		s.refuseLate()
		return false
	}
	if err == nil {
		s.mu.Lock()
		err = s.server.Open(conn)
		s.mu.Unlock()
		if err == nil {
			return s.awaitGreeting()
		}
		conn.Close()
	}
	s.touch()
	s.idleLimit.Store(s.relayIdleLimit())
	reason := s.text(imsg.MsgCannotConnect) + " [" + s.dst.Addr().String() + "]: " + errorText(err)
	if os.IsTimeout(err) {
		reason = s.text(imsg.MsgConnectTimeout) + " [" + s.dst.Addr().String() + "]"
	}
	s.serveUnreachable(reason)
	return false
}

// dial connects to the server within timeout_connect.
func (s *session) dial() (*net.TCPConn, error) {
	ctx, done := s.limited(s.w.cfg.TimeoutConnect)
	defer done()
	return s.w.dialer.Dial(ctx, s.w.cfg, s.src, s.dst, s.logPortTaken)
}

func (s *session) logPortTaken(from netip.AddrPort) {
	if from.Port() != 0 {
		s.info("the client's port is taken, another one is used", "src", s.src, "dst", s.dst)
		return
	}
	s.log().Warn("no port is left for a connection", "from", from.Addr(), "dst", s.dst)
}

// awaitGreeting waits for the server's greeting, which in mode fixed+xclient is not the
// first thing it says.
func (s *session) awaitGreeting() bool {
	s.state.Store(uint32(imsg.StatePre))
	s.offer = s.w.offer
	s.offer.Added = s.longestHeader()
	var err error
	if s.w.cfg.Mode == imsg.ModeFixedXclient {
		err = s.introduce()
	} else {
		s.queue.push(entry{kind: greeting})
	}
	s.touch()
	s.idleLimit.Store(s.relayIdleLimit())
	if err == nil {
		return true
	}
	if s.w.mustEnd() {
		s.refuseLate()
		return false
	}
	s.info("XCLIENT:FAILED", "dst", s.dst, "error", err)
	if s.dropServer(new([]byte)) {
		s.serveUnreachable(s.text(imsg.MsgFixedXclientFail))
	}
	return false
}

// serveUnreachable greets in the server's place and takes over: there is no server.
func (s *session) serveUnreachable(reason string) {
	s.admissionDecided()
	if s.say(smtp.CodeGreeting, "SMTP") == nil {
		s.takeover(reason)
		s.drainInput()
	}
}
