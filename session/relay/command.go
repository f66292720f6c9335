package relay

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/clienthello"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns what becomes of a client's command: for each verb, who looks at it
// and in which order. Each command ends as forwarded, answered or the end of the relay.

// command is the one that is being decided on.
type command struct {
	smtp.Command
	open    bool            // it is neither forwarded nor answered yet
	kept    bool            // its octets are ours
	behind  bool            // octets follow it already
	message *message        // that DATA begins
	spf     int             // readings of the sender's address that were asked about
	verdict imsg.SPFVerdict // what came of that
}

// keep makes a command that has to wait independent of the octets it was read from.
func (c *command) keep() {
	if !c.open || c.kept {
		return
	}
	c.kept = true
	line := slices.Clone(c.Line)
	c.Line, c.Arg = line, line[len(line)-len(c.Arg):] // it ends where the line ends
}

// refusal is what becomes of a command, or of a message, that goes no further.
type refusal struct {
	rule   imsg.PolicyRule
	detail string // what of the rule, for who runs the gateway
	code   smtp.Code
	text   string // what is said
	reason string // what a takeover goes on to say
	by     string // who ends the session, if that is what it comes to
	found  imsg.Found
	name   string // of a virus
	score  float64
	spool  string // the kept file's name
}

// plans are, for each verb, who decides on a command and in which order.
var plans = [...][]step{
	smtp.Other:    {(*client).forwardCommand},
	smtp.NOOP:     {(*client).forwardCommand},
	smtp.HELO:     {(*client).noteHelo, (*client).checkHelo, (*client).abandonChunks, (*client).forwardCommand},
	smtp.EHLO:     {(*client).noteHelo, (*client).checkHelo, (*client).abandonChunks, (*client).forwardCommand},
	smtp.MAIL:     {(*client).mayMail, (*client).checkLogin, (*client).outsideChunks, (*client).checkParameters, (*client).checkSender, (*client).checkListed, (*client).checkSPF, (*client).checkSize, (*client).forwardMail},
	smtp.RCPT:     {(*client).mayMail, (*client).checkParameters, (*client).useRecipient, (*client).checkRecipient, (*client).forwardRcpt},
	smtp.DATA:     {(*client).mayMail, (*client).withoutChunks, (*client).mayStart, (*client).useMessage, (*client).beginMessage, (*client).forwardAwaited},
	smtp.BDAT:     {(*client).readChunkSize, (*client).mayMail, (*client).checkOffered, (*client).checkChunk, (*client).mayStart, (*client).useMessage, (*client).beginMessage, (*client).forwardChunk},
	smtp.RSET:     {(*client).forwardReset, (*client).resetChunks},
	smtp.AUTH:     {(*client).mayMail, (*client).checkAuth, (*client).beginExchange, (*client).forwardAwaited},
	smtp.STARTTLS: {(*client).checkTLS, (*client).useTLS, (*client).forwardAwaited},
	smtp.XCLIENT:  {(*client).checkXclient, (*client).forwardCommand},
	smtp.QUIT:     {(*client).noteQuit, (*client).forwardCommand},
	smtp.Masked:   {(*client).refuseVerb},
}

// readLine decides on the next line of commands.
func (c *client) readLine(in []byte) (n int, ok bool) {
	if !c.spoke && !c.taken {
		if smtp.BeginsProxyV2(in) {
			c.spoke = true
			c.refuseProxy()
			return 0, true
		}
		tls, known := clienthello.Starts(in)
		switch {
		case !known:
			return 0, false
		case tls:
			c.stays = true
			c.meetTLS()
			return 0, true
		}
		if c.holdsBack() {
			return 0, false
		}
		c.spoke, c.stays = true, !c.greeted
	}
	c.lines.Limit = 0
	if c.authing {
		c.lines.Limit = smtp.AuthLimit
	}
	line, n, status := c.lines.Next(in)
	if c.Trace != nil {
		c.Trace.heard(line, n, status, c.authing)
	}
	switch {
	case status == smtp.LineMore:
		return n, n > 0
	case c.taken:
		c.answerLine(line, status)
	case status == smtp.LineOK && c.state == imsg.StatePre && smtp.SaysProxy(line):
		c.refuseProxy()
	case c.Config.EarlyTalk && !c.greeted && !c.Exempt.Has(imsg.ExemptEarlyTalk) && !c.earlyMonitored():
		c.refuseEarlyTalk(line, status)
	case status == smtp.LineBare:
		c.command = command{open: true} // a takeover that comes before answers it
		c.refuseAndClose(imsg.RuleProtocol, smtp.CodeRejected, c.text(imsg.MsgProtoError))
	case c.authing:
		c.authResponse(line, status)
	case status != smtp.LineOK:
		c.reply(imsg.RuleProtocol, smtp.CodeSyntax, c.text(imsg.MsgProtoError))
	default:
		c.decide(line, len(in) > n)
	}
	return n, true
}

