// The rate limiter: what a session's client uses is held against its record. This
// file owns when that happens and what is logged of it. Without a period there
// is no limiter: no record is looked at or made.

package lockd

import "github.com/smtp-gated/smtp-gated/imsg"

// connect uses up one connection of s's client, and says what it has a quota of.
func (k *keeper) connect(s *session, a *imsg.Admission) imsg.Refusal {
	if k.rules.period <= 0 {
		return imsg.Admitted
	}
	if refusal := k.use(s, imsg.RateConnections, 1); refusal != imsg.Admitted {
		return refusal
	}
	r, ok := k.recordOf(s)
	if !ok {
		return imsg.RefusedRateError
	}
	a.Uses = r.counted()
	if k.rules.targetPeriod >= 0 {
		a.Uses |= 1 << imsg.RateTargets
	}
	return imsg.Admitted
}

// use judges the use of n of a quota.
func (k *keeper) use(s *session, c imsg.Rate, n uint64) imsg.Refusal {
	if k.rules.period <= 0 {
		return imsg.Admitted
	}
	r, ok := k.recordOf(s)
	if !ok {
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

// unuse takes a use back that nobody came to know of.
func (k *keeper) unuse(s *session, c imsg.Rate, n uint64) {
	if k.rules.period <= 0 {
		return
	}
	if r, ok := k.recordOf(s); ok {
		r.unuse(c, n)
	}
}

// visit judges the call of s's target, which is the last that admission depends
// on.
func (k *keeper) visit(s *session) imsg.Refusal {
	if k.rules.period <= 0 {
		return imsg.Admitted
	}
	r, ok := k.recordOf(s)
	if !ok {
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

// recordOf returns the record of s's client, up to date and about to be written.
func (k *keeper) recordOf(s *session) (r *record, ok bool) {
	name, now := k.clientName(s), k.machine.now().UnixNano()
	r, err := k.rates.get(name)
	if err == nil {
		if r == nil {
			r = newRecord(&k.rules, now)
		}
		r.renew(&k.rules, now)
		err = k.rates.put(name, r)
	}
	if err != nil {
		k.log.Error("client cannot be limited, and is refused", imsg.SessionKey, s.number, "client", name, "error", err)
	}
	return r, err == nil
}

func (k *keeper) sayUse(s *session, c imsg.Rate, r *record) []any {
	return []any{
		imsg.SessionKey, s.number, "src", s.client.Addr(), "ident", s.ident,
		"counter", c, "used", r.used[c], "quota", r.quotas[c], "tries", r.tries[c],
	}
}
