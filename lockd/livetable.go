package lockd

import (
	"net/netip"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

// session is one live session.
type session struct {
	number     uint64
	worker     *worker
	started    int64
	client     netip.AddrPort
	local      netip.AddrPort
	target     netip.AddrPort
	ident      string
	login      string                    // that its server takes it for, as imsg.Login writes it
	barred     bool                      // it is not let send under that: it is none of the login's sessions
	identKnown bool                      // at once, or once a router was asked
	place      int                       // in the list of its host
	opened     bool                      // its worker knows that it keeps its place
	check      bool                      // a load balancer's own, which counts for no host
	unlooked   bool                      // its lock is looked at when its target is known
	counted    bool                      // it has used one of its client's connections
	used       [imsg.RateCounters]uint64 // of its client's quotas, as it was told it may

	judging *imsg.Admission // it has a place, and is not told yet whether it keeps it

	offences []offence // handled, so that a repeat is not

	lockedMeanwhile bool // its client was, while its worker had no link
	killed          bool // an operator has asked for its end

	trace *trace // that it is part of; nil: of none
}

func (s *session) subject() locks.Subject {
	return locks.Subject{Session: s.number, Addr: s.client.Addr(), Ident: s.ident, Login: s.login}
}

// returned is how much of n of a quota that its worker gives back s can have used: no
// worker gives back what others of the client's have used. It counts as given back.
func (s *session) returned(what imsg.Rate, n uint64) uint64 {
	n = min(n, s.used[what])
	s.used[what] -= n
	return n
}

// liveTable is the live sessions, by their numbers and by their clients. It has no lock
// of its own: the room's guards it.
type liveTable struct {
	naming   locks.Naming // what makes one client of many addresses today
	sessions imsg.ByNumber[*session]
	hosts    map[netip.Addr][]*session // by the address that stands for all of a client's
	logins   map[string]map[*session]struct{}
}

func newLiveTable() liveTable {
	return liveTable{hosts: make(map[netip.Addr][]*session), logins: make(map[string]map[*session]struct{})}
}

// clientName is the name of s's client, by its address.
func (t *liveTable) clientName(s *session) string { return t.naming.Name(s.client.Addr(), s.ident) }

// sameHost is the live sessions of the host at a. They are the table's.
func (t *liveTable) sameHost(a netip.Addr) []*session { return t.hosts[t.naming.Host(a)] }

// of returns w's session of this number, nil if w has none.
func (t *liveTable) of(w *worker, number uint64) *session {
	if s := t.sessions.Of(number); s != nil && s.worker == w {
		return s
	}
	return nil
}

func (t *liveTable) add(s *session) {
	t.group(s)
	t.enlist(s)
	t.sessions.Put(s.number, s)
	s.worker.sessions++
}

// group puts s among the sessions of its host.
func (t *liveTable) group(s *session) {
	if s.check {
		return
	}
	host := t.naming.Host(s.client.Addr())
	s.place = len(t.hosts[host])
	t.hosts[host] = append(t.hosts[host], s)
}

func (t *liveTable) remove(s *session) {
	s.judging = nil
	t.strike(s)
	t.sessions.Delete(s.number)
	s.worker.sessions--
	if s.check {
		return
	}
	host := t.naming.Host(s.client.Addr())
	same := t.hosts[host]
	last := len(same) - 1
	same[s.place] = same[last]
	same[s.place].place = s.place
	same[last] = nil
	if last == 0 {
		delete(t.hosts, host)
		return
	}
	t.hosts[host] = same[:last]
}

// enlist puts s among the sessions of its login.
func (t *liveTable) enlist(s *session) {
	if s.login == "" {
		return
	}
	if t.logins[s.login] == nil {
		t.logins[s.login] = make(map[*session]struct{})
	}
	t.logins[s.login][s] = struct{}{}
}

// strike is the inverse of enlist.
func (t *liveTable) strike(s *session) {
	delete(t.logins[s.login], s)
	if len(t.logins[s.login]) == 0 {
		delete(t.logins, s.login)
	}
}

// loginCount is how many sessions of s's login are live that may send.
func (t *liveTable) loginCount(s *session) (n int) {
	for o := range t.logins[s.login] {
		if !o.barred {
			n++
		}
	}
	return n
}

// removeAll removes the sessions of w.
func (t *liveTable) removeAll(w *worker) {
	if w.sessions == 0 {
		return
	}
	for s := range t.sessions.All() {
		if s.worker == w {
			t.remove(s)
		}
	}
}

// regroup counts the live sessions anew, by hosts as they are from now on.
func (t *liveTable) regroup(naming locks.Naming) {
	t.naming = naming
	clear(t.hosts)
	for s := range t.sessions.All() {
		t.group(s)
	}
}

// identCount is how many sessions of the same client and ident are live, s among
// them even if it is not.
func (t *liveTable) identCount(s *session) int {
	n := 1
	for _, o := range t.sameHost(s.client.Addr()) {
		if o != s && o.identKnown && o.ident == s.ident {
			n++
		}
	}
	return n
}