// decide begins to decide on a command.
func (c *client) decide(line []byte, behind bool) {
	cmd, err := smtp.ParseCommand(line)
	// A lone dot is no command, but the end of a message to a server that happens to
	// read text by now.
	if err != nil || string(cmd.Line) == "." {
		c.reply(imsg.RuleProtocol, smtp.CodeSyntax, c.text(imsg.MsgProtoError))
		return
	}
	c.command = command{Command: cmd, open: true, behind: behind}
	c.do(plans[cmd.Verb]...)
}

// refuseProxy ends a client that says who it is by the PROXY protocol, and is none of
// listen.proxy_from: a server behind us may believe it, if nothing came before it. It is no
// early talk: who says it is a load balancer whose name is missing there.
func (c *client) refuseProxy() {
	c.info("PROXY:REFUSED", "src", c.Client.Addr(), "ident", c.Ident)
	c.world.Count(imsg.CountProxyUnexpected, 1)
	c.refusal = refusal{rule: imsg.RuleProtocol, by: "error", code: smtp.CodeRejected, text: c.text(imsg.MsgProtoError)}
	c.do((*client).owedReplies, (*client).closeRefused)
}

// mayMail refuses what leads to a message where a load balancer only wants to know whether
// we, and the server, work.
func (c *client) mayMail() (done bool) {
	if c.Check {
		c.reply(imsg.NoRule, smtp.CodeTakeover, c.text(imsg.MsgTempUnavail))
	}
	return true
}

// authResponse forwards a line of an AUTH exchange (RFC 4954, 4). One that cannot be
// forwarded cancels it, or the server would take the next command for it.
func (c *client) authResponse(line []byte, status smtp.LineStatus) {
	if status != smtp.LineOK || !c.readResponse(line) {
		line = []byte("*")
	}
	c.authing, c.replyPending = false, true
	c.queue.push(entry{kind: auth})
	c.Trace.response(toServer, line)
	c.writeLine(Server, line)
}

// forward queues a command and hands its line to the server.
func (c *client) forward(line []byte, e entry) {
	c.queue.push(e)
	c.Trace.command(toServer, line)
	c.writeLine(Server, line)
}

// forwardAs forwards the command under decision.
func (c *client) forwardAs(text string) (done bool) {
	c.command.open = false
	c.forward(c.command.Line, entry{kind: kinds[c.command.Verb], text: text, message: c.command.message})
	return true
}

func (c *client) forwardCommand() (done bool) { return c.forwardAs("") }

// forwardAwaited forwards a command whose reply decides what follows: the client is not
// read until that is there.
func (c *client) forwardAwaited() (done bool) {
	c.replyPending = true
	return c.forwardAs("")
}

func (c *client) forwardMail() (done bool) {
	addr, _ := smtp.Address(c.command.Arg)
	return c.forwardAs(string(addr))
}

func (c *client) forwardRcpt() (done bool) {
	if c.Config.LogRcptTo == 0 {
		return c.forwardAs("")
	}
	addr, _ := smtp.Address(c.command.Arg)
	return c.forwardAs(c.publicAddress(addr, c.Config.LogRcptTo))
}

func (c *client) forwardReset() (done bool) {
	c.state = imsg.StateRset
	return c.forwardAs("")
}

func (c *client) noteHelo() (done bool) {
	c.state = imsg.StateHelo
	c.helo = printable(c.command.Arg)
	if c.terminates() {
		c.hello = append(append(c.hello[:0], c.command.Line...), "\r\n"...)
	}
	if c.Config.LogHelo {
		c.world.Always(c.command.Verb.String(), "src", c.Client.Addr(), "ident", c.Ident, "helo", c.helo)
	}
	return true
}

func (c *client) noteQuit() (done bool) {
	c.state = imsg.StateQuit
	return true
}

// checkParameters refuses a parameter of what is masked.
func (c *client) checkParameters() (done bool) {
	_, params := smtp.Address(c.command.Arg)
	if keyword, found := c.offer.Refused(params); found {
		c.refuseMasked(keyword, smtp.CodeParameter)
	}
	return true
}

// checkSize refuses a message whose sender says that it is larger than size_limit.
func (c *client) checkSize() (done bool) {
	_, params := smtp.Address(c.command.Arg)
	if size, ok := smtp.ParseSize(params); ok && c.Config.SizeLimit > 0 && size > c.Config.SizeLimit && !c.monitored(c.tooLarge()) {
		c.refuse(imsg.RuleSize, smtp.CodeSize, c.tooLarge().text)
	}
	return true
}

// tooLarge is what becomes of a message over size_limit.
func (f *Facts) tooLarge() refusal {
	text := fmt.Sprintf("%s (%d octets at most)", f.text(imsg.MsgSizeLimit), f.Config.SizeLimit)
	return refusal{rule: imsg.RuleSize, code: smtp.CodeSize, text: text}
}

