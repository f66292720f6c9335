package relay

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns the takeover: the server is gone and we answer in its place until the
// client quits, its time is over, or it has tried too often.

// takeover is what the client hears in the server's place.
type takeover struct {
	reason   string   // of MAIL's refusal
	why      *refusal // why there is no server, nil if a refusal came before: MAIL's is told then
	infected bool     // and that is a virus
	rest     *message // the refused one of which there is text to come: it is no command
	commands int      // that it has said
}

// dropServer ends the server's side at a command: it gets what was collected for it,
// and a QUIT.
func (c *client) dropServer() (done bool) {
	c.taken = true
	c.write(Server, []byte("QUIT\r\n"))
	c.setFate(Server, Last)
	return true
}

// takeOver says the refusal, and takes over.
func (c *client) takeOver() (done bool) {
	c.tellRefused(c.refusal)
	c.say(c.refusal.code, c.refusal.text)
	c.takeOverFor(c.refusal.reason)
	return true
}

// greetAndTakeOver greets in the place of a server that there is none of.
func (c *client) greetAndTakeOver(why *refusal) {
	c.takeover.why = why
	c.say(smtp.CodeGreeting, "SMTP")
	c.takeOverFor(why.text)
}

// takeOverFor takes over; the reason is what MAIL hears.
func (c *client) takeOverFor(reason string) {
	c.taken = true
	c.state = imsg.StateTaken
	c.info("SESSION TAKEOVER:", "src", c.Client.Addr(), "ident", c.Ident, "trns", c.transactions, "reason", reason)
	c.takeover.reason = reason
	// What is left of a refused message is no command, and takes the time it takes: a
	// client that does not listen before its end would send it again.
	if m := c.message(); m != nil && m.open {
		c.takeover.rest = m
	}
	c.transaction, c.chunks = nil, noChunks
	c.reading, c.authing, c.replyPending = commands, false, false
	c.queue, c.command.open = queue{}, false
	c.touch()
}

// resting tells whether octets of a refused message or chunk are to come.
func (c *client) resting() bool { return c.discard > 0 || c.takeover.rest != nil }

// discardText reads on in a message that was refused on its way.
func (c *client) discardText(in []byte) (n int) {
	body := &c.takeover.rest.body
	body.NoSpool = true
	scratch := buffers.Get().(*[]byte)
	n, _, _, ev := body.Next(in, (*scratch)[:0], nil)
	buffers.Put(scratch)
	c.Trace.octets(fromClient, n)
	if ev == smtp.BodyEnd {
		c.takeover.rest = nil
	}
	return n
}

// answerLine answers a line of commands.
func (c *client) answerLine(line []byte, status smtp.LineStatus) {
	cmd, err := smtp.ParseCommand(line)
	if status != smtp.LineOK || err != nil {
		cmd = smtp.Command{}
	}
	c.answerCommand(cmd)
}

// answerCommand answers one command, or ends a client that has tried too often.
func (c *client) answerCommand(cmd smtp.Command) {
	if cmd.Verb == smtp.BDAT {
		c.discard, _, _ = smtp.ParseBDAT(cmd.Arg)
	}
	if c.takeover.commands++; c.takeover.commands > c.Config.TakeoverCmds {
		c.say(smtp.CodeRejected, c.refusalText())
		c.finish("error")
		return
	}
	if cmd.Verb == smtp.MAIL && c.takeover.why != nil {
		c.command = command{Command: cmd, open: true}
		c.tellRefused(refusal{rule: c.takeover.why.rule, detail: c.takeover.why.detail, code: smtp.CodeTakeover, text: c.takeover.reason})
		c.command.open = false
	}
	if c.refuseCommand(cmd.Verb, len(cmd.Arg) > 0) {
		c.finish("client")
	}
}

// refuseCommand answers one command as a server that refuses to work would. True: the
// client has said QUIT.
func (c *client) refuseCommand(v smtp.Verb, hasArg bool) (quit bool) {
	switch {
	case v == smtp.QUIT:
		c.say(smtp.CodeBye, c.text(imsg.MsgSignOff))
		return true
	case v == smtp.NOOP, v == smtp.RSET:
		c.say(smtp.CodeOK, "OK")
	case (v == smtp.HELO || v == smtp.EHLO) && hasArg:
		// RFC 2034, 4: no enhanced code in a reply to EHLO.
		c.write(Client, c.ownLine(smtp.CodeOK, false, c.text(imsg.MsgHello)))
	case v == smtp.MAIL:
		c.say(smtp.CodeTakeover, c.takeover.reason)
	case v == smtp.RCPT, v == smtp.DATA:
		c.say(smtp.CodeSequence, c.refusalText())
	case v == smtp.STARTTLS && c.terminates(): // the client may send in clear, or come again
		c.say(smtp.CodeNoTLS, c.refusalText())
	default:
		c.say(smtp.CodeUnsupported, c.text(imsg.MsgUnimplCommand))
	}
	return false
}

// refusalText is what a client hears that goes on as if it could still send.
func (c *client) refusalText() string {
	if c.takeover.infected {
		return c.text(imsg.MsgVirusNoMore)
	}
	return c.text(imsg.MsgTransactionFailed)
}
