// What follows when a server has taken a session's log-in: its login may be locked, or
// have too many sessions. This file owns that order; a login counts for nothing before.

package lockd

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

// loggedIn notes a session's login, and answers whether it may send. The session has its
// place among those of the login at once: a lock that is made meanwhile reaches it.
func (srv *server) loggedIn(r link.Reply[imsg.LoginResult], s *session, m *imsg.LoginTaken, start starter) {
	before := *s
	srv.live.strike(s)
	s.login, s.barred = m.Login, false
	srv.live.enlist(s)
	for what := range imsg.RateCounters { // of another record nothing is given back
		if srv.countedBy(s, what) != srv.countedBy(&before, what) {
			s.used[what] = 0
		}
	}
	a := &imsg.LoginResult{Exempt: srv.exemptions(s)}
	c := &srv.config
	looks := s.login != "" && c.LockBy != imsg.ByAddress && c.LockDuration != 0 && !a.Exempt.Has(imsg.ExemptLock)
	tooMany := s.login != "" && c.MaxPerLogin > 0 && srv.live.loginCount(s) > c.MaxPerLogin && !a.Exempt.Has(imsg.ExemptLimit)
	if tooMany && c.Monitored.Has(imsg.RuleMaxLogin) {
		tooMany, a.Would = false, a.Would.With(imsg.RuleMaxLogin)
	}
	s.barred = tooMany
	counts := srv.rates.On() && !a.Exempt.Has(imsg.ExemptRate)
	if !looks && !counts {
		srv.mayLogin(r, s, a, false, tooMany)
		return
	}
	about, duration, name := s.subject(), c.LockDuration, locks.LoginName(s.login)
	records := [2]string{srv.countedBy(s, imsg.RateConnections), srv.countedBy(s, imsg.RateMessages)}
	turn := name
	if s.login == "" { // what is looked up is its address's
		turn = records[0]
	}
	begun := srv.fileCalls.beginBy(start, turn, func() {
		if r.Late() { // its worker lets it send nothing
			srv.mu.Lock()
			defer srv.mu.Unlock()
			s.barred = true
			return
		}
		locked := false
		var err error
		if looks {
			var mark locks.Mark
			if mark, err = srv.locks.Look(name, duration, about); err != nil {
				srv.observe(imsg.FindingLock, imsg.ObjectLook, err.Error())
			}
			if locked = mark == locks.Locked; !locked {
				srv.refusals.Forget(name)
			}
		}
		if counts && err == nil {
			a.Uses, err = srv.usesOf(records)
		}
		srv.mu.Lock()
		defer srv.mu.Unlock()
		if err != nil { // we let nobody send whom a lock may keep from it
			s.barred = true
			r.Fail(imsg.Resource)
			return
		}
		srv.mayLogin(r, s, a, locked, tooMany)
	})
	if !begun {
		srv.observe(imsg.FindingLock, imsg.ObjectLook, "too much waits for the disk")
		s.barred = true
		r.Fail(imsg.Busy)
	}
}

// usesOf are the counters that a session has to ask for whose records are these: of the
// counters that are its address's, and of the others.
func (srv *server) usesOf(records [2]string) (imsg.RateSet, error) {
	uses, err := srv.rates.Uses(records[0])
	if err != nil || records[1] == records[0] {
		return uses, err
	}
	others, err := srv.rates.Uses(records[1])
	return uses&ofAddress | others&^ofAddress, err
}

// mayLogin answers by what was found; mu is held.
func (srv *server) mayLogin(r link.Reply[imsg.LoginResult], s *session, a *imsg.LoginResult, locked, tooMany bool) {
	switch {
	case locked && srv.config.Monitored.Has(imsg.RuleLocked):
		a.Would = a.Would.With(imsg.RuleLocked)
	case locked:
		srv.locks.Say("LOCK:LOCKED", s.subject())
		srv.refusals.Count(locks.LoginName(s.login))
		a.Refusal, s.barred = imsg.RefusedLocked, true
	}
	if tooMany && a.Refusal == imsg.Admitted {
		a.Refusal = imsg.RefusedLogin
	}
	r.Answer(a)
}
