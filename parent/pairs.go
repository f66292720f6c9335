// What the room that has the keys is handed: the files of certificates, again when they
// are others, and the keys of session tickets, which are made here. This file owns when;
// it reads no certificate and no key.

package parent

import (
	"crypto/rand"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/site"
)

const (
	// lookAfterPairs is how often it is looked whether files are others.
	lookAfterPairs = time.Minute
	// settled is how long such files must then stay as they are: who renews a certificate
	// has one file in place before the other.
	settled = time.Second
	// ticketLife is how long a key is for new tickets, and maxTicketKeys how many are kept.
	ticketLife    = time.Hour
	maxTicketKeys = 3
)

// pairsEvery is set by the linker for tests: a duration other than lookAfterPairs.
var pairsEvery string

func pairsPeriod() time.Duration {
	if d, err := time.ParseDuration(pairsEvery); err == nil {
		return d
	}
	return lookAfterPairs
}

// handed is what a room has of the files of a certificate.
type handed struct {
	has   site.PairState // what it was given, or why not
	seen  site.PairState // what there was at the last look
	shown int64          // until when clients may trust what it shows, Unix seconds
}

// handPairs hands a room the files of all certificates.
func (p *parent) handPairs(m *child) {
	m.pairs = make([]handed, len(m.gen.site.TLSCertificates))
	for i := range m.pairs {
		pair := m.gen.site.OpenPair(i)
		pair.Hand(m.tell, i)
		pair.Close()
		m.pairs[i] = handed{has: pair.State, seen: pair.State}
	}
}

// onShown hears from a room what clients are shown.
func (m *child) onShown(s *imsg.Shown) {
	if s.Number < len(m.pairs) {
		m.pairs[s.Number].shown = s.Until
	}
}

// shown tells until when clients may trust what they are shown now, by file: whoever is to
// take over does not take a valid certificate from them for an expired one.
func (p *parent) shown() map[string]int64 {
	if p.current == nil {
		return p.wasShown
	}
	until := make(map[string]int64)
	for _, other := range p.family.of(p.current) {
		for i := range other.pairs {
			until[p.current.site.TLSCertificates[i].Chain] = other.pairs[i].shown
		}
	}
	return until
}

// lookAfterPairs looks for files that are others, aside: we do not wait for a disk.
func (p *parent) lookAfterPairs() {
	for _, m := range p.family.all() {
		if len(m.pairs) > 0 && !m.looking && !m.stopping {
			p.lookAfterPairsOf(m)
		}
	}
}

func (p *parent) lookAfterPairsOf(m *child) {
	m.looking = true
	s := m.gen.site
	go func() {
		all := make([]site.Pair, len(s.TLSCertificates))
		for i := range all {
			all[i] = s.OpenPair(i)
		}
		p.post(func() {
			m.looking = false
			if p.family.has(m) && !m.stopping && p.handChanged(m, all) {
				p.later(settled, func() {
					if p.family.has(m) && !m.looking && !m.stopping {
						p.lookAfterPairsOf(m)
					}
				})
			}
			for i := range all {
				all[i].Close()
			}
		})
	}()
}

// handChanged hands over what is another and has not changed since the last look. It tells
// whether there is more.
func (p *parent) handChanged(m *child, all []site.Pair) (more bool) {
	for i := range all {
		h, now := &m.pairs[i], all[i].State
		switch {
		case now == h.has:
		case now != h.seen:
			more = true
		default:
			all[i].Hand(m.tell, i)
			h.has = now
		}
		h.seen = now
	}
	return more
}

// tickets are the keys that session tickets are sealed with: all rooms, also those of the
// program after this one, open what one of them has sealed.
type tickets struct {
	keys []imsg.TicketKey // newest first
	made time.Time        // the first of them
}

// current returns them, none of them too old for a new ticket.
func (t *tickets) current(now time.Time) *imsg.TicketKeys {
	if len(t.keys) == 0 || now.Sub(t.made) >= ticketLife {
		var b [imsg.TicketIDLen + imsg.TicketSecretLen]byte
		rand.Read(b[:])
		key := imsg.TicketKey{ID: string(b[:imsg.TicketIDLen]), Secret: string(b[imsg.TicketIDLen:])}
		t.keys = append([]imsg.TicketKey{key}, t.keys[:min(len(t.keys), maxTicketKeys-1)]...)
		t.made = now
	}
	return &imsg.TicketKeys{Keys: t.keys}
}

// renewTickets has another key take over when it is time.
func (p *parent) renewTickets(now time.Time) {
	if len(p.tickets.keys) == 0 || now.Sub(p.tickets.made) < ticketLife {
		return
	}
	keys := p.tickets.current(now)
	for _, m := range p.family.all() {
		if m.has(ticketKeys) && m.saidHello && !m.stopping {
			m.tell(keys)
		}
	}
}
