// All listeners of a family, from its first generation to its last. This file owns
// that one that is open stays so as long as a generation uses it.

package socket

import (
	"net/netip"
	"os"
	"slices"
)

// Set is the listeners that are open.
type Set struct {
	given []*Listener // by systemd: the configuration's addresses do not matter
	open  map[Wanted]*Listener
}

// Wanted is a listener as a configuration has it.
type Wanted struct {
	netip.AddrPort
	Name string // what tells it from another whose port the system picks; empty with a port, which does
}

// NewSet takes over what systemd gives, once (sd_listen_fds(3)). Nothing is the usual
// case.
func NewSet() (*Set, error) {
	all, err := given()
	return &Set{all, make(map[Wanted]*Listener)}, err
}

// Bequest is a listener as it is handed to another program.
type Bequest struct {
	Configured  netip.AddrPort // the address in the configuration, invalid: the service manager gave it
	Addr        netip.AddrPort // where it is bound
	Name        string         // as the service manager calls it, or Wanted
	Given       bool           // by the service manager
	Transparent bool           // takes connections that are not for our addresses
	Open        int            // how many of the sockets, from the first, may be connected to
	Backlog     int            // of those
}

// Bequeathed is one with its sockets, which stay the set's.
type Bequeathed struct {
	Bequest
	Sockets []*os.File
}

// Bequeath returns all of them.
func (s *Set) Bequeath() (all []Bequeathed) {
	for _, l := range s.given {
		all = append(all, l.bequeathed())
	}
	for _, l := range s.open {
		all = append(all, l.bequeathed())
	}
	return all
}

func (l *Listener) bequeathed() Bequeathed { return Bequeathed{l.bequest(), slices.Clone(l.sockets)} }

func (l *Listener) bequest() Bequest {
	return Bequest{l.From, l.Addr, l.Name, l.given, l.transparent, l.open, l.backlog}
}

// Inherit makes an empty set, a zero Set, take a listener and its sockets over. More of
// the same may follow with more sockets.
func (s *Set) Inherit(b Bequest, sockets []*os.File) {
	if s.open == nil {
		s.open = make(map[Wanted]*Listener)
	}
	for i, f := range sockets {
		if own, err := unwatch(f); err == nil { // else it goes on as it is
			sockets[i] = own
		}
	}
	wanted := Wanted{b.Configured, b.Name}
	if l := s.open[wanted]; l != nil && !b.Given {
		l.sockets = append(l.sockets, sockets...)
		return
	}
	l := &Listener{
		Addr: b.Addr, Name: b.Name, From: b.Configured, given: b.Given, transparent: b.Transparent,
		sockets: sockets, open: b.Open, backlog: b.Backlog,
	}
	if b.Given {
		s.given = append(s.given, l)
	} else {
		s.open[wanted] = l
	}
}

// Given tells whether they are: then none is ever opened here.
func (s *Set) Given() bool { return len(s.given) > 0 }

// Listen returns the listeners of a generation with so many workers: those given, else
// each that is wanted, open already or reserved now. A transparent one takes
// connections that are not for our addresses. After an error, what was reserved waits
// for Release or for another Listen.
func (s *Set) Listen(wanted []Wanted, workers int, transparent bool) ([]*Listener, error) {
	all := slices.Clone(s.given)
	if len(all) == 0 {
		for _, w := range wanted {
			l, err := s.listen(w, workers, transparent)
			if err != nil {
				return nil, err
			}
			all = append(all, l)
		}
	}
	for _, l := range all {
		if transparent {
			if err := l.setTransparent(); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

func (s *Set) listen(w Wanted, workers int, transparent bool) (*Listener, error) {
	if l := s.open[w]; l != nil {
		return l, l.grow(workers)
	}
	l, err := reserve(w.AddrPort, workers, transparent)
	if err == nil {
		l.From, l.Name = w.AddrPort, w.Name
		s.open[w] = l
	}
	return l, err
}

// Release lets go of all that were not given but those in use, and returns where they
// were bound. Workers that have one hold it still, with whoever waits there.
func (s *Set) Release(used []*Listener) (closed []netip.AddrPort) {
	for w, l := range s.open {
		if !slices.Contains(used, l) {
			closed = append(closed, l.Addr)
			l.close()
			delete(s.open, w)
		}
	}
	return closed
}

// Close is Release of all. Who waits at a given one is the service manager's, which has
// it still.
func (s *Set) Close() (closed []netip.AddrPort) {
	for _, l := range s.given {
		l.close()
	}
	return s.Release(nil)
}
