// A message on its way: to the server, to the spool, and its end held back until
// the verdict. This file decides alone whether the end goes out.

package session

import (
	"errors"
	"io/fs"
	"strconv"
	"syscall"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/process"
	"github.com/smtp-gated/smtp-gated/session/smtp"
	"github.com/smtp-gated/smtp-gated/session/verdict"
)

// message is what lives from DATA to the end of the text.
type message struct {
	body        smtp.Body
	open        bool  // its text has begun, and its end has not been read yet
	headerSent  bool  // it is known how the message begins, and what of ours stands before it has gone out
	chunked     bool  // it comes by BDAT
	spool       bool  // the text goes to the spool
	spoolFailed bool  // it should have, but could not
	size        int64 // octets, without our own headers
}

// beginMessage prepares for a message before DATA is forwarded, so that a spool that
// cannot be made is known in time.
func (s *session) beginMessage() error {
	m := &s.message
	*m = message{}
	m.body.Bare = smtp.BareNewline(s.w.cfg.BareNewline)
	if s.w.cfg.RejectNUL {
		m.body.NUL = smtp.RejectNUL
	}
	m.spool = verdict.NeedsSpool(s.w.cfg, 0, s.exempt())
	if !m.spool {
		return nil
	}
	err := s.spool.Begin(s.id(), fs.FileMode(s.w.cfg.SpoolPerm), s.appendSpoolHeader(nil))
	if err != nil && s.w.cfg.IgnoreErrors {
		m.spool, m.spoolFailed = false, true
		s.log().Error("message will pass unscanned: spool cannot be made", "error", err)
		return nil
	}
	return err
}

// exempt is what auth_skip exempts this session from.
func (s *session) exempt() imsg.AuthSkip {
	if !s.authenticated() {
		return 0
	}
	return s.w.cfg.AuthSkip
}

// relayText moves what is buffered of a message.
func (s *session) relayText(out *[]byte) step {
	m := &s.message
	if !m.headerSent {
		begins := m.body.Start(s.client.Bytes(), (*out)[len(*out):])
		if begins == smtp.StartUnknown {
			return needMore
		}
		var ok bool
		if *out, ok = s.appendHeader(*out, begins); !ok {
			return s.refuseMessage(smtp.CodeSpool, s.text(imsg.MsgSpoolProblem))
		}
	}
	m.body.NoSpool = !m.spool
	var spooled *[]byte
	var text []byte
	if m.spool {
		spooled = outputs.Get().(*[]byte)
		defer outputs.Put(spooled)
		text = (*spooled)[:0]
	}
	before := len(*out)
	n, wire, text, ev := m.body.Next(s.client.Bytes(), *out, text)
	*out = wire
	s.client.Consume(n)
	m.open = ev != smtp.BodyEnd
	if m.spool {
		m.size += int64(len(text))
		if !s.spoolText(text) {
			return s.refuseMessage(smtp.CodeSpool, s.text(imsg.MsgSpoolProblem))
		}
	} else {
		m.size += int64(len(wire) - before)
	}
	if limit := s.w.cfg.SizeLimit; limit > 0 && m.size > limit {
		s.info("message over size_limit", "size", m.size, "src", s.src.Addr(), "ident", s.ident)
		return s.refuseMessage(smtp.CodeSize, s.text(imsg.MsgSizeLimit))
	}
	switch ev {
	case smtp.BodyEnd:
		return s.endText(out)
	case smtp.BodyBare, smtp.BodyNUL:
		return s.refuseSession(smtp.CodeRejected, s.text(imsg.MsgProtoError))
	}
	return goOn
}

// spoolText writes to the spool, and drops it once no engine would look any
// more. False: it could not, and the message must not pass without.
func (s *session) spoolText(text []byte) bool {
	m := &s.message
	cfg := s.w.cfg
	if err := s.spool.Write(text); err != nil {
		s.log().Error("spool cannot be written", "error", err)
		s.spool.Drop()
		m.spool, m.spoolFailed = false, true
		return cfg.IgnoreErrors
	}
	if !verdict.NeedsSpool(cfg, m.size, s.exempt()) {
		s.spool.Drop()
		m.spool = false
	}
	return true
}

