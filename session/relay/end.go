package relay

import (
	"slices"
	"strconv"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
	"github.com/smtp-gated/smtp-gated/session/verdict"
)

// This file owns the end of a message: it is held back here until the verdict, and let
// out by letOut or by nobody.

// judge has a message judged whose end has been read.
func (c *client) judge() {
	c.reading = verdictPending
	c.message().ended = c.world.Now()
	c.do((*client).textSpooled, (*client).scan, (*client).finishSpool, (*client).decided,
		(*client).useBytes, (*client).lateLook, (*client).serverSilent, (*client).letOut)
}

// textSpooled waits until the spool has all of the message.
func (c *client) textSpooled() (done bool) {
	return !c.spoolBusy() || c.wait(imsg.StateSpool)
}

// identity is what a verdict is bound to.
func (c *client) identity() verdict.Text {
	return verdict.Text{Session: c.Number, Transaction: c.transactions, Octets: c.message().spooled}
}

// scan asks the scanners and has it decided by what they say. Whatever keeps them from
// answering is a failure of what was asked, never a clean message.
func (c *client) scan() (done bool) {
	m, cfg := c.message(), c.Config
	if c.question == nil {
		m.plan = verdict.New(cfg, m.size, c.spared(), c.world.Load)
		if m.spoolFailed || m.plan.Roles != 0 && !m.spool {
			m.decision = verdict.Lost(cfg, c.identity())
			if m.decision.Action == verdict.Pass {
				c.warn("SCAN:FAILED", "size", m.size, "src", c.Client.Addr(), "ident", c.Ident, "result", "no spool, message passes unscanned")
				c.tellUnscanned(m.plan.Roles, imsg.UnscannedIgnored)
			}
			c.noteUnscanned()
			return true
		}
		if m.spool {
			c.noteSpool(nil)
		}
		c.logSkipped(m.plan.Skipped)
		if m.plan.Roles != 0 {
			c.info("DATA:SCANNING", "size", m.size, "src", c.Client.Addr(), "ident", c.Ident)
		}
	}
	var findings []imsg.Finding
	if m.plan.Roles != 0 {
		q := c.ask(imsg.StateScan, &imsg.Scan{Number: c.Number, Size: m.spooled, Roles: m.plan.Roles}, Question{Limit: cfg.TimeoutScan, Patient: true})
		if q == nil {
			return false
		}
		findings = c.findings(q)
		c.noteScan(q, findings)
		// Whoever did not come to an end may still hold the file.
		m.abandoned = slices.ContainsFunc(findings, func(f imsg.Finding) bool { return f.Outcome != imsg.Clean && f.Outcome != imsg.Caught })
	}
	m.decision = m.plan.Decide(cfg, c.identity(), findings)
	for i := range m.decision.Points {
		c.logPoint(&m.decision.Points[i])
	}
	c.noteUnscanned()
	return true
}

// findings are what the scanners said, or that they did not.
func (c *client) findings(q *Question) []imsg.Finding {
	v, err := answerTo[imsg.Verdict](q)
	if err == nil {
		return v.Findings
	}
	return NoFindings(c.message().plan.Roles, err, q.took)
}

// NoFindings is what is known of a message when scand did not answer: an error is never a
// clean message.
func NoFindings(asked imsg.Roles, err error, took time.Duration) []imsg.Finding {
	outcome := imsg.Failed
	if err == imsg.Timeout {
		outcome = imsg.TimedOut
	}
	return []imsg.Finding{{Roles: asked, Outcome: outcome, Problem: ErrorText(err), Time: took}}
}

// finishSpool says what is to become of the spool file. Its name is waited for if
// somebody is to be told of it.
func (c *client) finishSpool() (done bool) {
	m := c.message()
	if m.spool {
		m.spool = false
		switch {
		case m.decision.Keep:
			c.job(Keep)
		case m.abandoned:
			c.job(Drop)
		default:
			c.job(Empty)
		}
	}
	return !m.decision.Keep || m.decision.Found == 0 || !c.spoolBusy() || c.wait(imsg.StateSpool)
}

// decided counts what was decided, and refuses the message or lets it go on. A client
// that was caught is reported, whatever has become of its session meanwhile.
func (c *client) decided() (done bool) {
	m := c.message()
	d := &m.decision
	for _, n := range d.Counts {
		c.world.Count(n, 1)
	}
	switch {
	case d.Action == verdict.Fail:
		c.world.Count(imsg.CountUndecided, 1)
	case slices.ContainsFunc(d.Points, func(p verdict.Point) bool { return p.Caught }): // which was counted
	case m.unseen:
		c.world.Count(imsg.CountUncleared, 1)
	default:
		c.world.Count(imsg.CountClean, 1)
	}
	for i := range d.Would {
		c.monitored(c.refusalFor(&d.Would[i]))
	}
	switch {
	case d.Action == verdict.Pass && c.over():
		c.do()
	case d.Action == verdict.Pass:
	case d.Found != 0:
		c.caught(d)
	case d.Text == imsg.MsgSpoolProblem:
		c.refuseMessage(refusal{rule: imsg.RuleSpool, code: smtp.CodeSpool, text: c.text(d.Text)})
	default:
		c.refuseMessage(c.deferral(d))
	}
	return true
}

// caught refuses a message with a virus, or spam.
func (c *client) caught(d *verdict.Decision) {
	p := &d.Points[len(d.Points)-1]
	r := c.refusalFor(p)
	r.found, r.spool = d.Found, c.message().kept
	c.takeover.infected = p.Role == imsg.RoleVirus
	c.refusal = r
	c.do((*client).report, (*client).refuseCaught)
}

