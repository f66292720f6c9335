// What the operator's side sees of the room. This file owns that nothing a lock guards
// leaves the lock: it hands out copies.

package lockd

import (
	"net/netip"
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/control"
)

// view is what lockd/control may do with a keeper.
type view struct{ *keeper }

// Overview implements control.House.
func (k view) Overview() control.Overview {
	k.mu.Lock()
	defer k.mu.Unlock()
	return control.Overview{Config: k.config, Family: k.family, Live: len(k.live.sessions)}
}

// LiveAfter implements control.House.
func (k view) LiveAfter(after uint64, n int) []control.Session {
	k.mu.Lock()
	numbers := make([]uint64, 0, len(k.live.sessions))
	for n := range k.live.sessions {
		if n > after {
			numbers = append(numbers, n)
		}
	}
	k.mu.Unlock()
	slices.Sort(numbers)

	k.mu.Lock()
	defer k.mu.Unlock()
	var list []control.Session
	for _, number := range numbers {
		if len(list) == n {
			break
		}
		s := k.live.sessions[number]
		if s == nil {
			continue // it has left meanwhile
		}
		list = append(list, control.Session{LiveSession: imsg.LiveSession{
			Number: number, Started: s.started, Client: s.client, Local: s.local, Target: s.target, Ident: s.ident,
		}, Worker: s.worker.conn})
	}
	return list
}

// Workers implements control.House.
func (k view) Workers() (links []*link.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for w := range k.workers {
		links = append(links, w.conn)
	}
	return links
}

// TellLocked implements control.House.
func (k view) TellLocked(addr netip.Addr, name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tell(nil, addr, name)
}

// Aside implements control.House.
func (k view) Aside(turn string, job func()) bool { return k.aside.begin(turn, job) }
