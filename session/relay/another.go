package relay

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns the choice among several servers as long as there is one: until a server
// has greeted, or was shown an octet of the client's, another may take its place, and the
// client does not know. From then on the session stays with it.

// mayMove tells whether the session may go on with another server.
func (s *shared) mayMove() bool {
	return s.Another && !s.greeted && !s.stays && !s.ended && !s.taken && s.handshake == noHandshake
}

// moveOn has another server called, if there is one, in the place of the one that does not
// serve the client. The driver makes a new relay of it: this one has nothing worth keeping.
func (s *shared) moveOn() bool {
	if !s.mayMove() {
		return false
	}
	s.handshake, s.errand = moving, CallAnother
	return true
}

// greets has the client hear a greeting when it is whole, and tells whether it is: the last
// line is the caller's to pass on. One that refuses the client it does not hear at all.
func (s *server) greets(r *smtp.Reply) bool {
	switch {
	case r.Code/100 >= 4:
		s.moveOn()
		return false
	case len(s.greeting)+len(r.Line) > maxIntroduction:
		s.nonsense(errLongReply)
		return false
	case !r.Last:
		s.greeting = append(append(s.greeting, r.Line...), "\r\n"...)
		return false
	}
	s.greeted = true
	if len(s.greeting) > 0 {
		s.write(Client, s.greeting)
		s.greeting = nil
	}
	return true
}

// holdsBack tells whether the client's octets wait for a greeting, because no rule forbids
// them to come before it. A server that was given them could not be left any more.
func (c *client) holdsBack() bool {
	if !c.mayMove() || c.Config.EarlyTalk && !c.Exempt.Has(imsg.ExemptEarlyTalk) && !c.earlyMonitored() {
		return false
	}
	c.early = true
	return true
}
