// What other rooms are told of a client that was caught.

package session

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// How much of each text another room is told, in octets. Neither a client nor a scanner
// may say so much that the message is not sent.
const (
	maxVirus = 255  // as much as a lock file holds
	maxWord  = 1024 // as much as the action script is told
)

// reportOffence reports what the client was caught at. lockd has locked it, if it is to
// be locked, when this returns; a lockd that does not answer is logged, and the
// session refuses the message all the same. It is locked once lockd comes to it.
func (s *session) reportOffence(found imsg.Found, virus string, score float64, spool string) {
	s.mu.Lock()
	sender, rcpts := s.tx.sender, s.totalRcpts
	s.mu.Unlock()
	// Scripts count transactions from 1. What is not caught in a message is so
	// before the next one.
	transaction, size := int(s.trns.Load()), s.message.size
	if found != imsg.FoundVirus && found != imsg.FoundSpam {
		transaction, size = transaction+1, 0
	}
	o := &imsg.Offence{
		Number: s.number, Transaction: transaction, Found: found, Virus: truncate(virus, maxVirus), Score: score,
		Target: s.dst, Helo: truncate(s.helo, maxWord), MailFrom: truncate(sender, maxWord), Recipients: rcpts,
		Size: size, Auth: imsg.AuthFlags(s.auth.Load()), Spool: spool,
	}
	if _, err := link.Ask(&s.w.lockd, o, admissionWait); err != nil {
		s.log().Error("offence not confirmed", "found", found, "error", err)
	}
}

// truncate shortens a string to n octets.
func truncate(text string, n int) string { return text[:min(len(text), n)] }
