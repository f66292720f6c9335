package control

import (
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// How an operator ends one live session. This file owns which one is meant; what becomes
// of it is its worker's business.

// startSlack is by how much lockd may have heard of a session later than its worker, in
// seconds: as long as a client waits for its admission, and a little.
const startSlack = 10

// endSession has a session's worker told, and is answered before the session is over.
func (s *Service) endSession(m *imsg.EndSession) *imsg.Done {
	is := func(started int64) bool {
		late := started/int64(time.Second) - m.Start
		return m.Start == 0 || late >= 0 && late <= startSlack
	}
	switch kind := s.House.EndSession(m.Number, is); kind {
	case imsg.NotFound:
		return done(kind, "there is no such session")
	case imsg.Busy:
		return done(kind, "its worker cannot be told yet: try again")
	default:
		return done(kind, "")
	}
}
