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
)

// message is what lives from DATA to the end of the text.
type message struct {
	body    smtp.Body
	open    bool  // its text has begun, and its end has not been read yet
	headed  bool  // it is known how the message begins, and what of ours stands before it has gone out
	chunked bool  // it comes by BDAT
	spool   bool  // the text goes to the spool
	lost    bool  // it should have, but could not
	size    int64 // octets, without our own headers
}

// begin prepares for a message before DATA is forwarded, so that a spool that
// cannot be made is known in time.
func (s *session) begin() error {
	m := &s.message
	*m = message{}
	m.body.Bare = smtp.BareNewline(s.w.cfg.BareNewline)
	if s.w.cfg.RejectNUL {
		m.body.NUL = smtp.RejectNUL
	}
	m.spool = s.mayScan(0, imsg.SkipAntivirus) || s.mayScan(0, imsg.SkipAntispam) || s.w.cfg.SpoolLeaveOn&imsg.LeaveAlways != 0
	if !m.spool {
		return nil
	}
	err := s.spool.Begin(s.id(), fs.FileMode(s.w.cfg.SpoolPerm), s.appendSpoolHeader(nil))
	if err != nil && s.w.cfg.IgnoreErrors {
		m.spool, m.lost = false, true
		s.log().Error("message will pass unscanned: spool cannot be made", "error", err)
		return nil
	}
	return err
}

// mayScan tells whether an engine will look at a message of this size, as far as
// it can be told without asking anybody.
func (s *session) mayScan(size int64, engine imsg.AuthSkip) bool {
	cfg := s.w.cfg
	on, limit := cfg.Antivirus, cfg.ScanMaxSize
	if engine == imsg.SkipAntispam {
		on, limit = cfg.Antispam, cfg.SpamMaxSize
	}
	return on && limit > 0 && size <= limit && !s.spared(engine)
}

// spared tells whether auth_skip spares this session an engine.
func (s *session) spared(engine imsg.AuthSkip) bool {
	return s.w.cfg.AuthSkip&engine != 0 && s.authenticated()
}

