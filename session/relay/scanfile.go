package relay

import (
	"bytes"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
	"github.com/smtp-gated/smtp-gated/session/verdict"
)

// This file owns what becomes of a message that is not sent: one that an operator shows.

// FileVerdict is what a client would hear that sent a message of size octets, of which the
// scanners of the plan have found this.
func FileVerdict(cfg *imsg.SessionConfig, size int64, plan *verdict.Plan, findings []imsg.Finding) *imsg.FileVerdict {
	f := Facts{Config: cfg}
	v := &imsg.FileVerdict{Size: size, Findings: findings}
	for _, s := range plan.Skipped {
		v.Skipped = append(v.Skipped, imsg.SkippedRole{Roles: s.Role, Cause: skipCauses[s.Reason]})
	}
	d := plan.Decide(cfg, verdict.Text{Octets: size}, findings)
	for i := range findings { // of spam only the score is an engine's to say
		if f := &findings[i]; f.Roles == imsg.RoleSpam && f.Outcome == imsg.Clean && f.Score >= cfg.SpamThreshold {
			f.Outcome = imsg.Caught
		}
	}
	would := func(r refusal) bool {
		if cfg.Monitor.Has(r.rule) {
			v.Would = v.Would.With(r.rule)
			return false
		}
		line := bytes.TrimSuffix(smtp.AppendReply(nil, r.code, true, cfg.ProxyName, r.text, ""), []byte("\r\n"))
		v.Reply = imsg.Readable(string(line), smtp.OwnReplyLimit)
		return true
	}
	if cfg.SizeLimit > 0 && size > cfg.SizeLimit && would(f.tooLarge()) {
		return v
	}
	for i := range d.Would {
		would(f.refusalFor(&d.Would[i]))
	}
	switch {
	case d.Found != 0:
		would(f.refusalFor(&d.Points[len(d.Points)-1]))
	case d.Action == verdict.Fail:
		would(f.deferral(&d))
	default:
		for _, p := range d.Points {
			v.Unscanned = v.Unscanned || p.Unscanned || p.Failed
		}
	}
	return v
}
