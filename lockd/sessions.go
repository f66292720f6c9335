// The live sessions and admission to them. This file owns the order in which
// limits are looked at. A session that was refused is not live: it has a number
// for the log, and nothing else is remembered of it.

package lockd

import (
	"net/netip"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// session is one live session.
type session struct {
	number  uint64
	worker  *worker
	started int64
	client  netip.AddrPort
	local   netip.AddrPort
	target  netip.AddrPort
	ident   string
	known   bool // its ident is: at once, or once a router was asked
	place   int  // in the list of its host

	offences []offence // handled, so that a repeat is not
}

// admit decides on one accepted connection.
func (k *keeper) admit(w *worker, m *imsg.Enter) *imsg.Admission {
	s := &session{
		number:  k.counters.number(),
		worker:  w,
		started: k.machine.now().UnixNano(),
		client:  plain(m.Client),
		local:   plain(m.Local),
		target:  plain(m.Target),
		known:   !k.config.Mode.Remote(),
	}
	a := &imsg.Admission{
		Number:   s.number,
		Sessions: len(k.live) + 1,
		Same:     len(k.hosts[k.host(s.client.Addr())]) + 1,
		Load:     k.machine.load(),
	}
	a.Refusal = k.judge(s, a)
	switch a.Refusal {
	case imsg.Admitted:
		k.add(s)
	case imsg.RefusedHost:
		k.offend(s, maxHost(s))
	}
	return a
}

// judge looks at the limits in the order an administrator knows them.
func (k *keeper) judge(s *session, a *imsg.Admission) imsg.Refusal {
	c := &k.config
	switch {
	case a.Sessions > c.MaxConnections:
		return imsg.RefusedConnections
	case c.MaxLoad > 0 && a.Load > c.MaxLoad:
		return imsg.RefusedLoad
	case c.MaxPerHost > 0 && a.Same > c.MaxPerHost:
		return imsg.RefusedHost
	case !s.known:
		return imsg.Admitted // Ident will come
	}
	return k.judgeClient(s, a)
}

// judgeClient looks at what goes by the whole name of a client.
func (k *keeper) judgeClient(s *session, a *imsg.Admission) imsg.Refusal {
	if d := k.config.LockDuration; d != 0 && k.locks.look(k.clientName(s), d, s) == locked {
		k.locks.say("LOCK:LOCKED", s)
		return imsg.RefusedLocked
	}
	if !s.target.IsValid() {
		return imsg.Admitted // Ident will come with it
	}
	return k.connect(s, a)
}

// identify decides again on an admitted session, of which now is known what its
// worker had to ask for. A session that is refused is live no more.
func (k *keeper) identify(s *session, m *imsg.Ident) *imsg.Admission {
	fresh, found := !s.known, !s.target.IsValid()
	s.known = true
	if fresh {
		s.ident = clip(m.Ident, maxIdent)
	}
	if t := plain(m.Target); t.IsValid() && (fresh || found) {
		s.target = t
	}
	a := &imsg.Admission{Number: s.number, Sessions: len(k.live), Same: k.identCount(s), Load: k.machine.load()}
	switch limit := k.config.MaxPerIdent; {
	case fresh && limit > 0 && a.Same > limit:
		a.Refusal = imsg.RefusedIdent
		k.offend(s, maxIdents(s))
	case fresh:
		a.Refusal = k.judgeClient(s, a)
	case found:
		a.Refusal = k.connect(s, a)
	}
	if a.Refusal != imsg.Admitted {
		k.remove(s)
	}
	return a
}

func (k *keeper) add(s *session) {
	host := k.host(s.client.Addr())
	same := k.hosts[host]
	s.place = len(same)
	k.hosts[host] = append(same, s)
	k.live[s.number] = s
	s.worker.sessions++
	k.counters.peak(len(k.live))
}

func (k *keeper) remove(s *session) {
	delete(k.live, s.number)
	s.worker.sessions--
	host := k.host(s.client.Addr())
	same := k.hosts[host]
	last := len(same) - 1
	same[s.place] = same[last]
	same[s.place].place = s.place
	same[last] = nil
	if last == 0 {
		delete(k.hosts, host)
		return
	}
	k.hosts[host] = same[:last]
}

// regroup counts the live sessions anew, by hosts as they are today.
func (k *keeper) regroup() {
	clear(k.hosts)
	for _, s := range k.live {
		host := k.host(s.client.Addr())
		s.place = len(k.hosts[host])
		k.hosts[host] = append(k.hosts[host], s)
	}
}

// identCount is how many sessions of the same client and ident are live, s among
// them even if it is not.
func (k *keeper) identCount(s *session) int {
	n := 1
	for _, o := range k.hosts[k.host(s.client.Addr())] {
		if o != s && o.known && o.ident == s.ident {
			n++
		}
	}
	return n
}
