package lockd

import (
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
	"github.com/smtp-gated/smtp-gated/lockd/rates"
)

// Admission to the live sessions. This file owns the order in which limits are looked
// at. A session that was refused is not live: it has a number for the log, and nothing
// else is remembered of it.

// admission is the reply that a worker waits for.
type admission = link.Reply[imsg.Admission]

// enter decides on one accepted connection. It takes the place of one that is
// within the limits at once: what else may refuse it is looked at by start.
func (srv *server) enter(w *worker, r admission, m *imsg.Enter, start starter) {
	s := &session{
		number:     srv.counters.Number(),
		worker:     w,
		started:    srv.env.now().UnixNano(),
		client:     locks.Plain(m.Client),
		local:      locks.Plain(m.Local),
		target:     locks.Plain(m.Target),
		identKnown: !srv.config.Mode.Remote(),
		check:      m.Check,
	}
	a := &imsg.Admission{
		Number:   s.number,
		Sessions: srv.live.sessions.Len() + 1,
		Same:     len(srv.live.sameHost(s.client.Addr())) + 1,
		Load:     srv.load,
		Exempt:   srv.exemptions(s),
	}
	a.Refusal = srv.limit(s, a)
	switch {
	case a.Refusal == imsg.RefusedConnections:
		srv.observe(imsg.FindingLimit, imsg.ObjectMaxConnections, "clients are turned away")
	case a.Refusal == imsg.RefusedLoad:
		srv.observe(imsg.FindingLimit, imsg.ObjectMaxLoad, "clients are turned away")
	case a.Refusal == imsg.RefusedHost && !srv.monitored(a, imsg.RuleMaxHost):
		if !a.Exempt.Has(imsg.ExemptLock) && !srv.looksLater(s) {
			srv.offend(s, maxHost(s), r.Late, func(imsg.Errno) {})
		}
	case a.Refusal == imsg.Admitted:
		srv.live.add(s)
		srv.counters.Peak(srv.live.sessions.Len())
		if s.identKnown { // else Ident will come
			s.unlooked = srv.looksLater(s)
			srv.judge(r, s, a, !s.unlooked, start)
			return
		}
	}
	r.Answer(a)
}

// monitored tells whether a refusal by this rule is one that policy.monitor only looks for.
// It is an admission then, which says so.
func (srv *server) monitored(a *imsg.Admission, rule imsg.PolicyRule) bool {
	if !srv.config.Monitored.Has(rule) {
		return false
	}
	a.Refusal, a.Would = imsg.Admitted, a.Would.With(rule)
	return true
}

// limit looks at the limits in the order an administrator knows them.
func (srv *server) limit(s *session, a *imsg.Admission) imsg.Refusal {
	c := &srv.config
	switch {
	case a.Sessions > c.MaxConnections:
		return imsg.RefusedConnections
	case c.MaxLoad > 0 && a.Load > c.MaxLoad && !s.check:
		return imsg.RefusedLoad
	case c.MaxPerHost > 0 && a.Same > c.MaxPerHost && !a.Exempt.Has(imsg.ExemptLimit):
		return imsg.RefusedHost
	}
	return imsg.Admitted
}

// identify decides again on an admitted session, of which now is known what its
// worker had to ask for. A session that is refused is live no more.
func (srv *server) identify(r admission, s *session, m *imsg.Ident, start starter) {
	fresh, found := !s.identKnown, !s.target.IsValid()
	s.identKnown = true
	if fresh {
		s.ident = m.Ident
	}
	if t := locks.Plain(m.Target); t.IsValid() && (fresh || found) {
		s.target = t
	}
	a := &imsg.Admission{Number: s.number, Sessions: srv.live.sessions.Len(), Same: srv.live.identCount(s), Load: srv.load, Exempt: srv.exemptions(s)}
	switch limit := srv.config.MaxPerIdent; {
	case fresh && limit > 0 && a.Same > limit && !a.Exempt.Has(imsg.ExemptLimit) && !srv.monitored(a, imsg.RuleMaxIdent):
		a.Refusal = imsg.RefusedIdent
		srv.offend(s, maxIdents(s), r.Late, func(imsg.Errno) {})
		srv.live.remove(s)
	case fresh || found:
		srv.judge(r, s, a, fresh || s.unlooked, start)
		return
	}
	r.Answer(a)
}

