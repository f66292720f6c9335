package relay

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns the ends that come from outside: the relay's generation must end, an
// operator ends it, the client's time is over, or it has gone while nobody read it.

// inMessage tells whether the client is in the middle of a message, or of octets
// that it must not be interrupted in. One that has only named sender and recipients
// is not: it has the message still, and will come again.
func (c *client) inMessage() bool {
	return c.reading != commands || c.resting() || c.chunks == openChunks && !c.message().refused
}

// sayShutdown says the last words of a session that must end: every reply the client
// is owed came first. Who has said QUIT needs none.
func (c *client) sayShutdown() (done bool) {
	if c.inMessage() || c.ended {
		return true // the answer to DATA was 354
	}
	if c.introducing {
		c.introducing = false
		c.world.Count(imsg.CountRejectOther, 1)
	}
	if c.greeted && !c.taken { // before that a client must be silent
		c.write(Server, []byte("QUIT\r\n"))
		c.setFate(Server, Last)
	}
	c.sayLast()
	return true
}

// sayLast says 421, unless the client has said QUIT, and ends the session.
func (c *client) sayLast() {
	by, rule := "admin", imsg.RuleShutdown
	if c.killed {
		by, rule = "operator", imsg.RuleOperator
	}
	if c.state != imsg.StateQuit {
		c.tellRefused(refusal{rule: rule, code: smtp.CodeShutdown, text: c.text(imsg.MsgTempUnavail)})
		c.say(smtp.CodeShutdown, c.text(imsg.MsgTempUnavail))
	}
	c.finish(by)
}

// kill ends a session because an operator says so. The server hears nothing more of a
// message, or of a command that it owes the reply to: it is closed.
func (c *client) kill() {
	again := c.killed
	c.killed = true
	if !again {
		c.info("session is ended by an operator", "state", c.shown(), "src", c.Client.Addr(), "ident", c.Ident)
	}
	switch {
	case c.answerPending && !again && !c.over():
		c.ending = true
	case c.ended, c.rejection != nil, c.passing(), c.handshake != noHandshake, c.replyBegun && !c.taken:
		c.end("operator") // nothing can be said where something else is being said
	case c.queue.len() > 0, c.inMessage():
		c.sayLast()
	default:
		c.sayShutdown()
	}
}

// expire ends a session whose time is over: a takeover says so first, a relay ends
// without a word.
func (c *client) expire() {
	if c.fate[Client] == Half { // it had the time to read our last words
		c.end("timeout")
		return
	}
	c.info("session is silent for too long", "state", c.shown(), "src", c.Client.Addr(), "ident", c.Ident)
	if c.spoolBusy() {
		c.noteSpool(imsg.Timeout)
	}
	switch {
	case c.introducing:
		c.introductionFailed(imsg.Timeout)
	case c.mayMove():
		c.noteServer("it does not greet")
		c.moveOn()
	case c.taken && !c.ended:
		c.say(smtp.CodeTimeout, c.text(imsg.MsgSessionTimeout))
		c.finish("timeout")
	default:
		if c.queue.len() > 0 && c.queue.at(0).kind == greeting {
			c.noteServer("it does not greet")
		}
		c.end("timeout")
	}
}

// left is a client that has closed while it was not read. Nobody waits for the answer
// to a question without a limit then; else what it is owed is still due to one that has
// closed its writing half alone, and the server hears of that at once. One whose TLS
// has not begun has nothing to wait for.
func (c *client) left(whole bool) {
	unlimited := c.question != nil && c.question.Limit == 0
	if c.clock.left == 0 {
		c.clock.left = c.clock.now
	}
	switch {
	case whole, c.answers == toHello, unlimited && c.clock.now-c.clock.left >= LeftWait:
		if !c.ended {
			c.info("client has left", "state", c.shown(), "src", c.Client.Addr(), "ident", c.Ident)
		}
		if unlimited {
			c.question = nil
			c.do()
		}
		c.end("client")
	case c.handshake != noHandshake:
	case c.fate[Server] == Open && c.reading == commands && c.chunks != openChunks && !c.command.open && !c.unread && !c.over() && !c.world.Unread(Client):
		c.info("client has left", "state", c.shown(), "src", c.Client.Addr(), "ident", c.Ident)
		c.gone(true)
	}
}
