// The rate limiter: what a session's client uses is held against its record. This
// file owns when that happens and what is logged of it. Without a period there
// is no limiter: no record is looked at or made.

package lockd

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// connect uses up one connection of s's client, of which c is remembered, and says
// what it has a quota of.
func (k *keeper) connect(s *session, a *imsg.Admission, c memory) imsg.Refusal {
	if k.rules.period <= 0 {
		return imsg.Admitted
	}
	r := k.renewed(s, c)
	refusal := k.use(s, r, imsg.RateConnections, 1)
	if refusal != imsg.Admitted {
		return refusal
	}
	s.counted = true
	a.Uses = r.counted()
	if k.rules.targetPeriod >= 0 {
		a.Uses |= 1 << imsg.RateTargets
	}
	return imsg.Admitted
}

// allow judges a use that s asks for, aside, and answers r.
func (k *keeper) allow(r link.Reply[imsg.QuotaResult], s *session, m *imsg.QuotaUse) {
	name := k.clientName(s)
	begun := k.aside.begin(name, func() {
		if r.Late() {
			return
		}
		k.remember(name, func(c memory) {
			a := &imsg.QuotaResult{QuotaUse: *m}
			switch {
			case r.Late():
				return
			case k.rules.period <= 0:
			case m.Counter == imsg.RateTargets:
				a.Refusal = k.visit(s, k.renewed(s, c))
			default:
				a.Refusal = k.use(s, k.renewed(s, c), m.Counter, m.Amount)
			}
			r.Answer(a)
		})
	})
	if !begun {
		r.Fail(imsg.Busy)
	}
}

// use judges the use of n of a quota.
func (k *keeper) use(s *session, r *record, c imsg.Rate, n uint64) imsg.Refusal {
	if r == nil {
		return imsg.RefusedRateError
	}
	passed := r.use(c, n)
	switch {
	case !passed:
		k.log.Info("RATELIMIT:REJECT", k.sayUse(s, c, r)...)
		return imsg.RefusedRate
	case r.quotas[c] > 0:
		k.log.Debug("RATELIMIT:PASS", k.sayUse(s, c, r)...)
	}
	return imsg.Admitted
}

// unuse takes a use back, aside, that nobody came to know of.
func (k *keeper) unuse(s *session, what imsg.Rate, n uint64) {
	if k.rules.period <= 0 {
		return
	}
	name := k.clientName(s)
	k.aside.begin(name, func() {
		k.remember(name, func(c memory) {
			if r := k.renewed(s, c); r != nil {
				r.unuse(what, n)
			}
		})
	})
}

// visit judges the call of s's target, which is the last that admission depends
// on.
func (k *keeper) visit(s *session, r *record) imsg.Refusal {
	if r == nil {
		return imsg.RefusedRateError
	}
	if period := k.rules.targetPeriod; period >= 0 && s.target.IsValid() &&
		!r.visit(s.target.Addr(), period, k.machine.now().UnixNano()) {
		k.log.Info("RATELIMIT:REJECT", imsg.SessionKey, s.number, "src", s.client.Addr(), "ident", s.ident,
			"counter", "targets", "dst", s.target)
		return imsg.RefusedTargets
	}
	return imsg.Admitted
}

// renewed is the record of s's client, up to date and about to be written: the one
// remembered, or a fresh one. It is nil if it is unusable.
func (k *keeper) renewed(s *session, c memory) *record {
	r, err, now := c.record, c.err, k.machine.now().UnixNano()
	if err == nil {
		if r == nil {
			r = newRecord(&k.rules, now)
		}
		r.renew(&k.rules, now)
		err = k.rates.put(c.name, r)
	}
	if err != nil {
		k.log.Error("client cannot be limited, and is refused", imsg.SessionKey, s.number, "client", c.name, "error", err)
		return nil
	}
	return r
}

func (k *keeper) sayUse(s *session, c imsg.Rate, r *record) []any {
	return []any{
		imsg.SessionKey, s.number, "src", s.client.Addr(), "ident", s.ident,
		"counter", c, "used", r.used[c], "quota", r.quotas[c], "tries", r.tries[c],
	}
}
