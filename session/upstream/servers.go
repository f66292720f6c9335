package upstream

import (
	"net/netip"
	"sync"
	"time"
)

// This file owns which of the configured servers is called: the first of them that is not
// passed over.

// Pause is how long a server is passed over that did not serve a session. Nobody asks it
// meanwhile: the next session behind that does.
const Pause = 30 * time.Second

// Servers are those of the fixed modes, in their order. Any number of goroutines may use
// them.
type Servers struct {
	mu  sync.Mutex
	all []server
}

type server struct {
	addr    netip.AddrPort
	problem string    // why it did not serve the last session; empty: it did, or none has come
	until   time.Time // it is passed over
}

// NewServers returns servers none of which is passed over.
func NewServers(list []netip.AddrPort) *Servers {
	s := &Servers{all: make([]server, len(list))}
	for i, addr := range list {
		s.all[i].addr = addr
	}
	return s
}

// Tried are servers that a session has called, a bit each.
type Tried uint32

// Next returns the server that a session is to call next, and notes that it has. It is the
// first it has not called that is not passed over; where all are, the first it has not
// called: to ask one that has failed is better than to ask nobody. more tells whether there
// is another one behind it, ok whether there was one at all. passed hears of those before
// it that are passed over, and why.
func (s *Servers) Next(tried *Tried, now time.Time, passed func(addr netip.AddrPort, problem string)) (addr netip.AddrPort, more, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := -1
	for i := range s.all {
		if *tried&(1<<i) == 0 && !now.Before(s.all[i].until) {
			next = i
			break
		}
	}
	for i := range s.all {
		switch {
		case *tried&(1<<i) != 0:
		case next < 0:
			next = i
		case i < next:
			passed(s.all[i].addr, s.all[i].problem)
		}
	}
	if next < 0 {
		return netip.AddrPort{}, false, false
	}
	if one := &s.all[next]; one.problem != "" { // one session tries
		one.until = now.Add(Pause)
	}
	*tried |= 1 << next
	return s.all[next].addr, *tried != 1<<len(s.all)-1, true
}

// Failed says that a server did not serve a session, and why, so that it is passed over. A
// single one never is. news tells whether it had served the one before.
func (s *Servers) Failed(addr netip.AddrPort, problem string, now time.Time) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.of(addr)
	if one == nil || len(s.all) == 1 {
		return false
	}
	news = one.problem == ""
	one.problem, one.until = problem, now.Add(Pause)
	return news
}

// Served says that a server serves a session. news tells whether it had not served the one
// before.
func (s *Servers) Served(addr netip.AddrPort) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.of(addr)
	if one == nil || one.problem == "" {
		return false
	}
	one.problem, one.until = "", time.Time{}
	return true
}

func (s *Servers) of(addr netip.AddrPort) *server {
	for i := range s.all {
		if s.all[i].addr == addr {
			return &s.all[i]
		}
	}
	return nil
}