// takeText moves what is buffered of a message.
func (s *session) takeText(out *[]byte) step {
	m := &s.message
	if !m.headed {
		begins := m.body.Start(s.client.bytes(), (*out)[len(*out):])
		if begins == smtp.StartUnknown {
			return starve
		}
		var ok bool
		if *out, ok = s.appendHeader(*out, begins); !ok {
			return s.refuseText(smtp.CodeSpool, s.text(imsg.MsgSpoolProblem))
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
	n, wire, text, ev := m.body.Next(s.client.bytes(), *out, text)
	*out = wire
	s.client.consume(n)
	m.open = ev != smtp.BodyEnd
	if m.spool {
		m.size += int64(len(text))
		if !s.spoolText(text) {
			return s.refuseText(smtp.CodeSpool, s.text(imsg.MsgSpoolProblem))
		}
	} else {
		m.size += int64(len(wire) - before)
	}
	if limit := s.w.cfg.SizeLimit; limit > 0 && m.size > limit {
		s.info("message over size_limit", "size", m.size, "src", s.src.Addr(), "ident", s.ident)
		return s.refuseText(smtp.CodeSize, s.text(imsg.MsgSizeLimit))
	}
	switch ev {
	case smtp.BodyEnd:
		return s.endText(out)
	case smtp.BodyBare, smtp.BodyNUL:
		return s.refuseSession(smtp.CodeRejected, s.text(imsg.MsgProtoError))
	}
	return goOn
}

// spoolText writes to the spool, and gives it up once no engine would look any
// more. False: it could not, and the message must not pass without.
func (s *session) spoolText(text []byte) bool {
	m := &s.message
	cfg := s.w.cfg
	if err := s.spool.Write(text); err != nil {
		s.log().Error("spool cannot be written", "error", err)
		s.spool.Drop()
		m.spool, m.lost = false, true
		return cfg.IgnoreErrors
	}
	if !s.mayScan(m.size, imsg.SkipAntivirus) && !s.mayScan(m.size, imsg.SkipAntispam) && cfg.SpoolLeaveOn&imsg.LeaveAlways == 0 {
		s.spool.Drop()
		m.spool = false
	}
	return true
}

// refuseText cuts the server off before the end of a message and takes over.
func (s *session) refuseText(code smtp.Code, text string) step {
	if !s.cutText() {
		return stop
	}
	return s.depart(code, text)
}

// refuseSession cuts the server off before the end of a message and closes.
func (s *session) refuseSession(code smtp.Code, text string) step {
	if s.cutText() {
		s.say(code, text)
		s.finish("error")
	}
	return stop
}

// cutText cuts the server off so that it throws away what it has of a message.
// Between chunks it reads commands.
func (s *session) cutText() bool {
	if !s.message.chunked {
		return s.cut(nil)
	}
	out := []byte("RSET\r\n")
	return s.cut(&out)
}

// endText has the message judged and releases its end, or does not.
func (s *session) endText(out *[]byte) step {
	s.setPhase(verdict)
	if s.message.spool || s.message.lost {
		if !s.flush(out) {
			return stop
		}
		if next := s.judge(); next != goOn {
			return next
		}
	} else {
		s.skipped()
	}
	if over := s.use(out, imsg.RateBytes, uint64(s.message.size), smtp.CodeQuota); over != nil {
		return s.refuseText(over.code, over.text)
	}
	if s.locked.Load() {
		s.w.count(imsg.CountRejectLock, 1)
		s.info("LOCK:LOCKED", "src", s.src.Addr(), "ident", s.ident)
		return s.refuseSession(smtp.CodeLateLock, s.text(imsg.MsgVirusLocked))
	}
	return s.release(out)
}

// release lets the end of a message out, unless the server has spoken meanwhile.
// Nothing is owed here, so what it said or has begun to say, read or not yet,
// answers the message or ends the session. What is on its way to us still cannot
// be told from the answer to the end.
func (s *session) release(out *[]byte) step {
	spoken := s.server.pending()
	s.mu.Lock()
	defer s.mu.Unlock()
	for (spoken || s.begun) && !s.over() {
		s.turn.Wait()
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
	s.setEnding(true)
	return goOn
}

// skipped logs why engines that are on did not look.
func (s *session) skipped() {
	cfg, size := s.w.cfg, s.message.size
	if cfg.Antivirus {
		s.logSkipped("SCAN:SKIPPED", imsg.SkipAntivirus, size)
	}
	if cfg.Antispam {
		s.logSkipped("SPAM:SKIPPED", imsg.SkipAntispam, size)
	}
}

func (s *session) logSkipped(word string, engine imsg.AuthSkip, size int64) {
	if s.spared(engine) {
		s.info(word + " reason=auth")
		return
	}
	s.info(word, "size", size, "src", s.src.Addr(), "ident", s.ident)
}

// judge asks the scanners and acts on what they say. It returns goOn if the end
// of the message may go out.
func (s *session) judge() step {
	m, cfg := &s.message, s.w.cfg
	if m.lost {
		if !cfg.IgnoreErrors {
			return s.refuseText(smtp.CodeSpool, s.text(imsg.MsgSpoolProblem))
		}
		s.w.count(imsg.CountUnscanned, 1)
		s.log().Warn("SCAN:FAILED", "size", m.size, "src", s.src.Addr(), "ident", s.ident, "result", "no spool, message passes unscanned")
		return goOn
	}
	virus := s.mayScan(m.size, imsg.SkipAntivirus)
	spam := s.mayScan(m.size, imsg.SkipAntispam)
	load := 0.0
	if spam && cfg.SpamMaxLoad > 0 {
		load = process.Load()
		spam = load <= cfg.SpamMaxLoad
	}
	if cfg.Antivirus && !virus {
		s.logSkipped("SCAN:SKIPPED", imsg.SkipAntivirus, m.size)
	}
	if cfg.Antispam && !spam {
		if load > cfg.SpamMaxLoad && cfg.SpamMaxLoad > 0 {
			s.info("SPAM:SKIPPED", "size", m.size, "src", s.src.Addr(), "ident", s.ident, "load", load)
		} else {
			s.logSkipped("SPAM:SKIPPED", imsg.SkipAntispam, m.size)
		}
	}
	keep := cfg.SpoolLeaveOn & imsg.LeaveAlways
	defer func() { s.spool.Finish(keep != 0) }()
	if !virus && !spam {
		return goOn
	}

	s.info("DATA:SCANNING", "size", m.size, "src", s.src.Addr(), "ident", s.ident)
	s.state.Store(uint32(imsg.StateScan))
	var roles imsg.Roles
	if virus {
		roles |= imsg.RoleVirus
	}
	if spam {
		roles |= imsg.RoleSpam
	}
	var found *imsg.Verdict
	s.unhurried(func() { found = s.scan(roles) })
	if found == nil {
		return stop
	}

	if virus {
		switch v := virusFinding(found.Findings); v.Outcome {
		case imsg.Clean:
			s.info("SCAN:CLEAN", "size", m.size, "time", secs(v.Time), "src", s.src.Addr(), "ident", s.ident)
		case imsg.Caught:
			name := v.Name
			if name == "" {
				name = s.text(imsg.MsgUnknownVirus)
			}
			s.w.count(imsg.CountViruses, 1)
			s.info("SCAN:VIRUS", "size", m.size, "time", secs(v.Time), "src", s.src.Addr(), "ident", s.ident, "virus", name)
			keep |= cfg.SpoolLeaveOn & imsg.LeaveVirus
			s.spool.Finish(keep != 0)
			s.offend(imsg.FoundVirus, name, 0, s.spool.Kept())
			s.infected = true
			return s.refuseText(smtp.CodeRefused, s.text(imsg.MsgVirusFound)+" ("+name+")")
		default:
			s.w.count(imsg.CountScanFailed, 1)
			keep |= cfg.SpoolLeaveOn & imsg.LeaveError
			s.log().Warn("SCAN:"+failure(v.Outcome), "size", m.size, "time", secs(v.Time), "src", s.src.Addr(), "ident", s.ident, "result", v.Problem)
			if !cfg.IgnoreErrors {
				s.spool.Finish(keep != 0)
				return s.refuseText(smtp.CodeScanner, s.text(imsg.MsgScannerFailed))
			}
			s.w.count(imsg.CountUnscanned, 1)
			s.log().Warn("message passes unscanned: ignore_errors", "src", s.src.Addr())
		}
	}
	if !spam {
		return goOn
	}
	v := spamFinding(found.Findings, cfg.SpamThreshold)
	if v.Outcome != imsg.Clean {
		s.w.count(imsg.CountScanFailed, 1)
		keep |= cfg.SpoolLeaveOn & imsg.LeaveError
		s.log().Warn("SPAM:"+failure(v.Outcome), "size", m.size, "time", secs(v.Time), "src", s.src.Addr(), "ident", s.ident, "score", 0.0, "result", v.Problem)
		return goOn
	}
	word := "SPAM:CLEAN"
	if v.Score >= cfg.SpamThreshold {
		word = "SPAM:FOUND"
	}
	s.info(word, "size", m.size, "time", secs(v.Time), "src", s.src.Addr(), "ident", s.ident, "score", v.Score)
	if v.Score < cfg.SpamThreshold {
		return goOn
	}
	s.w.count(imsg.CountSpams, 1)
	keep |= cfg.SpoolLeaveOn & imsg.LeaveSpam
	if !cfg.SpamRefuse {
		return goOn
	}
	s.spool.Finish(keep != 0)
	s.offend(imsg.FoundSpam, "", v.Score, s.spool.Kept())
	return s.refuseText(smtp.CodeRefused, s.text(imsg.MsgSpamFound)+" ["+float(v.Score)+"]")
}

// scan asks scand. Whatever keeps it from answering is a failure of what was
// asked, never a clean message. Nil: the session ended meanwhile.
func (s *session) scan(roles imsg.Roles) *imsg.Verdict {
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
	return &imsg.Verdict{Findings: []imsg.Finding{{Roles: roles, Outcome: outcome, Problem: problem(err), Time: time.Since(start)}}}
}

// virusFinding returns the finding that decides over a virus: one that caught it,
// else one that is no verdict, else a clean one.
func virusFinding(all []imsg.Finding) *imsg.Finding {
	return decisive(all, imsg.RoleVirus, func(f *imsg.Finding) bool { return f.Outcome == imsg.Caught })
}

// spamFinding returns the finding that decides over spam: one that reached the
// threshold, else one that is no verdict, else a lower score; the higher one of two.
func spamFinding(all []imsg.Finding, threshold float64) *imsg.Finding {
	return decisive(all, imsg.RoleSpam, func(f *imsg.Finding) bool { return f.Outcome == imsg.Clean && f.Score >= threshold })
}

// decisive returns the worst finding of a role. Without one it is no verdict.
func decisive(all []imsg.Finding, role imsg.Roles, bad func(*imsg.Finding) bool) *imsg.Finding {
	const clean, failed, found = 1, 2, 3
	worst, most := new(imsg.Finding), 0
	for i := range all {
		f := &all[i]
		if f.Roles&role == 0 {
			continue
		}
		rank := failed
		switch {
		case bad(f):
			rank = found
		case f.Outcome == imsg.Clean:
			rank = clean
		}
		if rank > most || rank == most && f.Score > worst.Score {
			worst, most = f, rank
		}
	}
	return worst
}

func failure(o imsg.Outcome) string {
	if o == imsg.TimedOut {
		return "TIMEOUT"
	}
	return "FAILED"
}

func float(f float64) string { return strconv.FormatFloat(f, 'f', 6, 64) }

// secs writes a duration as the log's time= field, in whole seconds.
func secs(d time.Duration) int64 { return int64(d / time.Second) }

func itoa(n int) string { return strconv.Itoa(n) }

// problem words an error for a client or a log: the system's text for it,
// without paths and addresses.
func problem(err error) string {
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
