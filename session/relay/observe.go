package relay

import (
	"errors"
	"strconv"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/verdict"
)

// This file owns what a session tells of how those did on whom it depends: its server, the
// scanners, the spool, the DNS. It decides nothing.

// ServerObject is what the server is called where its finding is told: clients that choose
// theirs must not each make one.
func (f *Facts) ServerObject() string {
	if f.Config.Mode.Fixed() {
		return f.Server.String()
	}
	return imsg.ObjectAnyServer
}

// noteServer notes, once, that the server has greeted, or why it has not.
func (s *shared) noteServer(problem string) {
	if !s.noted {
		s.noted = true
		s.world.Observe(imsg.FindingServer, s.ServerObject(), problem)
	}
}

// noteGreeting notes how the server has greeted. One that sees the client's address may
// refuse this client alone: that says nothing.
func (s *shared) noteGreeting(code int) {
	switch {
	case code == 220:
		s.noteServer("")
	case s.Config.Mode.Shows():
		s.noted = true
	default:
		s.noteServer("it greets with " + strconv.Itoa(code))
	}
}

// slowGreeting is how long a client must have waited for a greeting that does not come,
// until it is the server's fault that it left.
const slowGreeting = 10 * time.Second

// noteLeft notes that a client left whom the server had not greeted.
func (s *shared) noteLeft() {
	if waited := s.clock.now - s.clock.first; s.closedBy == "client" && waited >= slowGreeting {
		s.noteServer("no greeting within " + waited.Truncate(time.Second).String())
	}
}

// noteScan notes how the engines did that q was about.
func (c *client) noteScan(q *Question, findings []imsg.Finding) {
	var kind imsg.Errno
	switch {
	case q.err == nil:
		c.world.Observe(imsg.FindingEngineDown, imsg.ObjectScand, "")
	case c.over(): // nobody waits for it any more
		return
	case !errors.As(q.err, &kind):
		c.noteSpool(q.err)
		return
	default:
		c.world.Observe(imsg.FindingEngineDown, imsg.ObjectScand, ErrorText(q.err))
		for i := range findings {
			c.world.Count(imsg.CountEngine(imsg.EngineOff, findings[i].Outcome), 1)
		}
		return
	}
	for i := range findings {
		f := &findings[i]
		name := f.Engine.String()
		if f.Engine != imsg.EngineOff && f.Outcome != imsg.NotAsked {
			c.world.Took(imsg.TimeScan(f.Engine), f.Time)
		}
		switch {
		case f.Engine == imsg.EngineOff:
		case f.Outcome != imsg.Clean && f.Outcome != imsg.Caught:
			problem := f.Problem
			if problem == "" {
				problem = f.Outcome.String()
			}
			c.world.Count(imsg.CountEngine(f.Engine, f.Outcome), 1)
			c.world.Observe(imsg.FindingEngineDown, name, problem)
		case f.Slow:
			c.world.Observe(imsg.FindingEngineDown, name, "")
			c.world.Observe(imsg.FindingEngineSlow, name, "a scan took "+f.Time.Truncate(time.Millisecond).String())
		default:
			c.world.Observe(imsg.FindingEngineDown, name, "")
			c.world.Observe(imsg.FindingEngineSlow, name, "")
		}
	}
}

// noteUnscanned notes why a message passes that was not looked at, or that it was.
func (c *client) noteUnscanned() {
	m := c.message()
	d := &m.decision
	bad := ""
	note := func(cause, problem string) {
		if bad != cause { // virus and spam engine are skipped for one cause, as a rule
			c.unscanned(cause, problem)
		}
		bad = cause
	}
	if d.Action == verdict.Pass && m.plan.Roles != 0 && len(d.Points) == 0 {
		note(imsg.UnscannedIgnored, "there is no spool")
	}
	for i := range d.Points {
		switch p := &d.Points[i]; {
		case d.Action != verdict.Pass || !p.Failed:
		case p.Unscanned:
			note(imsg.UnscannedIgnored, "the virus engine has failed")
		default:
			note(imsg.UnscannedEngine, "the spam engine has failed")
		}
	}
	for _, k := range m.plan.Skipped {
		switch {
		case k.Reason == verdict.Load:
			note(imsg.UnscannedLoad, "the load is "+strconv.FormatFloat(k.Load, 'f', 2, 64))
		case m.plan.Roles != 0: // another engine looks
		case k.Reason == verdict.LoggedIn:
			note(imsg.UnscannedAuth, "its client has logged in")
		case k.Reason == verdict.Exempt:
			note(imsg.UnscannedExempt, "its client is exempt")
		default:
			note(imsg.UnscannedSize, "it has "+strconv.FormatInt(m.size, 10)+" octets")
		}
	}
	if bad == "" && m.plan.Roles != 0 && d.Action != verdict.Fail {
		c.world.Observe(imsg.FindingUnscanned, "", "")
	}
	m.unseen = bad != "" || m.plan.Roles == 0
}

// unscanned notes that messages pass unseen, if anybody would look at them.
func (s *shared) unscanned(cause, problem string) {
	if s.Config.Antivirus || s.Config.Antispam {
		s.world.Observe(imsg.FindingUnscanned, cause, problem)
		if n, ok := imsg.CountUnscannedFor(cause); ok {
			s.world.Count(n, 1)
		}
	}
}

// noteSpool notes that the spool has taken a message, or why not.
func (s *shared) noteSpool(err error) {
	problem := ""
	if err != nil {
		problem = ErrorText(err)
	}
	s.world.Observe(imsg.FindingSpool, s.Config.SpoolPath, problem)
}

// noteDNS notes how the DNS did, or the room that asks it.
func (c *client) noteDNS(object string, did imsg.DNSOutcome, err error) {
	if problem, known := DNSProblem(did, err); known {
		c.world.Observe(imsg.FindingDNS, object, problem)
		c.world.Count(imsg.CountDNS(object, did, err != nil), 1)
	}
}

// DNSProblem words how the DNS did: empty is well. False: nothing is known of it.
func DNSProblem(did imsg.DNSOutcome, err error) (problem string, known bool) {
	switch {
	case err != nil:
		return ErrorText(err), true
	case did == imsg.DNSSilent:
		return "no answer", true
	}
	return "", did == imsg.DNSAnswered
}
