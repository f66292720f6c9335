package relay

import (
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
	"github.com/smtp-gated/smtp-gated/session/verdict"
)

// This file owns a message on its way: to the server and to the spool. Its end is
// end.go's.

// message is what lives from DATA, or the first chunk, to the end of the message.
type message struct {
	body        smtp.Body
	header      smtp.Header
	open        bool          // its text has begun, and its end has not been read yet
	headerSent  bool          // it is known how the message begins, and what of ours stands before it has gone out
	chunked     bool          // it comes by BDAT
	largeTold   bool          // it is over size_limit, which was told, and nothing follows
	refused     bool          // the server refused a chunk of it
	answered    bool          // and that was the answer to the client's last chunk
	spool       bool          // the text goes to the spool
	spoolFailed bool          // it should have, but could not
	begun       bool          // the spool is made, or could not be
	problem     error         // what kept it from being made
	kept        string        // the spool file's name, if it stays
	abandoned   bool          // somebody may still hold the spool file
	size        int64         // octets, without our own headers
	spooled     int64         // octets in the spool, with the header that only scanners see
	ended       time.Duration // when its end was read
	unseen      bool          // not all looked at it who are to
	plan        verdict.Plan
	decision    verdict.Decision
}

// beginMessage prepares for a message before the server hears of it, so that a spool
// that cannot be made is known in time.
func (c *client) beginMessage() (done bool) {
	if c.chunks == openChunks {
		return true
	}
	if c.prepared == nil {
		c.debug("DATA:REQUEST")
		m := new(message)
		m.body.Bare = bareNewline(c.Config)
		if c.Config.RejectNUL {
			m.body.NUL = smtp.RejectNUL
		}
		m.header.Want = c.wantedFields()
		m.chunked = c.command.Verb == smtp.BDAT
		m.spool = verdict.NeedsSpool(c.Config, 0, c.spared())
		c.prepared = m
		if m.spool {
			header := c.spoolBuffer(Begin)
			*header = c.appendSpoolHeader(*header)
			m.spooled = int64(len(*header))
		} else {
			m.begun = true
		}
	}
	m := c.prepared
	if !m.begun {
		return c.wait(imsg.StateSpool)
	}
	if m.problem != nil && !m.spoolFailed {
		c.fault("spool cannot be made", "error", m.problem)
		c.refuseAndTakeOver(imsg.RuleSpool, smtp.CodeSpool, c.text(imsg.MsgSpoolOpenFail)+": "+ErrorText(m.problem))
		return true
	}
	if c.prepared = nil; m.chunked {
		c.transaction.message, c.chunks = m, openChunks
	} else {
		c.command.message = m
	}
	return true
}

// spooled is what has become of a job for the spool.
func (c *client) spooled(job Work, kept string, err error) {
	m := c.message()
	if err != nil {
		c.noteSpool(err)
	}
	switch {
	case job == Begin && c.prepared != nil:
		m = c.prepared
		m.begun = true
		if m.problem = err; err != nil && c.Config.IgnoreErrors {
			m.spool, m.spoolFailed = false, true
			c.fault("message will pass unscanned: spool cannot be made", "error", err)
		}
	case job == Write && err != nil && m != nil && m.spool:
		c.fault("spool cannot be written", "error", err)
		c.job(Drop)
		m.spool, m.spoolFailed = false, true
		// In the middle of a chunk nobody could be told in turn: it is told at the
		// end.
		if c.reading == text && !c.Config.IgnoreErrors && !c.over() {
			c.refuseMessage(refusal{rule: imsg.RuleSpool, code: smtp.CodeSpool, text: c.text(imsg.MsgSpoolProblem)})
		}
	case job == Keep && m != nil:
		m.kept = kept
	}
}

