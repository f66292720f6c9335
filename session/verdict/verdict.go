// Package verdict decides what becomes of a message: which scanners look at it, and
// what their findings come to. It asks nobody, waits for nothing and logs nothing.
package verdict

import "github.com/smtp-gated/smtp-gated/imsg"

// This file owns the decision on findings.

// Action is what becomes of the end of a message.
type Action uint8

// The actions.
const (
	Pass   Action = iota // it goes to the server
	Refuse               // for good: the client was caught
	Fail                 // for now: nothing is known of the message
)

// Text is a message as the scanners get it: which one it is, and how many octets of it
// are in the spool, with the header that only they see.
type Text struct {
	Session     uint64
	Transaction int
	Octets      int64
}

// Release lets the end of one message out. Only a decision makes one.
type Release struct {
	text Text
	made bool
}

// Of tells whether it was made for exactly this text.
func (r Release) Of(t Text) bool { return r.made && r.text == t }

// Point is what came of one role's scan, as log and counters have it.
type Point struct {
	Role    imsg.Roles
	Finding *imsg.Finding // the one that decides
	Caught  bool
	// Failed says that there is no verdict; Unscanned, that the message passes
	// without one all the same, because the configuration says so.
	Failed, Unscanned bool
}

// Decision is what becomes of a message.
type Decision struct {
	Action  Action
	Release Release        // with Action Pass
	Text    imsg.Text      // for the client, if it is not released
	Found   imsg.Found     // what the client was caught at; zero: nothing
	Points  []Point        // in the order in which they are told
	Keep    bool           // the spool file stays
	Counts  []imsg.Counter // one more of each
	Would   []Point        // what was caught and is only looked for
}

// Lost decides on a message that should have been scanned, and is in no spool.
func Lost(cfg *imsg.SessionConfig, text Text) Decision {
	if cfg.IgnoreErrors {
		return Decision{Release: Release{text, true}, Counts: []imsg.Counter{imsg.CountUnscanned}}
	}
	return Decision{Action: Fail, Text: imsg.MsgSpoolProblem}
}

// Decide decides by the findings of those who were asked. A virus comes before spam:
// who has one is caught, whatever the spam scanner said.
func (p *Plan) Decide(cfg *imsg.SessionConfig, text Text, findings []imsg.Finding) Decision {
	d := Decision{Keep: cfg.SpoolLeaveOn&imsg.LeaveAlways != 0}
	if p.Roles&imsg.RoleVirus != 0 {
		d.virus(cfg, virusFinding(findings))
	}
	if p.Roles&imsg.RoleSpam != 0 && d.Action == Pass {
		d.spam(cfg, spamFinding(findings, cfg.SpamThreshold))
	}
	if d.Action == Pass {
		d.Release = Release{text, true}
	}
	return d
}

func (d *Decision) virus(cfg *imsg.SessionConfig, f *imsg.Finding) {
	p := Point{Role: imsg.RoleVirus, Finding: f}
	switch f.Outcome {
	case imsg.Clean:
	case imsg.Caught:
		p.Caught = true
		if cfg.Monitor.Has(imsg.RuleVirus) {
			d.Would = append(d.Would, p)
			break
		}
		d.Action, d.Text, d.Found = Refuse, imsg.MsgVirusFound, imsg.FoundVirus
		d.count(cfg, imsg.LeaveVirus, imsg.CountViruses)
	default:
		p.Failed, p.Unscanned = true, cfg.IgnoreErrors
		d.count(cfg, imsg.LeaveError, imsg.CountScanFailed)
		if cfg.IgnoreErrors {
			d.Counts = append(d.Counts, imsg.CountUnscanned)
		} else {
			d.Action, d.Text = Fail, imsg.MsgScannerFailed
		}
	}
	d.Points = append(d.Points, p)
}

// spam: a scan that failed lets the message pass. The scanner's own verdict does not
// count, only its score.
func (d *Decision) spam(cfg *imsg.SessionConfig, f *imsg.Finding) {
	p := Point{Role: imsg.RoleSpam, Finding: f}
	switch {
	case f.Outcome != imsg.Clean:
		p.Failed = true
		d.count(cfg, imsg.LeaveError, imsg.CountScanFailed)
	case f.Score >= cfg.SpamThreshold && cfg.SpamRefuse && cfg.Monitor.Has(imsg.RuleSpam):
		p.Caught = true
		d.Would = append(d.Would, p)
	case f.Score >= cfg.SpamThreshold:
		p.Caught = true
		d.count(cfg, imsg.LeaveSpam, imsg.CountSpams)
		if cfg.SpamRefuse {
			d.Action, d.Text, d.Found = Refuse, imsg.MsgSpamFound, imsg.FoundSpam
		}
	}
	d.Points = append(d.Points, p)
}

// count counts an ending, after which the file may stay.
func (d *Decision) count(cfg *imsg.SessionConfig, ending imsg.LeaveOn, c imsg.Counter) {
	d.Keep = d.Keep || cfg.SpoolLeaveOn&ending != 0
	d.Counts = append(d.Counts, c)
}
