// Package exemptions keeps whom an operator spares which checks, and until when.
//
// Who asks waits for nobody: what is in force stands in an index that is made anew with
// each change. A file that the parent hands over has all of them, too (file.go).
package exemptions

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Max is how many exemptions there may be.
const Max = 1000

// ErrFull says that there are as many as there may be.
var ErrFull = errors.New("there are 1000 exemptions, and may be no more: remove one")

// List is all exemptions. It may be used by any goroutine.
type List struct {
	log     *slog.Logger
	now     func() time.Time
	expired func(imsg.Exemption) // hears of each that has run out

	index atomic.Pointer[index]

	mu      sync.Mutex // held for moments, and over no file call
	all     map[Who]imsg.Exemption
	changes uint64 // how many there have been

	fileMu  sync.Mutex // held over file calls; taken before mu
	file    *os.File   // nil: there is none, or it cannot be used
	pending *os.File   // handed over, and another daemon has it still
	closed  bool       // for good
	opened  bool       // a file was read
	turn    uint64     // of what the file has
	kept    uint64     // changes of which the file knows
	said    string     // why it does not know of all, as the log has it
}

// New returns a list that is in memory only until there is a file.
func New(now func() time.Time, log *slog.Logger, expired func(imsg.Exemption)) *List {
	l := &List{log: log, now: now, expired: expired, all: make(map[Who]imsg.Exemption)}
	l.rebuild()
	return l
}

// Of is what a client is spared that calls a server, which may not be known, and has logged
// in, if login is not empty: all that any exemption says of them.
func (l *List) Of(client, server netip.Addr, login string) (from imsg.ExemptSet) {
	l.index.Load().each(client, server, login, func(e *imsg.Exemption) {
		if l.inForce(e) {
			from |= e.From
		}
	})
	return from
}

// Networks are those whose clients are exempt from a check now, whatever server they call.
func (l *List) Networks(from imsg.Exempt) (all []netip.Prefix) {
	for n, e := range l.index.Load().nets {
		if e.From.Has(from) && l.inForce(e) {
			all = append(all, n)
		}
	}
	return all
}

// Servers tells whether it may depend on the server whether a client is spared a check.
func (l *List) Servers(from imsg.Exempt) bool { return l.index.Load().ofServers.Has(from) }

// About are the exemptions in force that a client has which calls a server and may have
// logged in, at most n: of networks the smallest first.
func (l *List) About(client, server netip.Addr, login string, n int) (all []imsg.Exemption) {
	l.index.Load().each(client, server, login, func(e *imsg.Exemption) {
		if l.inForce(e) && len(all) < n {
			all = append(all, *e)
		}
	})
	return all
}

// Page returns those in force whose name sorts behind after, at most n.
func (l *List) Page(after string, n int) (page []imsg.Exemption, more bool) {
	for _, e := range l.index.Load().sorted {
		switch {
		case e.Who <= after || !l.inForce(e):
		case len(page) == n:
			return page, true
		default:
			page = append(page, *e)
		}
	}
	return page, false
}

// Len is how many are in force.
func (l *List) Len() (n int) {
	for _, e := range l.index.Load().sorted {
		if l.inForce(e) {
			n++
		}
	}
	return n
}

func (l *List) inForce(e *imsg.Exemption) bool {
	return e.Until == 0 || l.now().UnixNano() < e.Until
}

// Add exempts somebody from checks, for ever or for a while, in the place of what was said
// of the same before.
func (l *List) Add(who Who, from imsg.ExemptSet, lasting time.Duration, reason string) error {
	l.Expire()
	now := l.now()
	e := imsg.Exemption{Who: who.String(), From: from, Since: now.UnixNano(), Reason: reason}
	if lasting > 0 {
		e.Until = now.Add(lasting).UnixNano()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.all[who]; !known && len(l.all) >= Max {
		return ErrFull
	}
	l.all[who] = e
	l.changed()
	return nil
}

// Remove ends an exemption. It is false if there is none.
func (l *List) Remove(who Who) bool {
	l.Expire()
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.all[who]; !known {
		return false
	}
	delete(l.all, who)
	l.changed()
	return true
}

// Expire removes those that have run out.
func (l *List) Expire() {
	var over []imsg.Exemption
	l.mu.Lock()
	for who, e := range l.all {
		if !l.inForce(&e) {
			over = append(over, e)
			delete(l.all, who)
		}
	}
	if len(over) > 0 {
		l.changed()
	}
	l.mu.Unlock()
	for _, e := range over {
		l.expired(e)
	}
}

// changed is that all is other than it was; mu is held.
func (l *List) changed() {
	l.changes++
	l.rebuild()
}

// Run ends what has run out, and writes what is not written, until end is closed.
func (l *List) Run(end <-chan struct{}) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-end:
			l.close()
			return
		case <-second.C:
			l.Expire()
			l.openPending()
			l.Keep()
		}
	}
}