// readText moves what has come of a message's text.
func (c *client) readText(in []byte) (n int, ok bool) {
	m := c.message()
	if !m.headerSent {
		out := c.out[Server].buffer()
		begins := m.body.Start(in, (*out)[len(*out):])
		if begins == smtp.StartUnknown {
			return 0, false
		}
		before := len(*out)
		*out = c.appendHeader(*out, begins)
		c.Trace.octets(toServer, len(*out)-before)
	}
	plain, ev := 0, smtp.BodyMore
	if c.lends() {
		plain = m.body.Span(in)
	}
	// What more is to be written behind goes with it, in one write, if it has room there.
	if rest := in[plain:]; plain > MaxInput || plain > 0 && (len(rest) == 0 || string(rest) == "\r") {
		c.lend(in[:plain], m.spool)
		m.header.Show(in[:plain])
		c.grow(plain)
		if n = plain; string(rest) == "\r" { // which is held back
			n, _, _, _ = m.body.Next(rest, nil, nil)
			n += plain
		}
	} else {
		n, ev = c.copyText(in[:min(len(in), MaxInput)], plain)
	}
	c.Trace.octets(fromClient, n)
	m.open = ev != smtp.BodyEnd
	switch limit := c.Config.SizeLimit; {
	case limit > 0 && m.size > limit && !c.sizeMonitored():
		c.info("message too large", "size", m.size, "src", c.Client.Addr(), "ident", c.Ident)
		c.refuseMessage(c.tooLarge())
	case ev == smtp.BodyEnd:
		c.judge()
	case ev == smtp.BodyBare, ev == smtp.BodyNUL:
		c.refuseSession(imsg.RuleProtocol, smtp.CodeRejected, c.text(imsg.MsgProtoError))
	}
	return n, true
}

// copyText is readText of what is not lent; plain octets of it have been seen, and stay as
// they are.
func (c *client) copyText(in []byte, plain int) (n int, ev smtp.BodyEvent) {
	m := c.message()
	out := c.out[Server].buffer()
	before, had := len(*out), 0
	wire := append(*out, in[:plain]...)
	var spooled []byte
	var buffer *[]byte
	if m.body.NoSpool = !m.spool; m.spool {
		buffer = c.spoolText()
		had = len(*buffer)
		spooled = append(*buffer, in[:plain]...)
	}
	n, wire, spooled, ev = m.body.Next(in[plain:], wire, spooled)
	*out = wire
	c.Trace.octets(toServer, len(wire)-before)
	m.header.Show(wire[before:])
	if m.spool {
		*buffer = spooled
		c.trimSpool()
		c.grow(len(spooled) - had)
	} else {
		c.grow(len(wire) - before)
	}
	return plain + n, ev
}

// grow is that the message has so many octets more.
func (c *client) grow(n int) {
	m := c.message()
	m.size += int64(n)
	if m.spool {
		m.spooled += int64(n)
		c.dropNeedless()
	}
}

// sizeMonitored tells whether a message over size_limit is only looked for: once.
func (c *client) sizeMonitored() bool {
	m := c.message()
	if m != nil && m.largeTold {
		return true
	}
	if !c.monitored(c.tooLarge()) {
		return false
	}
	if m != nil {
		m.largeTold = true
	}
	return true
}

// dropNeedless drops the spool once no engine would look any more.
func (c *client) dropNeedless() {
	if m := c.message(); !verdict.NeedsSpool(c.Config, m.size, c.spared()) {
		c.job(Drop)
		m.spool, m.spooled = false, 0
	}
}

// refuseMessage drops the server before the end of a message and takes over.
func (c *client) refuseMessage(r refusal) {
	if c.abortMessage() {
		r.reason = r.text
		c.refusal = r
		c.do((*client).takeOver)
	}
}

// refuseSession drops the server before the end of a message and closes.
func (c *client) refuseSession(rule imsg.PolicyRule, code smtp.Code, text string) {
	if c.abortMessage() {
		c.tellRefused(refusal{rule: rule, code: code, text: text})
		c.say(code, text)
		c.finish("error")
	}
}

// abortMessage drops the server so that it throws away what it has of a message.
// Between chunks it reads commands. False: the session has ended otherwise.
func (c *client) abortMessage() bool {
	c.do()
	if c.over() {
		return false
	}
	if c.message().chunked {
		c.write(Server, []byte("RSET\r\nQUIT\r\n"))
		c.setFate(Server, Last)
	} else {
		c.setFate(Server, Closed)
	}
	c.taken = true
	return true
}
