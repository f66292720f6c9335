package relay

import (
	"bytes"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns the spool in memory, and what a message that a server takes must have
// been through.

// file is a spool file. It has an identity: who holds it sees whatever is done to it.
type file struct {
	text []byte
	held bool // by a scan that did not come to an end
}

// store is the session's spool: one file at a time, as package spool has it.
type store struct {
	file   *file
	failed bool  // what belongs to this message is not all in it
	scan   *scan // of the message under way
}

// scan is what was asked of scand.
type scan struct {
	message *imsg.Scan
	file    *file
	text    []byte // of the file, when it was asked
	answer  *imsg.Verdict
	err     error
	done    bool
	locked  bool // the client was, before the answer
}

// fails draws whether something fails.
func (d *drive) fails(in int) bool { return !d.calm && d.rare > 0 && d.order.IntN(in) == 0 }

// beginJob takes the next job, if there is one.
func (d *drive) beginJob() {
	if job, ok := d.relay.Job(); ok {
		d.job = &job
		if _, more := d.relay.Job(); more {
			d.fail("two jobs at a time")
		}
	}
}

// endJob does the job.
func (d *drive) endJob() int {
	job := d.job
	d.job = nil
	p := &d.spool
	if s := p.scan; s != nil && !s.done && s.file == p.file {
		d.fail("job %d while the file is scanned", job.Do)
	}
	var err error
	kept := ""
	switch job.Do {
	case Begin:
		p.scan, p.failed = nil, false
		if p.file == nil {
			p.file = new(file)
		}
		d.mayChange("a message begins")
		p.file.text = append(p.file.text[:0], job.Text...)
		if d.fails(60) {
			p.file, p.failed, err = nil, true, imsg.Resource
		}
	case Write:
		if p.file == nil {
			d.fail("a spool file is written that there is none of")
		}
		d.mayChange("text is written")
		if p.failed || d.fails(60) {
			p.failed, err = true, imsg.Resource
			break
		}
		p.file.text = append(p.file.text, job.Text...)
	case Empty:
		if p.file != nil {
			d.mayChange("emptied")
			p.file.text = nil
		}
	case Keep:
		if p.file != nil {
			if p.file = nil; !d.fails(20) {
				kept = d.facts.ID()
			}
		}
	case Drop:
		p.file = nil
	}
	if d.lent == nil {
		spoil(job.Text)
	}
	d.relay.Done(kept, err)
	d.takeBack()
	return int(job.Do)
}

// mayChange holds that nobody who has not come to an end sees the file change.
func (d *drive) mayChange(how string) {
	if d.spool.file.held {
		d.fail("%s in a file that an abandoned scan may still hold", how)
	}
}

// askScan is a question for scand.
func (d *drive) askScan(m *imsg.Scan) *scan {
	f := d.spool.file
	if f == nil {
		d.fail("there is nothing to be scanned")
	}
	if int(m.Size) != len(f.text) {
		d.fail("%d octets are to be scanned, and %d are in the spool", m.Size, len(f.text))
	}
	f.held = true
	d.spool.scan = &scan{message: m, file: f, text: bytes.Clone(f.text)}
	return d.spool.scan
}

// verdict draws what the scanners say. Caught is what bears the word, if they are calm.
func (d *drive) verdict(s *scan) (*imsg.Verdict, error) {
	virus, spam := imsg.Clean, 0.0
	if bytes.Contains(s.text, []byte("virus")) {
		virus = imsg.Caught
	}
	if len(s.text)%5 == 0 {
		spam = 9
	}
	if d.fails(6) {
		return nil, []error{imsg.Timeout, imsg.Gone, imsg.Internal, imsg.Busy, errClosed}[d.order.IntN(5)]
	}
	v := new(imsg.Verdict)
	for _, role := range []imsg.Roles{imsg.RoleVirus, imsg.RoleSpam} {
		if s.message.Roles&role == 0 {
			continue
		}
		f := imsg.Finding{Roles: role, Outcome: imsg.Clean, Score: spam, Time: time.Second}
		if role == imsg.RoleVirus {
			f.Outcome, f.Name = virus, "Eicar"
		}
		if d.fails(8) {
			f.Outcome = []imsg.Outcome{imsg.Failed, imsg.TimedOut, imsg.NotAsked, imsg.Caught}[d.order.IntN(4)]
		}
		if d.fails(30) {
			continue
		}
		v.Findings = append(v.Findings, f)
		if d.fails(10) {
			v.Findings = append(v.Findings, imsg.Finding{Roles: role, Outcome: imsg.Failed})
		}
	}
	return v, nil
}

// answered keeps what scand said. Who has come to an end holds the file no more.
func (s *scan) answered(v *imsg.Verdict, err error, locked bool) {
	s.answer, s.err, s.done, s.locked = v, err, true, locked
	if err != nil {
		return
	}
	for _, f := range v.Findings {
		if f.Outcome != imsg.Clean && f.Outcome != imsg.Caught {
			return
		}
	}
	s.file.held = false
}

// outcome is what the findings say of a role.
func (s *scan) outcome(role imsg.Roles) (o imsg.Outcome, score float64) {
	if s.err != nil {
		return imsg.Failed, 0
	}
	for _, f := range s.answer.Findings {
		switch {
		case f.Roles&role == 0:
		case f.Outcome == imsg.Caught && role == imsg.RoleVirus:
			return imsg.Caught, 0
		case f.Outcome != imsg.Clean:
			o = imsg.Failed
		case o == imsg.NotAsked:
			o = imsg.Clean
		}
		score = max(score, f.Score)
	}
	if o == imsg.NotAsked {
		o = imsg.Failed
	}
	return o, score
}

// looks tells who has to look at a message of a size.
func (d *drive) looks(size int64) (roles imsg.Roles) {
	c, spared := d.facts.Config, imsg.AuthSkip(0)
	if d.authed && !d.loose || d.loose && d.relay.shared.authenticated() {
		spared = c.AuthSkip
	}
	if c.Antivirus && spared&imsg.SkipAntivirus == 0 && size <= c.ScanMaxSize && c.ScanMaxSize > 0 {
		roles |= imsg.RoleVirus
	}
	if c.Antispam && spared&imsg.SkipAntispam == 0 && size <= c.SpamMaxSize && c.SpamMaxSize > 0 && (c.SpamMaxLoad == 0 || d.load <= c.SpamMaxLoad) {
		roles |= imsg.RoleSpam
	}
	return roles
}

// released is called when the server reads the end of a message: it must have been
// scanned as the server has it, and let pass.
func (d *drive) released(text []byte) {
	if d.server.ends > d.letOut {
		d.fail("the server reads the end of a message that was not let out: %q", text)
	}
	if d.server.astray { // nobody can know what it takes for text
		return
	}
	c, s := d.facts.Config, d.spool.scan
	d.spool.scan = nil
	size := int64(len(d.withoutHeader(text)))
	roles := d.looks(size)
	if bytes.HasPrefix(d.withoutHeader(text), parted) && (s == nil && roles != 0 || s != nil && s.message.Roles != roles) {
		roles = d.looks(size - int64(len(parted)))
	}
	granted := d.granted || !d.facts.Quotas.Has(imsg.RateBytes)
	d.granted = false
	switch {
	case !granted && !c.Monitor.Has(imsg.RuleRate):
		d.fail("a message is let out whose octets no quota has granted")
	case s == nil && roles != 0 && !(d.spool.failed && c.IgnoreErrors):
		d.fail("a message is let out that nobody has looked at: %q", text)
	case s == nil:
		return
	case !s.done:
		d.fail("a message is let out before its verdict: %q", text)
	case s.locked && !c.Monitor.Has(imsg.RuleLocked):
		d.fail("a message of a client is let out that was locked")
	case s.message.Roles != roles:
		d.fail("%d look at a message of %d octets, and %d should", s.message.Roles, size, roles)
	}
	if !d.same(text, s.text) {
		d.fail("the server has %q, and the scanners got %q", text, s.text)
	}
	if roles&imsg.RoleVirus != 0 {
		switch o, _ := s.outcome(imsg.RoleVirus); {
		case o == imsg.Caught && !c.Monitor.Has(imsg.RuleVirus), o == imsg.Failed && !c.IgnoreErrors:
			d.fail("a message is let out whose scan has %s", o)
		}
	}
	if roles&imsg.RoleSpam != 0 {
		if o, score := s.outcome(imsg.RoleSpam); o == imsg.Clean && score >= c.SpamThreshold && c.SpamRefuse && !c.Monitor.Has(imsg.RuleSpam) {
			d.fail("spam is let out")
		}
	}
}

// parted is what parts a header of ours from a message that begins with text.
var parted = []byte("\r\n")

// withoutHeader is a message without our header.
func (d *drive) withoutHeader(text []byte) []byte {
	rest, ok := bytes.CutPrefix(text, d.facts.appendNATHeader(nil))
	if !ok {
		d.fail("no header of ours: %q", text)
	}
	return rest
}

// same tells whether server and scanners have the same message, headers of ours aside,
// and what parts one of them from text.
func (d *drive) same(wire, spool []byte) bool {
	headed, ours := len(d.facts.appendNATHeader(nil)) > 0, d.facts.Config.SpoolHeader != ""
	wire = d.withoutHeader(wire)
	if ours {
		line, rest, ok := bytes.Cut(spool, []byte("\r\n"))
		if !ok || !bytes.HasPrefix(line, []byte(d.facts.Config.SpoolHeader+": ")) {
			return false
		}
		spool = rest
	}
	if bytes.Equal(wire, spool) {
		return true
	}
	if headed && !ours {
		wire, headed = bytes.CutPrefix(wire, parted)
		return headed && bytes.Equal(wire, spool)
	}
	if ours && !headed {
		spool, ours = bytes.CutPrefix(spool, parted)
		return ours && bytes.Equal(wire, spool)
	}
	return false
}
