// What sessions use of their clients' quotas. This file owns when a use is judged,
// aside, and that a use comes back which nobody came to know of. What a quota means is
// a matter of lockd/rates.

package lockd

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/rates"
)

// use is the use of a quota by s.
func (k *keeper) use(s *session, what imsg.Rate, n uint64) *rates.Use {
	return &rates.Use{
		Client: k.live.clientName(s), Session: s.number, Addr: s.client.Addr(), Ident: s.ident,
		Counter: what, Amount: n, Target: s.target,
	}
}

// allow judges a use that s asks for, and answers r.
func (k *keeper) allow(r link.Reply[imsg.QuotaResult], s *session, m *imsg.QuotaUse) {
	u := k.use(s, m.Counter, m.Amount)
	begun := k.aside.begin(u.Client, func() {
		if r.Late() {
			return
		}
		o := k.rates.Judge(u)
		if !k.allowed(r, s, m, u, o) && o.Taken {
			k.rates.GiveBack(u)
		}
	})
	if !begun {
		r.Fail(imsg.Busy)
	}
}

// allowed answers r by what came of u. It is false if s has left meanwhile, or its
// worker waits no more.
func (k *keeper) allowed(r link.Reply[imsg.QuotaResult], s *session, m *imsg.QuotaUse, u *rates.Use, o rates.Outcome) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.live.sessions[s.number] != s:
		r.Fail(imsg.NotFound)
		return false
	case r.Late():
		return false
	}
	k.rates.Log(u, o)
	r.Answer(&imsg.QuotaResult{QuotaUse: *m, Refusal: o.Refusal})
	return true
}

// unuse takes a use back that nobody came to know of.
func (k *keeper) unuse(s *session, what imsg.Rate, n uint64) {
	if !k.rates.On() {
		return
	}
	u := k.use(s, what, n)
	k.aside.begin(u.Client, func() { k.rates.GiveBack(u) })
}