// judge finds out whether s keeps its place, by what goes by the whole name of its
// client: a lock, if that is new to look at, and the quota of connections, once its
// target is known. It answers r, or gives the place back when nobody waits for
// the answer any more.
func (srv *server) judge(r admission, s *session, a *imsg.Admission, lock bool, start starter) {
	duration, lockMonitored := srv.config.LockDuration, srv.config.Monitored.Has(imsg.RuleLocked)
	lock = lock && duration != 0 && !a.Exempt.Has(imsg.ExemptLock)
	counts := s.target.IsValid() && !a.Exempt.Has(imsg.ExemptRate) // without a target Ident will come with it
	if !lock && (!srv.rates.On() || !counts) {
		srv.opened(s, a)
		r.Answer(a)
		return
	}
	s.judging = a
	about, u := s.subject(), srv.use(s, imsg.RateConnections, 1)
	late := time.AfterFunc(time.Until(r.Until), func() { srv.giveUp(r, s, a) })
	begun := srv.fileCalls.beginBy(start, u.Client, func() {
		if r.Late() {
			return
		}
		var o rates.Outcome
		locked := false
		if lock {
			m, err := srv.locks.Look(u.Client, duration, about)
			if err != nil { // we do not let in whom a lock may keep out
				late.Stop()
				srv.observe(imsg.FindingLock, imsg.ObjectLook, err.Error())
				srv.mu.Lock()
				defer srv.mu.Unlock()
				srv.withdraw(r, s, a, imsg.Resource)
				return
			}
			if locked = m == locks.Locked; !locked {
				srv.refusals.Forget(u.Client)
			}
		}
		if counts && (!locked || lockMonitored) {
			o = srv.rates.Judge(u)
		}
		switch {
		case srv.judged(r, s, a, locked, u, o):
			late.Stop()
		case o.Taken:
			srv.rates.GiveBack(u)
		}
	})
	if !begun {
		srv.observe(imsg.FindingLock, imsg.ObjectLook, "too much waits for the disk")
		late.Stop()
		srv.untraced(s, false)
		srv.live.remove(s)
		r.Fail(imsg.Busy)
	}
}

// judged answers, by what was found of s's client. It is false if that comes too late:
// its place was given back, or is about to be, or s or its worker is no more.
func (srv *server) judged(r admission, s *session, a *imsg.Admission, locked bool, u *rates.Use, o rates.Outcome) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	switch {
	case s.judging != a, r.Late():
		return false
	case locked && !srv.monitored(a, imsg.RuleLocked):
		srv.locks.Say("LOCK:LOCKED", s.subject())
		srv.refusals.Count(u.Client)
		a.Refusal = imsg.RefusedLocked
	default:
		a.Refusal, a.Uses = o.Refusal, o.Uses
		s.counted = o.Taken
		if o.Refusal != imsg.RefusedRate || !srv.monitored(a, imsg.RuleRate) {
			srv.logUse(u, o)
		}
	}
	s.judging = nil
	srv.observe(imsg.FindingLock, imsg.ObjectLook, "")
	if srv.silent {
		srv.silent = false
		srv.log.Warn("files are looked at in time again")
	}
	if a.Refusal != imsg.Admitted {
		srv.live.remove(s)
	} else {
		srv.opened(s, a)
	}
	r.Answer(a)
	if a.Refusal != imsg.Admitted { // a trace that ends with it shows it
		srv.untraced(s, true)
	}
	return true
}

// giveUp gives back the place of a session whose worker waits no more to be told
// of it.
func (srv *server) giveUp(r admission, s *session, a *imsg.Admission) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if !srv.withdraw(r, s, a, imsg.Timeout) {
		return
	}
	srv.observe(imsg.FindingLock, imsg.ObjectLook, "the disk does not answer")
	if !srv.silent {
		srv.silent = true
		srv.log.Error("the disk of locks or of rates does not answer: clients are turned away for now")
	}
}

// withdraw gives back the place of a session that cannot be judged, if that is not done;
// mu is held.
func (srv *server) withdraw(r admission, s *session, a *imsg.Admission, why imsg.Errno) bool {
	if s.judging != a {
		return false
	}
	srv.untraced(s, false)
	srv.live.remove(s)
	r.Fail(why)
	return true
}