// refuseMessage drops the server before the end of a message and takes over.
func (s *session) refuseMessage(code smtp.Code, text string) step {
	if !s.abortMessage() {
		return stop
	}
	return s.startTakeover(code, text)
}

// refuseSession drops the server before the end of a message and closes.
func (s *session) refuseSession(code smtp.Code, text string) step {
	if s.abortMessage() {
		s.say(code, text)
		s.finish("error")
	}
	return stop
}

// abortMessage drops the server so that it throws away what it has of a message.
// Between chunks it reads commands.
func (s *session) abortMessage() bool {
	if !s.message.chunked {
		return s.dropServer(nil)
	}
	out := []byte("RSET\r\n")
	return s.dropServer(&out)
}

// endText has the message scanned and releases its end, or does not.
func (s *session) endText(out *[]byte) step {
	s.setPhase(verdictPending)
	if s.message.spool || s.message.spoolFailed {
		if !s.flush(out) {
			return stop
		}
		if next := s.scanMessage(); next != goOn {
			return next
		}
	} else {
		s.logSkipped(verdict.New(s.w.cfg, s.message.size, s.exempt(), process.Load).Skipped)
	}
	if denied := s.useQuota(out, imsg.RateBytes, uint64(s.message.size), smtp.CodeQuota); denied != nil {
		return s.refuseMessage(denied.code, denied.text)
	}
	if s.locked.Load() {
		s.w.count(imsg.CountRejectLock, 1)
		s.info("LOCK:LOCKED", "src", s.src.Addr(), "ident", s.ident)
		return s.refuseSession(smtp.CodeLateLock, s.text(imsg.MsgVirusLocked))
	}
	return s.releaseEnd(out)
}

// releaseEnd lets the end of a message out, unless the server has spoken meanwhile.
// Nothing is owed here, so what it said or has begun to say, read or not yet,
// answers the message or ends the session. What is on its way to us still cannot
// be told from the answer to the end.
func (s *session) releaseEnd(out *[]byte) step {
	spoken := s.server.Pending()
	s.mu.Lock()
	defer s.mu.Unlock()
	for (spoken || s.replyBegun) && !s.over() {
		s.cond.Wait()
	}
	if s.over() {
		return stop
	}
	end := smtp.EndOfData
	if s.message.chunked {
		end = smtp.EndOfChunks
	}
	*out = append(*out, end...)
	s.queue.push(entry{kind: endOfData})
	s.phase = commands
	s.setAnswerPending(true)
	return goOn
}

// logSkipped logs why scanners that are on do not look.
func (s *session) logSkipped(skipped []verdict.Skip) {
	for _, k := range skipped {
		word := "SCAN:SKIPPED"
		if k.Role == imsg.RoleSpam {
			word = "SPAM:SKIPPED"
		}
		switch k.Reason {
		case verdict.Exempt:
			s.info(word + " reason=auth")
		case verdict.Load:
			s.info(word, "size", s.message.size, "src", s.src.Addr(), "ident", s.ident, "load", k.Load)
		default:
			s.info(word, "size", s.message.size, "src", s.src.Addr(), "ident", s.ident)
		}
	}
}

// scanMessage asks the scanners and acts on what they say. It returns goOn if the end
// of the message may go out.
func (s *session) scanMessage() step {
	m, cfg := &s.message, s.w.cfg
	if m.spoolFailed {
		d := verdict.Lost(cfg)
		if d.Action == verdict.Release {
			s.log().Warn("SCAN:FAILED", "size", m.size, "src", s.src.Addr(), "ident", s.ident, "result", "no spool, message passes unscanned")
		}
		return s.applyDecision(&d)
	}
	plan := verdict.New(cfg, m.size, s.exempt(), process.Load)
	s.logSkipped(plan.Skipped)
	var findings []imsg.Finding
	if plan.Roles != 0 {
		s.info("DATA:SCANNING", "size", m.size, "src", s.src.Addr(), "ident", s.ident)
		s.state.Store(uint32(imsg.StateScan))
		var found *imsg.Verdict
		s.withoutIdleLimit(func() { found = s.askScand(plan.Roles) })
		if found == nil {
			s.spool.Finish(cfg.SpoolLeaveOn&imsg.LeaveAlways != 0)
			return stop
		}
		findings = found.Findings
	}
	d := verdict.Decide(cfg, plan.Roles, findings)
	for i := range d.Points {
		s.logPoint(&d.Points[i])
	}
	s.spool.Finish(d.Keep)
	return s.applyDecision(&d)
}