// mayStart refuses a message that auth_require does not allow yet.
func (c *client) mayStart() (done bool) {
	if c.barred != nil { // it has logged in within the transaction
		c.refuseFor(*c.barred)
		return true
	}
	want := c.Config.AuthRequire
	if c.chunks == openChunks || want == imsg.AuthNo || c.authenticated() {
		return true
	}
	if want == imsg.AuthIfSupported {
		// The reply to an EHLO in the same group may still be under way.
		if !c.repliesIn() {
			return false
		}
		if c.auth&imsg.AuthSupported == 0 {
			return true
		}
	}
	if c.monitored(refusal{rule: imsg.RuleAuth, code: smtp.CodeAuthRequired, text: c.text(imsg.MsgAuthRequired)}) {
		return true
	}
	c.world.Count(imsg.CountNoAuth, 1)
	c.info("DATA:AUTH_REQUIRED")
	c.refuse(imsg.RuleAuth, smtp.CodeAuthRequired, c.text(imsg.MsgAuthRequired))
	return true
}

// checkXclient refuses XCLIENT where it is ours to speak.
func (c *client) checkXclient() (done bool) {
	if c.Config.Mode == imsg.ModeFixedXclient {
		c.refuseMasked("XCLIENT", smtp.CodeUnsupported)
	}
	return true
}

// refuseVerb refuses a verb that is always masked.
func (c *client) refuseVerb() (done bool) {
	verb, _, _ := bytes.Cut(c.command.Line, []byte{' '})
	c.refuseMasked(strings.ToUpper(string(verb)), smtp.CodeUnsupported)
	return true
}

// refuseMasked answers what goes with an extension that is masked.
func (c *client) refuseMasked(name string, code smtp.Code) {
	c.info(name+":FILTERED", "src", c.Client.Addr(), "ident", c.Ident)
	c.answerRefused(refusal{rule: imsg.RuleMasked, detail: name, code: code, text: c.text(imsg.MsgUnimplCommand)})
}

// refuse answers the command under decision; a chunk takes its message with it.
func (c *client) refuse(rule imsg.PolicyRule, code smtp.Code, text string) {
	c.refuseFor(refusal{rule: rule, code: code, text: text})
}

// refuseFor is refuse for a refusal of which more is known.
func (c *client) refuseFor(r refusal) {
	if c.command.Verb == smtp.BDAT {
		c.failChunks(c.chunk.last)
	}
	c.answerRefused(r)
}

// reply answers a command ourselves, in its turn; a chunk, not before its octets are
// there (RFC 3030, 2).
func (c *client) reply(rule imsg.PolicyRule, code smtp.Code, text string) {
	c.answerRefused(refusal{rule: rule, code: code, text: text})
}

// answerRefused is reply for a refusal of which more is known.
func (c *client) answerRefused(r refusal) {
	c.tellRefused(r)
	c.command.open = false
	c.do()
	line := c.ownLine(r.code, c.enhanced(), r.text)
	if c.discard > 0 {
		c.discardReply = line
		return
	}
	c.answer(line)
}

// refuseAndClose says why and closes both sides, behind the replies that are owed.
func (c *client) refuseAndClose(rule imsg.PolicyRule, code smtp.Code, text string) {
	c.refusal = refusal{rule: rule, by: "error", code: code, text: text}
	c.do((*client).repliesIn, (*client).closeRefused)
}

// closeRefused says the refusal and closes both sides.
func (c *client) closeRefused() (done bool) {
	if c.claim(c.refusal.by) {
		c.tellRefused(c.refusal)
		c.say(c.refusal.code, c.refusal.text)
		c.finish(c.refusal.by)
	}
	return true
}

// refuseAndTakeOver answers a command with a refusal, in its turn, and takes over.
func (c *client) refuseAndTakeOver(rule imsg.PolicyRule, code smtp.Code, text string) {
	c.refusal = refusal{rule: rule, code: code, text: text, reason: text}
	c.do((*client).repliesIn, (*client).dropServer, (*client).takeOver)
}

// offenceCounters count those refused so.
var offenceCounters = map[imsg.PolicyRule]imsg.Counter{imsg.RuleRegex: imsg.CountRegex, imsg.RuleDNSBL: imsg.CountRejectDNSBL}

// refuseOffender refuses a command in its turn, reports the client and takes over. The
// takeover repeats the text without its detail.
func (c *client) refuseOffender(rule imsg.PolicyRule, what string, found imsg.Found, text imsg.Text, detail string) {
	r := refusal{rule: rule, detail: what, code: smtp.CodeRefused, text: c.text(text) + detail, reason: c.text(text), found: found}
	if c.monitored(r) {
		return
	}
	if counter, ok := offenceCounters[rule]; ok {
		c.world.Count(counter, 1)
	}
	c.refusal = r
	c.do((*client).repliesIn, (*client).report, (*client).dropServer, (*client).takeOver)
}

// report tells lockd of the client that is being refused. A lockd that does not answer
// is logged, and the refusal stands: it locks once it comes to it.
func (c *client) report() (done bool) {
	r := &c.refusal
	q := c.ask(imsg.StateReport, c.offence(r.found, r.name, r.score, r.spool), Question{Limit: lockdWait, Patient: true})
	if q == nil {
		return false
	}
	if _, err := answerTo[imsg.Done](q); err != nil {
		c.fault("offence not confirmed", "found", r.found, "error", err)
	}
	return true
}
