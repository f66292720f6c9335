package relay

import (
	"errors"
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns the server's half: how the server's octets are read, which command a
// reply answers, and how the client sees it. What a reply means for the session stands
// in reply.go.

// server is the server's half.
type server struct {
	*shared
	replies   smtp.ReplyScanner
	offering  smtp.Cap      // of the EHLO reply under way
	tlsMasked bool          // STARTTLS was offered once, and the client did not see it
	intro     *introduction // with answers toUs
	held      *smtp.Reply   // the first line of a reply that waits for question
	question  *Question
	envelope  envelopeLog
	greeting  []byte // lines of it that the client has not heard, as there may be no more
}

// mode is what the server's replies are to the session.
type mode uint8

const (
	toCommands mode = iota // each answers the oldest command in the queue
	toUs                   // to our introduction
	toMessage              // a message is answered before its end
	farewell               // the last words
	toHello                // to a client that began with TLS
)

// What makes a reply nonsense.
var (
	errUnsolicited  = errors.New("a reply nobody asked for")
	errIntermediate = errors.New("an intermediate reply to a command that has none")
	errAccepted     = errors.New("DATA accepted without a message")
	errReset        = errors.New("RSET refused")
)

// begin expects the server's greeting.
func (s *server) begin() {
	cfg := s.Config
	s.offer = smtp.Offer{
		NoChunking: !cfg.ScanChunks,
		NoXClient:  cfg.Mode == imsg.ModeFixedXclient,
		SizeLimit:  cfg.SizeLimit,
		Added:      s.longestHeader(),
	}
	if cfg.Monitor.Has(imsg.RuleSize) { // who heard of the limit would not try
		s.offer.SizeLimit = 0
	}
	s.offerTLS()
	xclient, tls := cfg.Mode == imsg.ModeFixedXclient, s.needsServer()
	if xclient || tls {
		s.introducing, s.answers, s.intro = true, toUs, &introduction{xclient: xclient, tls: tls}
		return
	}
	s.queue.push(entry{kind: greeting})
}

// reads tells whether the server's octets are looked at now.
func (s *server) reads() bool {
	switch {
	case s.handshake != noHandshake && s.handshake != replaying:
		return false
	case s.fate[Server] >= Last, s.taken, s.failure != nil, s.question != nil:
		return false
	case s.answers == toMessage, s.answers == farewell:
		return true
	case s.passing():
		return s.answers == toHello
	}
	return !s.ended && s.rejection == nil
}

// run decides on the server's octets, line by line, and returns how many were used.
func (s *server) run(in []byte) (n int) {
	if len(in) > 0 && !s.introducing && !s.mayMove() {
		s.greeted = true
	}
	if len(in) > 0 && s.answers == toHello {
		return s.answerHello(in)
	}
	s.replies.Auth = s.queue.len() > 0 && s.queue.at(s.queue.len()-1).kind == auth
	for s.reads() && n < len(in) && s.pending(Client) <= room {
		r, k, err := s.replies.Next(in[n:])
		if err != nil {
			s.Trace.nonsense(len(in) - n)
			s.nonsense(err)
			break
		}
		if k == 0 {
			break
		}
		n += k
		s.line(&r, n < len(in))
	}
	s.replyBegun = s.replies.Open() || n < len(in)
	return n
}

// line decides on one line of a reply; more tells that octets follow it already.
func (s *server) line(r *smtp.Reply, more bool) {
	if s.Trace != nil {
		s.Trace.reply(fromServer, s.answersKind(), r)
	}
	switch s.answers {
	case toUs:
		s.introduce(r, more)
	case toMessage, farewell:
		s.relayLast(r)
	default:
		s.relay(r, more)
	}
}

// answersKind is what a line of a reply answers, as far as a trace has to know.
func (s *server) answersKind() kind {
	if s.answers == toCommands && s.queue.len() > 0 {
		return s.queue.at(0).kind
	}
	return own
}

// relay relays a line of a reply to the oldest command in the queue.
func (s *server) relay(r *smtp.Reply, more bool) {
	k, err := other, errUnsolicited
	if s.queue.len() > 0 {
		k = s.queue.at(0).kind
		err = checkCode(k, r.Code)
	}
	if k == greeting && (r.Last || r.Code/100 >= 4 && s.mayMove()) {
		s.noteGreeting(r.Code)
	}
	if k == greeting && err == nil && s.mayMove() && !s.greets(r) {
		return
	}
	switch {
	case err == nil, r.Code == 421: // RFC 5321, 3.8: it may come at any time
	case err == errUnsolicited && r.Code/100 >= 4:
		s.unsolicited(r)
		return
	default:
		s.nonsense(err)
		return
	}
	if k == starttls && r.Code == 220 {
		switch {
		case s.world.Unread(Client): // it was said in clear: see checkTLS
			if s.claim("error") {
				s.refuseProtocol(smtp.CodeRejected)
				s.finish("error")
			}
			return
		case s.terminates():
			if r.Last {
				s.queue.pop()
				s.replyPending = false
				s.agreed(r.Line, more)
			}
			return
		}
	}
	if r.First && s.charge(k, r) {
		return
	}
	s.pass(k, r)
}

// pass lets the client see a line of a reply, and what is complete take effect.
func (s *server) pass(k kind, r *smtp.Reply) {
	s.show(k, r)
	if !r.Last {
		return
	}
	if r.Code == 421 {
		if s.claim("server") {
			s.finish("server")
		}
		return
	}
	e := s.queue.pop()
	s.record(&e, r)
	s.sayOwn()
	// What was awaited is the last of the queue: nothing is read behind it.
	if s.replyPending && s.queue.len() == 0 {
		s.replyPending = false
		s.awaited(&e, r.Code)
	}
}

// awaited lets a reply that was awaited decide how the client is read.
func (s *server) awaited(e *entry, code int) {
	switch {
	case e.kind == data && code == 354:
		s.inTransaction().message, e.message.open = e.message, true
		s.reading = text
	case e.kind == auth && code == 334:
		s.authing = true
	case e.kind == starttls && code == 220:
		s.goDirect(causeSTARTTLS)
	case e.kind == auth && code == 235 && s.Config.AuthSkip&imsg.SkipDirect != 0:
		s.goDirect(causeAuth)
	}
}

// show has the client see a line of a reply as it is to see it, if it is.
func (s *server) show(k kind, r *smtp.Reply) {
	switch {
	case r.Code != 421 && (k == ownReset || k == quietChunk && r.Code/100 == 2):
	case k == ehlo && r.Code == 250 && s.writes(Client):
		if r.First {
			s.offering = 0
		}
		out := s.out[Client].buffer()
		var offered smtp.Cap
		before := len(*out)
		*out, offered = s.offer.Append(*out, r)
		s.Trace.own((*out)[before:])
		s.offering |= offered
	case s.writes(Client):
		s.Trace.reply(toClient, k, r)
		s.writeLine(Client, r.Line)
	}
}

// checkCode tells what makes a code an impossible answer to a command.
func checkCode(k kind, code int) error {
	switch {
	case code/100 == 3 && !(code == 354 && k == data) && !(code == 334 && k == auth):
		return errIntermediate
	case k == data && code/100 == 2:
		// More likely the answer to something else: with its 354 still to
		// come the client's text would go out as commands.
		return errAccepted
	case k == ownReset && code/100 != 2:
		return errReset
	}
	return nil
}

// charge asks lockd to count a refusal of the server against the client's quota. Over
// the quota, ours takes its place. It tells lockd of a log-in that the server has taken.
// True: the line waits for the answer.
func (s *server) charge(k kind, r *smtp.Reply) bool {
	var m imsg.Message
	rate, _, ok := rejectQuota(k, r.Code)
	switch {
	case k == auth && r.Code == 235 && s.claimed() != s.Login:
		m = &imsg.LoginTaken{Number: s.Number, Login: s.claimed()}
	case ok && s.Quotas.Has(rate):
		m = s.use(rate, 1)
	default:
		return false
	}
	line := slices.Clone(r.Line)
	s.held = &smtp.Reply{Code: r.Code, First: true, Last: r.Last, Text: line[len(line)-len(r.Text):], Line: line}
	s.question = &Question{Message: m, Limit: lockdWait}
	s.world.Ask(s.question)
	return true
}

// answered goes on with a line that has waited.
func (s *server) answered() {
	if s.question == nil || !s.question.answered {
		return
	}
	q, r := s.question, s.held
	s.question, s.held = nil, nil
	if r == nil {
		s.passedCounted(q)
		return
	}
	if s.over() {
		return
	}
	e := s.queue.at(0)
	if m, login := q.Message.(*imsg.LoginTaken); login {
		s.loggedIn(m.Login, q)
		s.pass(e.kind, r)
		return
	}
	rate, found, _ := rejectQuota(e.kind, r.Code)
	if d := s.denied(q, rate, smtp.CodeRefused); d != nil && !s.lookedFor(d.refusal(), imsg.Event{}) {
		s.record(e, r)
		s.rejection = &rejection{denial: *d, found: found}
		return
	}
	s.pass(e.kind, r)
}

// nonsense ends a session whose server talks nonsense.
func (s *server) nonsense(err error) {
	if s.answers == toUs {
		s.introductionFailed(err)
		return
	}
	if s.mayMove() {
		s.noteServer(err.Error())
		s.moveOn()
		return
	}
	if s.answers == toCommands && !s.claim("error") {
		return
	}
	s.noteServer(err.Error())
	s.warn("protocol error of the server", "dst", s.Target, "error", err)
	s.refuseProtocol(smtp.CodeTimeout)
	if s.answers == toCommands {
		s.finish("error")
	} else {
		s.finish("server")
	}
}

// gone ends the session at the server's end, unless we dropped it ourselves.
func (s *server) gone() {
	switch {
	case s.taken, s.fate[Server] >= Last:
	case s.answers == toUs:
		s.introductionFailed(errEnded)
	case s.answers == toMessage, s.answers == farewell, s.answers == toHello:
		s.finish("server")
	case s.mayMove():
		s.noteServer(errEnded.Error())
		s.moveOn()
	case s.claim("server"):
		s.noteServer(errEnded.Error())
		s.finish("server")
	}
}