// applyDecision counts, reports the client and refuses, as was decided.
func (s *session) applyDecision(d *verdict.Decision) step {
	for _, c := range d.Counts {
		s.w.count(c, 1)
	}
	if d.Action == verdict.Release {
		return goOn
	}
	text, code := s.text(d.Text), smtp.CodeRefused
	if d.Found != 0 {
		f := d.Points[len(d.Points)-1].Finding
		name, score := "", 0.0
		if d.Found == imsg.FoundVirus {
			name, s.infected = s.virusName(f), true
			text += " (" + name + ")"
		} else {
			score = f.Score
			text += " [" + formatScore(f.Score) + "]"
		}
		s.reportOffence(d.Found, name, score, s.spool.Kept())
	} else if code = smtp.CodeScanner; d.Text == imsg.MsgSpoolProblem {
		code = smtp.CodeSpool
	}
	return s.refuseMessage(code, text)
}

func (s *session) virusName(f *imsg.Finding) string {
	if f.Name == "" {
		return s.text(imsg.MsgUnknownVirus)
	}
	return f.Name
}

// logPoint logs what came of one role's scan.
func (s *session) logPoint(p *verdict.Point) {
	f := p.Finding
	about := []any{"size", s.message.size, "time", secs(f.Time), "src", s.src.Addr(), "ident", s.ident}
	if p.Role == imsg.RoleVirus {
		switch {
		case p.Caught:
			s.info("SCAN:VIRUS", append(about, "virus", s.virusName(f))...)
		case p.Failed:
			s.log().Warn("SCAN:"+failureWord(f.Outcome), append(about, "result", f.Problem)...)
		default:
			s.info("SCAN:CLEAN", about...)
		}
		if p.Unscanned {
			s.log().Warn("message passes unscanned: ignore_errors", "src", s.src.Addr())
		}
		return
	}
	switch {
	case p.Caught:
		s.info("SPAM:FOUND", append(about, "score", f.Score)...)
	case p.Failed:
		s.log().Warn("SPAM:"+failureWord(f.Outcome), append(about, "score", 0.0, "result", f.Problem)...)
	default:
		s.info("SPAM:CLEAN", append(about, "score", f.Score)...)
	}
}

// askScand asks scand. Whatever keeps it from answering is a failure of what was
// asked, never a clean message. Nil: the session ended meanwhile.
func (s *session) askScand(roles imsg.Roles) *imsg.Verdict {
	start := time.Now()
	f, err := s.spool.Open()
	if err == nil {
		defer f.Close()
		var v *imsg.Verdict
		v, err = ask(s, &s.w.scand, &imsg.Scan{Number: s.number, Size: s.spool.Size(), Roles: roles, Spool: s.spool.Name()}, s.w.cfg.TimeoutScan, f)
		if err == nil {
			return v
		}
		if err == imsg.Gone && s.isEnded() {
			return nil
		}
	}
	outcome := imsg.Failed
	if err == imsg.Timeout {
		outcome = imsg.TimedOut
	}
	return &imsg.Verdict{Findings: []imsg.Finding{{Roles: roles, Outcome: outcome, Problem: errorText(err), Time: time.Since(start)}}}
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

func itoa(n int) string { return strconv.Itoa(n) }

// errorText words an error for a client or a log: the system's text for it,
// without paths and addresses.
func errorText(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	var kind imsg.Errno
	if errors.As(err, &kind) {
		return kind.Error()
	}
	return "internal error"
}
