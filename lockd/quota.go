// What sessions use of their clients' quotas. This file owns when a use is judged,
// aside, and that a use comes back which nobody came to know of. What a quota means is
// a matter of lockd/rates.

package lockd

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
	"github.com/smtp-gated/smtp-gated/lockd/rates"
)

// ofAddress are the counters that are never a login's.
const ofAddress = imsg.RateSet(1<<imsg.RateConnections | 1<<imsg.RateTargets | 1<<imsg.RateAuthRejects)

// countedBy is the name of the record that s's uses of a quota are held against, by
// rate.by. Connections, and the servers they are for, come before any log-in; and whom
// one is for that the server refuses nobody knows.
func (srv *server) countedBy(s *session, what imsg.Rate) string {
	if srv.config.RateBy == imsg.ByAddress || s.login == "" || ofAddress.Has(what) {
		return srv.live.clientName(s)
	}
	return locks.LoginName(s.login)
}

// use is the use of a quota by s.
func (srv *server) use(s *session, what imsg.Rate, n uint64) *rates.Use {
	return &rates.Use{
		Client: srv.countedBy(s, what), Session: s.number, Addr: s.client.Addr(), Ident: s.ident, Login: s.login,
		Counter: what, Amount: n, Target: s.target,
	}
}

// allow judges a use that s asks for, and answers r.
func (srv *server) allow(r link.Reply[imsg.QuotaResult], s *session, m *imsg.QuotaUse) {
	u := srv.use(s, m.Counter, m.Amount)
	begun := srv.fileCalls.beginBy(r.Behind, u.Client, func() {
		if r.Late() {
			return
		}
		o := srv.rates.Judge(u)
		if !srv.allowed(r, s, m, u, o) && o.Taken {
			srv.rates.GiveBack(u)
		}
	})
	if !begun {
		r.Fail(imsg.Busy)
	}
}

// allowed answers r by what came of u. It is false if s has left meanwhile, or its
// worker waits no more.
func (srv *server) allowed(r link.Reply[imsg.QuotaResult], s *session, m *imsg.QuotaUse, u *rates.Use, o rates.Outcome) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	switch {
	case srv.live.sessions.Of(s.number) != s:
		r.Fail(imsg.NotFound)
		return false
	case r.Late():
		return false
	}
	srv.logUse(u, o)
	if o.Taken {
		s.used[m.Counter] += m.Amount
	}
	r.Answer(&imsg.QuotaResult{QuotaUse: *m, Refusal: o.Refusal})
	return true
}

// logUse logs what came of u, and counts it if that was a refusal.
func (srv *server) logUse(u *rates.Use, o rates.Outcome) {
	srv.rates.Log(u, o)
	switch o.Refusal {
	case imsg.RefusedRate:
		srv.counters.Count(imsg.CountQuota(u.Counter))
	case imsg.RefusedTargets:
		srv.counters.Count(imsg.CountQuota(imsg.RateTargets))
	}
}

// spend takes note of octets that have passed in s, of which nobody waits to hear.
func (srv *server) spend(s *session, n uint64) {
	if n == 0 || !srv.rates.On() {
		return
	}
	u := srv.use(s, imsg.RateTLSBytes, n)
	srv.fileCalls.begin(u.Client, func() { srv.logUse(u, srv.rates.Judge(u)) })
}

// unuse takes a use back that nobody came to know of.
func (srv *server) unuse(s *session, what imsg.Rate, n uint64) {
	if n == 0 || !srv.rates.On() {
		return
	}
	u := srv.use(s, what, n)
	srv.fileCalls.begin(u.Client, func() { srv.rates.GiveBack(u) })
}
