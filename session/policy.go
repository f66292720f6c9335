// What a session asks other rooms about its client, and tells them of it.

package session

import (
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// offend reports what the client was caught at. lockd has locked it, if it is to
// be locked, when this returns; a lockd that does not answer is logged, and the
// session refuses the message all the same.
func (s *session) offend(found imsg.Found, virus string, score float64, spool string) {
	s.mu.Lock()
	mail, rcpts := s.mail, s.rcpts
	s.mu.Unlock()
	o := &imsg.Offence{
		Number: s.number, Transaction: int(s.trns.Load()), Found: found, Virus: cut(virus, 255), Score: score,
		Target: s.dst, Helo: cut(s.helo, 1024), MailFrom: cut(mail, 1024), Recipients: rcpts,
		Size: s.message.size, Auth: imsg.AuthFlags(s.auth.Load()), Spool: spool,
	}
	if _, err := s.w.lockd.Call(o, admissionWait); err != nil {
		s.log().Error("offence not recorded", "found", found, "error", err)
	}
}

// listed asks the DNS block lists and refuses a client that stands on one. Lists
// that cannot be asked list nobody.
func (s *session) listed() bool {
	s.state.Store(uint32(imsg.StateDNSBL))
	m, err := s.w.lookupd.Call(&imsg.Listed{Client: s.src.Addr()}, s.w.cfg.TimeoutLookup+time.Second)
	if err != nil {
		s.log().Warn("DNSBL:FAILED", "src", s.src.Addr(), "error", err)
		return false
	}
	l := m.(*imsg.Listing)
	if l.Zone == "" {
		return false
	}
	s.info("DNSBL:FOUND", "domain", l.Zone, "answer", l.Answer)
	s.w.count(imsg.CountRejectDNSBL, 1)
	s.offend(imsg.FoundDNSBL, "", 0, "")
	s.refuse(smtp.CodeRejected, imsg.MsgDNSDBReject, ": DNSBL: "+l.Zone+": "+l.Answer.String())
	return true
}

// cut shortens a string to n octets.
func cut(text string, n int) string { return text[:min(len(text), n)] }
