// The live sessions and admission to them. This file owns the order in which
// limits are looked at. A session that was refused is not live: it has a number
// for the log, and nothing else is remembered of it.

package lockd

import (
	"net/netip"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// maxIdent is the largest number of octets of an ident that count.
const maxIdent = 64

// session is one live session.
type session struct {
	number  uint64
	worker  *worker
	started int64
	client  netip.AddrPort
	local   netip.AddrPort
	target  netip.AddrPort
	ident   string
	place   int // in the list of its host

	offences []offence // handled, so that a repeat is not
}

// plain gives an address the one form under which hosts are counted and lock
// files named: no IPv4 inside IPv6, and no zone, which could hold anything.
func plain(a netip.AddrPort) netip.AddrPort {
	if !a.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

func clip(s string, n int) string { return s[:min(len(s), n)] }

// admit decides on one accepted connection.
func (k *keeper) admit(w *worker, m *imsg.Enter) *imsg.Admission {
	s := &session{
		number:  k.counters.number(),
		worker:  w,
		started: k.machine.now().UnixNano(),
		client:  plain(m.Client),
		local:   plain(m.Local),
		target:  plain(m.Target),
	}
	a := &imsg.Admission{
		Number:   s.number,
		Sessions: len(k.live) + 1,
		Same:     len(k.hosts[s.client.Addr()]) + 1,
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
	case c.Mode.Remote():
		// Locks go by address and ident there, and the router that knows the
		// ident is asked later.
		return imsg.Admitted
	case c.LockDuration != 0 && k.locks.look(k.lockName(s), c.LockDuration, s) == locked:
		k.locks.say("LOCK:LOCKED", s)
		return imsg.RefusedLocked
	}
	return imsg.Admitted
}

func (k *keeper) add(s *session) {
	host := k.hosts[s.client.Addr()]
	s.place = len(host)
	k.hosts[s.client.Addr()] = append(host, s)
	k.live[s.number] = s
	s.worker.sessions++
	k.counters.peak(len(k.live))
}

func (k *keeper) remove(s *session) {
	delete(k.live, s.number)
	s.worker.sessions--
	host := k.hosts[s.client.Addr()]
	last := len(host) - 1
	host[s.place] = host[last]
	host[s.place].place = s.place
	host[last] = nil
	if last == 0 {
		delete(k.hosts, s.client.Addr())
		return
	}
	k.hosts[s.client.Addr()] = host[:last]
}

// identCount is how many sessions of the same address and ident are live, s
// among them even if it is not.
func (k *keeper) identCount(s *session) int {
	n := 1
	for _, o := range k.hosts[s.client.Addr()] {
		if o != s && o.ident == s.ident {
			n++
		}
	}
	return n
}