// refusalFor is the refusal of a message in which something was caught.
func (f *Facts) refusalFor(p *verdict.Point) refusal {
	if p.Role == imsg.RoleVirus {
		name := f.virusName(p.Finding)
		return refusal{rule: imsg.RuleVirus, code: smtp.CodeRefused, text: f.text(imsg.MsgVirusFound) + " (" + name + ")", name: name}
	}
	score := p.Finding.Score
	return refusal{rule: imsg.RuleSpam, code: smtp.CodeRefused, text: f.text(imsg.MsgSpamFound) + " [" + formatScore(score) + "]", score: score}
}

// deferral is the refusal of a message of which nothing is known.
func (f *Facts) deferral(d *verdict.Decision) refusal {
	return refusal{rule: imsg.RuleScanner, detail: problem(d), code: smtp.CodeScanner, text: f.text(d.Text)}
}

// problem is what kept the scanners from a verdict.
func problem(d *verdict.Decision) string {
	if len(d.Points) == 0 {
		return ""
	}
	return d.Points[len(d.Points)-1].Finding.Problem
}

func (c *client) refuseCaught() (done bool) {
	c.refuseMessage(c.refusal)
	return true
}

// lateLook refuses the message of a client that got locked while it was on its way.
func (c *client) lateLook() (done bool) {
	if c.locked && !c.monitored(refusal{rule: imsg.RuleLocked, code: smtp.CodeLateLock, text: c.text(imsg.MsgVirusLocked)}) {
		c.world.Count(imsg.CountRejectLock, 1)
		c.info("LOCK:LOCKED", "src", c.Client.Addr(), "ident", c.Ident)
		c.refuseSession(imsg.RuleLocked, smtp.CodeLateLock, c.text(imsg.MsgVirusLocked))
	}
	return true
}

// serverSilent sees to it that the server has not spoken meanwhile. Nothing is owed
// here, so what it said or has begun to say, read or not yet, answers the message or
// ends the session. What is on its way to us still cannot be told from the answer to
// the end.
func (c *client) serverSilent() (done bool) {
	if c.over() {
		c.do()
		return true
	}
	return !c.replyBegun && !c.world.Unread(Server) || c.wait(imsg.StateReply)
}

// letOut writes the end of a message. Nobody else knows what that is; and it takes a
// release that was made for exactly this message, as the scanners got it. The end of
// data always follows a CRLF, or nothing; the end of chunks stands in place of the
// LAST that the client's last chunk had.
func (c *client) letOut() (done bool) {
	const (
		endOfText   = ".\r\n"
		endOfChunks = "BDAT 0 LAST\r\n"
	)
	m := c.message()
	if !m.decision.Release.Of(c.identity()) {
		panic("a message is let out that was not released")
	}
	end := endOfText
	if m.chunked {
		end = endOfChunks
	}
	c.write(Server, []byte(end))
	c.world.Took(imsg.TimeAdded, c.world.Now()-m.ended)
	c.queue.push(entry{kind: endOfData})
	c.transaction.message, c.reading, c.answerPending = nil, commands, true
	return true
}

// logSkipped logs why scanners that are on do not look.
func (c *client) logSkipped(skipped []verdict.Skip) {
	for _, k := range skipped {
		word := "SCAN:SKIPPED"
		if k.Role == imsg.RoleSpam {
			word = "SPAM:SKIPPED"
		}
		c.tellUnscanned(k.Role, skipCauses[k.Reason])
		switch k.Reason {
		case verdict.LoggedIn:
			c.info(word + " reason=auth")
		case verdict.Exempt:
			c.info("SPAM:SKIPPED reason=exempt") // from nothing else
		case verdict.Load:
			c.info(word, "size", c.message().size, "src", c.Client.Addr(), "ident", c.Ident, "load", k.Load)
		default:
			c.info(word, "size", c.message().size, "src", c.Client.Addr(), "ident", c.Ident)
		}
	}
}

// logPoint logs what came of one role's scan.
func (c *client) logPoint(p *verdict.Point) {
	c.tellScan(p)
	switch {
	case p.Unscanned:
		c.tellUnscanned(p.Role, imsg.UnscannedIgnored)
	case p.Failed && p.Role == imsg.RoleSpam:
		c.tellUnscanned(p.Role, imsg.UnscannedEngine)
	}
	f := p.Finding
	about := []any{"size", c.message().size, "time", secs(f.Time), "src", c.Client.Addr(), "ident", c.Ident}
	if p.Role == imsg.RoleVirus {
		switch {
		case p.Caught:
			c.info("SCAN:VIRUS", append(about, "virus", c.virusName(f))...)
		case p.Failed:
			c.warn("SCAN:"+failureWord(f.Outcome), append(about, "result", f.Problem)...)
		default:
			c.info("SCAN:CLEAN", about...)
		}
		if p.Unscanned {
			c.warn("message passes unscanned: ignore_errors", "src", c.Client.Addr())
		}
		return
	}
	switch {
	case p.Caught:
		c.info("SPAM:FOUND", append(about, "score", f.Score)...)
	case p.Failed:
		c.warn("SPAM:"+failureWord(f.Outcome), append(about, "score", 0.0, "result", f.Problem)...)
	default:
		c.info("SPAM:CLEAN", append(about, "score", f.Score)...)
	}
}

func (f *Facts) virusName(found *imsg.Finding) string {
	if found.Name == "" {
		return f.text(imsg.MsgUnknownVirus)
	}
	return found.Name
}

func failureWord(o imsg.Outcome) string {
	if o == imsg.TimedOut {
		return "TIMEOUT"
	}
	return "FAILED"
}

func formatScore(f float64) string { return strconv.FormatFloat(f, 'f', 6, 64) }

// secs writes a duration as the log's time= field, in whole seconds.
func secs(d time.Duration) int64 { return int64(d / time.Second) }
