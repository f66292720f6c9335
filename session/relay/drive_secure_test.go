package relay

import (
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns TLS: what a handshake needs, that it succeeds or fails, and that a server
// which did not stand the test is called anew.

// beginErrand begins what the relay wants done to a connection, for which nobody reads or
// writes.
func (d *drive) beginErrand() {
	side := Server
	switch d.relay.Errand() {
	case NoErrand:
		return
	case CallServer:
		d.redials = true
		return
	case SecureClient:
		side = Client
	}
	w := &d.wires[side]
	switch {
	case d.handshakes != [2]bool{} || d.redials:
		d.fail("side %d has a handshake, and something else is under way", side)
	case w.armed || w.writing != nil || d.relay.Pending(side) > 0:
		d.fail("side %d is read or written while it has a handshake", side)
	case len(w.buffer) > 0:
		d.fail("side %d has said in clear what is taken for TLS: %q", side, w.buffer)
	}
	d.handshakes[side] = true
}

// shakeHands is the end of a handshake.
func (d *drive) shakeHands() int {
	side := Server
	if d.handshakes[Client] {
		side = Client
	}
	d.handshakes[side] = false
	w := &d.wires[side]
	problem := ""
	switch {
	case len(w.kernel) > 0:
		problem, w.kernel = "octets in clear", nil
	case w.closed, d.order.IntN(4) == 0:
		problem = "no"
	}
	switch {
	case side == Client:
		d.client.ledger.secured()
	case problem == "":
		d.server.secured()
	default:
		d.server.ended()
	}
	d.relay.Secured(side, problem)
	if s := &d.relay.shared; problem == "" && side == Client && !s.ended && (s.auth != 0 || s.transaction != nil || s.queue.len() > 0 || s.reading != commands) {
		d.fail("what was said in clear is known under TLS: %+v", d.relay.Status())
	}
	return int(side)
}

// callAgain is the end of a call to the server.
func (d *drive) callAgain() int {
	d.redials = false
	if d.order.IntN(4) == 0 {
		d.relay.Redialed("no")
		return 0
	}
	old := d.server
	d.server = &mta{drive: d, seed: old.seed + 1, lenient: old.lenient, refuses: old.refuses, offers: old.offers, odd: old.odd, chunky: old.chunky, ends: old.ends}
	before := d.wires[Server]
	d.wires[Server] = wire{fate: before.fate, halved: before.halved}
	d.server.line = "hello"
	d.server.reply(220, "mx.example ESMTP")
	d.relay.Redialed("")
	return 1
}

// secured is that the server goes on under TLS, and has forgotten what was before.
func (m *mta) secured() {
	m.reset()
	m.mode, m.chunking, m.in = mtaCommands, false, nil
	m.offers = slices.DeleteFunc(slices.Clone(m.offers), func(offer string) bool { return offer == "STARTTLS" })
}

// beginTLS is that the client may begin: what it has said behind STARTTLS is lost.
func (l *ledger) beginTLS() { l.handshaking, l.in = true, nil }

// secured is that the client goes on under TLS, or not at all.
func (l *ledger) secured() {
	l.handshaking, l.authing, l.chunked, l.in = false, false, false, nil
	l.lines.Bare = bareNewline(l.drive.facts.Config)
}

// ours tells whether the gateway answers STARTTLS itself.
func (l *ledger) ours() bool {
	t := &l.drive.facts.Config.TLS
	return t.Policy == imsg.TLSTerminate && t.Upstream != imsg.TLSLockstep
}
