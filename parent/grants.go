// What a room is handed beside its part of the configuration, and what it may ask for
// later. This file owns that a room which cannot be given what it needs is ended,
// unless it can do without.

package parent

import (
	"github.com/smtp-gated/smtp-gated/imsg"
)

// handRates gives a room the store of rate limits, opened anew: two that share an
// offset and a lock could not tell each other apart.
func (p *parent) handRates(m *child) {
	f, err := m.gen.site.OpenRates()
	if err != nil {
		p.log.Error("rate limits will be forgotten: their store cannot be opened", "error", err)
	}
	if f != nil {
		m.tell(&imsg.RateStore{}, f)
		f.Close()
	}
}

// handFilter gives a room the packet filter's device, opened anew: we keep none. It is
// at its place before the first link to a session, which comes after Ready.
func (p *parent) handFilter(m *child) {
	f, err := m.gen.site.OpenFilter()
	if err != nil {
		p.log.Error("lookupd gets no packet filter", "error", err)
		m.Kill() // its replacement gets another try
	}
	if f != nil {
		m.tell(&imsg.NatDevice{}, f)
		f.Close()
	}
}

// supply hands a worker the sockets it asks for.
func (p *parent) supply(m *child, ask *imsg.Sockets) {
	out := m.gen.site.Outgoing()
	if !out.Needed() || ask.N < 1 || ask.N > imsg.MaxSockets {
		m.log.Error("room asks for sockets it cannot need", "number", ask.N)
		m.Kill()
		return
	}
	for range ask.N {
		f, err := out.Make(ask.IPv6)
		if err != nil {
			p.log.Error("make a socket for a session", "error", err)
			return // the session's patience ends by itself
		}
		m.tell(&imsg.Socket{IPv6: ask.IPv6}, f)
		f.Close()
	}
}
