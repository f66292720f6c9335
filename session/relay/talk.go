package relay

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns what a client says before it may, and what it says that is no SMTP:
// what is early talk, an event, and what looks like it but comes of a user's
// impatience or settings.

// refuseEarlyTalk ends a client that did not wait for the greeting. A QUIT is no early
// talk: a user's program gives up so when a greeting is slow. All else is, be it
// an HTTP request or an empty line: no mail program says them.
func (c *client) refuseEarlyTalk(line []byte, status smtp.LineStatus) {
	if status == smtp.LineOK {
		if cmd, err := smtp.ParseCommand(line); err == nil && cmd.Verb == smtp.QUIT {
			c.refusal = refusal{by: "client", code: smtp.CodeBye, text: c.text(imsg.MsgSignOff)}
			c.do((*client).closeRefused)
			return
		}
	}
	c.info("FOUND:EARLYTALK src=" + c.Client.Addr().String() + " ident=" + c.Ident)
	c.world.Count(imsg.CountEarlyTalk, 1)
	c.refusal = refusal{rule: imsg.RuleEarlyTalk, by: "error", code: smtp.CodeRejected, text: c.text(imsg.MsgEarlytalker), found: imsg.FoundEarlyTalk}
	c.do((*client).report, (*client).owedReplies, (*client).closeRefused)
}

// earlyMonitored tells whether early talk is only looked for: once of a client.
func (c *client) earlyMonitored() bool {
	if !c.Config.Monitor.Has(imsg.RuleEarlyTalk) {
		return false
	}
	if !c.earlyTold {
		c.earlyTold = true
		c.monitored(refusal{rule: imsg.RuleEarlyTalk, code: smtp.CodeRejected, text: c.text(imsg.MsgEarlytalker)})
	}
	return true
}
