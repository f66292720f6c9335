// Exemptions of live sessions and of those that come. This file owns when they are looked
// at: what a worker is to spare a session, at its admission; locks and limits, at each.

package lockd

import (
	"context"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
)

// exemptions are what s is exempt from now, as far as its server is known.
func (srv *server) exemptions(s *session) imsg.ExemptSet {
	if s.check {
		return imsg.AllExempts
	}
	if len(srv.config.Servers) < 2 {
		return srv.exempt.Of(s.client.Addr(), s.target.Addr(), s.login)
	}
	from := imsg.AllExempts
	for _, server := range srv.config.Servers { // whichever of them it comes to
		from &= srv.exempt.Of(s.client.Addr(), server.Addr(), s.login)
	}
	return from
}

// looksLater tells whether the lock of s is looked at, or made, when its server is known
// alone: whoever calls that may be exempt.
func (srv *server) looksLater(s *session) bool {
	return !s.target.IsValid() && srv.exempt.Servers(imsg.ExemptLock)
}

// exemptionEnded hears of each that has run out.
func (srv *server) exemptionEnded(e imsg.Exemption) {
	srv.log.Log(context.Background(), logs.LevelNotice, "EXEMPT:EXPIRED", "who", e.Who, "from", e.From.String(), "reason", e.Reason)
}
