// What other rooms are told of a client that was caught.

package session

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// offend reports what the client was caught at. lockd has locked it, if it is to
// be locked, when this returns; a lockd that does not answer is logged, and the
// session refuses the message all the same. It is locked once lockd comes to it.
func (s *session) offend(found imsg.Found, virus string, score float64, spool string) {
	s.mu.Lock()
	mail, rcpts := s.mail, s.rcpts
	s.mu.Unlock()
	// Scripts count transactions from 1. What is not caught in a message is so
	// before the next one.
	transaction, size := int(s.trns.Load()), s.message.size
	if found != imsg.FoundVirus && found != imsg.FoundSpam {
		transaction, size = transaction+1, 0
	}
	o := &imsg.Offence{
		Number: s.number, Transaction: transaction, Found: found, Virus: cut(virus, 255), Score: score,
		Target: s.dst, Helo: cut(s.helo, 1024), MailFrom: cut(mail, 1024), Recipients: rcpts,
		Size: size, Auth: imsg.AuthFlags(s.auth.Load()), Spool: spool,
	}
	if _, err := link.Ask(&s.w.lockd, o, admissionWait); err != nil {
		s.log().Error("offence not confirmed", "found", found, "error", err)
	}
}

// cut shortens a string to n octets.
func cut(text string, n int) string { return text[:min(len(text), n)] }
