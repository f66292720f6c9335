package relay

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns the way from a reply that ends the relay to the takeover. A reply of
// the server uses up a quota, so that ours takes its place and the server is dropped;
// or it refuses a message before its end, which is the client's answer and the
// server's last word. The server's half finds out; the client's acts on it.

// rejection is what the client gets in place of the reply to the oldest command in the
// queue, which stays there until then: nothing overtakes it. If that is what the
// server said of a message, the client has it already, and nothing is owed.
type rejection struct {
	denial
	found    imsg.Found // 0: no event
	early    bool       // the server's own reply; text alone is set, once relaying is over
	relaying bool
}

// beginRejected ends the relay, once the client has the server's own reply where that
// is its answer.
func (c *client) beginRejected() {
	r := c.rejection
	if r.relaying {
		c.do()
		return
	}
	c.rejection, c.question, c.taken = nil, nil, true
	if c.command.open && c.command.Verb == smtp.BDAT {
		c.discard = 0 // the takeover reads it again
	}
	if c.reading == octets {
		c.discard = c.chunk.left     // still to come, and no commands
		if !c.message().headerSent { // and its BDAT is not in the queue yet
			c.discardReply = c.ownLine(smtp.CodeUnsupported, c.enhanced(), c.text(imsg.MsgUnimplCommand))
		}
	}
	if r.early {
		c.takeOverFor(r.text)
		return
	}
	c.write(Server, []byte("QUIT\r\n"))
	c.setFate(Server, Last)
	c.world.Count(imsg.CountRejectRateLimit, 1)
	c.refusal = r.refusal()
	c.refusal.reason, c.refusal.found = r.text, r.found
	c.takeover.reason = r.text
	if r.found != 0 && r.code == smtp.CodeRefused {
		c.do((*client).report, (*client).answerOwed)
	} else {
		c.do((*client).answerOwed)
	}
}

// answerOwed says the refusal in place of the reply it is due for, answers what the
// client has sent behind that command, and takes over.
func (c *client) answerOwed() (done bool) {
	c.queue.pop()
	c.tellRefused(c.refusal)
	c.say(c.refusal.code, c.refusal.text)
	for c.queue.len() > 0 {
		if c.refuseQueued(c.queue.pop()) {
			c.finish("client")
			return true
		}
	}
	open := c.command.open
	if c.takeOverFor(c.refusal.reason); open {
		c.answerCommand(c.command.Command) // nobody has decided on it
	}
	return true
}

// refuseQueued answers a command the server was asked and will not answer.
func (c *client) refuseQueued(e entry) (quit bool) {
	switch e.kind {
	case own:
		c.write(Client, []byte(e.text))
		return false
	case ownReset:
		return false
	}
	verb := smtp.Other
	for v, k := range kinds {
		if k == e.kind {
			verb = v
		}
	}
	return c.refuseCommand(verb, true)
}
