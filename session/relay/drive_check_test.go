package relay

import (
	"bytes"

	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns what must hold after each event.

// What a relay may hold for others, in octets, whatever they do.
const (
	// maxForServer and maxForSpool: nothing of the client is read while there is
	// something for them, so that they get what becomes of one batch.
	maxForServer = room
	maxForSpool  = room
	// maxForClient: nothing of the server is read while so much is unheard, then one
	// batch, and one line beyond.
	maxForClient = maxUnheard + room + smtp.AuthLimit
	// maxPerReply is for each reply that is owed: an address for the log, or a reply
	// of our own, which may become one for the client.
	maxPerReply = smtp.CommandLimit
)

// maxQueued is how many entries the queue may have: a command brings two at most when
// there is still a place, and then comes a RSET of ours.
func maxQueued(pipelineSize int) int { return pipelineSize + 2 }

// checkHeld bounds what is held.
func (d *drive) checkHeld() {
	s := &d.relay.shared
	size := d.facts.Config.PipelineSize
	if n := s.queue.len(); n > maxQueued(size) {
		d.fail("%d replies are owed, and the pipeline has %d places", n, size)
	}
	spool, texts := 0, 0
	for _, j := range s.jobs.list {
		if j.text != nil {
			spool += len(*j.text)
		}
	}
	for i := range s.queue.len() {
		texts += len(s.queue.at(i).text)
	}
	client, server, owed := s.pending(Client), s.pending(Server)-len(s.out[Server].lent), maxQueued(size)*maxPerReply
	if lent := len(s.out[Server].lent); lent > MaxText {
		d.fail("%d octets are lent", lent)
	}
	if client > maxForClient+owed || server > maxForServer || spool > maxForSpool || texts > owed {
		d.fail("held are %d octets for the client, %d for the server, %d for the spool, %d in the queue", client, server, spool, texts)
	}
}

// check is done after each event.
func (d *drive) check() {
	r := d.relay
	s := &r.shared
	if over := r.Over(); over && s.fate != [2]Fate{Closed, Closed} {
		d.fail("it is over, and the fates are %v", s.fate)
	} else if name := r.Status().State.String(); !over && (name == "" || name == "start") {
		d.fail("it waits in the state %q", name)
	}
	if r.Over() && (r.Status().ClosedBy == "" || d.caught) {
		d.fail("it is over: ended by %q, or a client with a virus is not reported: %v", r.Status().ClosedBy, d.caught)
	}
	for _, side := range []Side{Client, Server} {
		d.checkFate(side)
	}
	d.checkHeld()
	if s.answerPending && !d.answer {
		// The end of a message has just been written.
		d.letOut++
		if come := d.wires[Server].come; come != d.server.mark && !d.loose {
			d.fail("a message is let out although the server has spoken: %d octets came, %d of them replies", come, d.server.mark)
		}
		if s.fate[Server] != Open {
			d.fail("a message is let out to a server of fate %d", s.fate[Server])
		}
	}
	d.answer = s.answerPending
	if w := &d.wires[Client]; r.Status().Direct && !d.direct {
		if d.direct = true; d.server.tls && !d.tlsPort && len(w.kernel)+len(w.buffer) > 0 {
			d.fail("said in clear, and taken for TLS: %q%q", w.buffer, w.kernel)
		}
	}
}

// checkFate holds a connection's fate to its word.
func (d *drive) checkFate(side Side) {
	r, w := d.relay, &d.wires[side]
	fate, pending := r.Fate(side), r.Pending(side)
	switch cut := fate == Mute || fate == Closed; {
	case fate < w.fate:
		d.fail("side %d: the fate %d becomes %d", side, w.fate, fate)
	case w.fate != Open && pending > w.pending:
		d.fail("side %d: something is written behind its end", side)
	case cut && pending > len(w.writing):
		d.fail("side %d is cut, and is to be written to: %q", side, *r.shared.out[side].collected)
	case side == Server && fate == Last && w.fate == Open && !r.shared.out[side].failed && !bytes.HasSuffix(*r.shared.out[side].collected, []byte("QUIT\r\n")):
		d.fail("the server's last octets are %q", *r.shared.out[side].collected)
	}
	w.fate, w.pending = fate, pending
	if !w.halved && (fate == Half || fate == Last) && pending == 0 || fate == Closed {
		w.halved = true
		if side == Client {
			d.client.eof = true
		} else {
			d.server.ended()
		}
	}
}

// checkQuiet is done when nothing happens any more but time: all is answered, done,
// written and read.
func (d *drive) checkQuiet() {
	r := d.relay
	if d.relay.Over() || d.relay.Direct(Client) || d.server.shy {
		return
	}
	c, s := &d.wires[Client], &d.wires[Server]
	if !r.ReadsClient() && !r.ReadsServer() && !r.Direct(Server) {
		d.fail("it waits for nobody: %+v", r.Status())
	}
	if len(s.kernel) > 0 && s.fate < Last && !s.gone && !r.Direct(Server) || len(c.kernel) > 0 && s.fate == Open && !d.loose && !d.server.silent && !s.closed {
		d.fail("octets are not read: client %q, server %q", c.kernel, s.kernel)
	}
	if l := d.client.ledger; d.finishing && c.fate == Open && !l.dead && !d.loose && !d.server.silent && !l.chunked && l.body == nil && l.left == 0 && l.owes() == 0 && !l.authing {
		d.fail("it must end, and waits: %+v; %s", r.Status(), l)
	}
	if d.loose || d.server.silent || c.fate != Open || c.closed {
		return
	}
	if n := d.client.ledger.owes(); n > 0 {
		d.fail("%d replies are owed to a client that waits: %s", n, d.client.ledger)
	}
}
