// Reaching the server: what bounds the attempt, and what the client hears that has
// none. How a connection is made stands in package upstream.

package session

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
	"github.com/smtp-gated/smtp-gated/session/proxyheader"
	"github.com/smtp-gated/smtp-gated/session/relay"
	"github.com/smtp-gated/smtp-gated/session/stream"
	"github.com/smtp-gated/smtp-gated/session/upstream"
)

// connect reaches the server and starts the relay, or one that answers in its place,
// and says why.
func (s *session) connect() {
	s.setup.Store(uint32(imsg.StateConnect))
	s.refs.Add(1)
	s.dial(func(err error) {
		defer s.unref()
		s.connected(err)
	})
}

func (s *session) connected(err error) {
	s.mu.Lock()
	late := s.mustEnd()
	s.mu.Unlock()
	if late {
		s.server.Close()
		if s.relay == nil {
			s.refuseLate()
		} else { // it says so in place of a greeting
			s.start(relay.New(&s.facts, s))
		}
		return
	}
	if err == nil {
		if s.tls && s.w.cfg.TLS.Port != 0 {
			s.aside(func() {
				if s.secureServer() {
					s.start(relay.New(&s.facts, s))
				}
			})
			return
		}
		s.start(relay.New(&s.facts, s))
		return
	}
	s.noteUnreachable(err)
	if s.callNext() {
		return
	}
	reason := s.text(imsg.MsgCannotConnect) + " [" + s.facts.Target.Addr().String() + "]: " + relay.ErrorText(err)
	if os.IsTimeout(err) {
		reason = s.text(imsg.MsgConnectTimeout) + " [" + s.facts.Target.Addr().String() + "]"
	}
	s.serveUnreachable(imsg.RuleServer, "", reason)
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
	defer s.unlock()
	return s.ended
}

// calling is a connection that is being made to the server.
type calling struct {
	until  time.Time // zero: there is no limit
	asking int       // 1 if there is none, as the session counts it
	begun  bool      // the server's stream is that connection, not the one before
	then   func(error)
}

// dial connects to the server within timeout_connect. then hears what came of it, once, and
// must not wait. dial itself waits only for a socket of the parent's.
func (s *session) dial(then func(error)) {
	limit := s.w.cfg.TimeoutConnect
	c := &calling{then: then}
	s.mu.Lock()
	if s.calling = c; limit > 0 {
		c.until = time.Now().Add(limit)
	} else {
		c.asking = 1
	}
	s.asking += c.asking
	s.mu.Unlock()
	ctx := context.Background()
	if upstream.Waits(s.w.cfg, s.facts.Client.Addr()) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(s.context(), imsg.Limit(limit))
		defer cancel()
		defer s.atEnd(cancel, false)()
	}
	err := s.w.dialer.Dial(ctx, s.w.cfg, s.facts.Client, s.facts.Target, s.connectSocket, s.logPortTaken)
	if err == nil {
		s.News(loop.Passing) // it may be there already
		return
	}
	s.mu.Lock()
	c = s.takeCall()
	s.mu.Unlock()
	if c != nil {
		c.then(err)
	}
}

// connectSocket begins to connect a socket to the server, in the place of the one that
// there was.
func (s *session) connectSocket(fd int, to unix.Sockaddr) error {
	s.mu.Lock()
	defer s.unlock()
	if s.ended || s.calling == nil { // it was given up
		unix.Close(fd)
		return net.ErrClosed
	}
	s.gone[relay.Server] = false
	err := s.server.Connect(s.w.poller, fd, to, s)
	s.calling.begun = err == nil
	s.shown[relay.Server] = s.server.Received()
	return err
}

// takeCall ends the making of a connection, and returns it if there was one; s.mu is held.
func (s *session) takeCall() *calling {
	c := s.calling
	if s.calling = nil; c != nil {
		s.asking -= c.asking
	}
	return c
}

// called tells whether the connection is made that was being made, or cannot be: then is
// to hear it; s.mu is held.
func (s *session) called() (then func(error), err error) {
	if s.calling == nil || !s.calling.begun {
		return nil, nil
	}
	from, err := s.server.Connected(s.facts.Target)
	switch err {
	case nil:
		s.facts.Outgoing = from.Addr()
		err = s.tellServer()
	case stream.ErrAgain:
		return nil, nil
	}
	if err != nil {
		s.server.Close()
	}
	return s.takeCall().then, err
}

// tellServer tells a server just reached who its client is, where that comes ahead of its
// greeting, and of TLS; s.mu is held. There is room for so little in a connection that is
// new.
func (s *session) tellServer() error {
	if s.w.cfg.Mode != imsg.ModeFixedProxy {
		return nil
	}
	header := proxyheader.Append(nil, proxyheader.Origin{Source: s.facts.Client, Destination: s.facts.Local, TLS: s.clientTLS})
	n, err := s.server.Write(header)
	if err == nil || n == len(header) {
		return nil
	}
	return err
}

// callLate gives up a connection whose time is over, or that nobody may have any more; s.mu
// is held.
func (s *session) callLate(now time.Time) {
	if c := s.calling; c != nil && (s.mustEnd() || !c.until.IsZero() && now.After(c.until)) && s.hold() {
		s.server.Close()
		s.takeCall()
		go func() {
			defer s.unref()
			c.then(os.ErrDeadlineExceeded)
		}()
	}
}

func (s *session) logPortTaken(from netip.AddrPort) {
	if from.Port() != 0 {
		s.info("the client's port is taken, another one is used", "src", s.facts.Client, "dst", s.facts.Target)
		return
	}
	s.Log(slog.LevelWarn, "no port is left for a connection", "from", from.Addr(), "dst", s.facts.Target)
}

// serveUnreachable has the client served in the server's place: there is no server, for
// the reason that rule and detail name.
func (s *session) serveUnreachable(rule imsg.PolicyRule, detail, reason string) {
	s.admissionDecided()
	if s.clientGone() {
		return
	}
	s.start(relay.Unreachable(&s.facts, s, rule, detail, reason))
}
