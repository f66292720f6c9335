package relay

import (
	"log/slog"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
	"github.com/smtp-gated/smtp-gated/session/verdict"
)

// This file owns what both halves know: who is owed which reply, how the client's
// octets are to be read, what was taken, and how the session ends.

// shared is what both halves of a session know.
type shared struct {
	*Facts
	world World

	out  [2]output // for Client and Server
	jobs jobs      // for the spool
	fate [2]Fate

	queue        queue
	reading      reading
	replyPending bool // a command whose reply decides what the client's octets mean is open
	authing      bool // the client's next line is an AUTH response
	ending       bool // the session must end as soon as no message is under way
	killed       bool // an operator wants it ended

	policy        imsg.TLSPolicy // of this session
	handshake     handshake
	errand        Errand
	secured       [2]bool    // whose connection has TLS
	agreement     []byte     // the server's 220 to STARTTLS, which the client hears when it has TLS
	hello         []byte     // the client's EHLO or HELO, to be said again
	introducing   bool       // the server is told of its client, and nobody else hears a word
	failure       *refusal   // why there is no server after all; nil: there is, or the client knows
	greeted       bool       // the server has said something; with another one left, its whole greeting
	stays         bool       // the client has spoken before that, and has no other server
	answers       mode       // what the server's replies are to the session
	noted         bool       // it was told whether the server has greeted
	replyBegun    bool       // it has begun a reply
	offered       smtp.Cap   // of the last EHLO reply
	offer         smtp.Offer // what the client gets to see of an EHLO reply
	chunks        chunkState
	auth          imsg.AuthFlags
	exchange      *smtp.Exchange // that is under way, or was the last
	barred        *refusal       // what MAIL hears of a login that may not send; nil: it may
	locked        bool           // the client got locked meanwhile
	passed        uint64         // octets of the session that count for no quota of those passed on, or are counted; 0: there is none
	transactions  int            // a DATA with 354 each, and a first chunk
	recipients    int            // the server took, whole session
	answerPending bool           // the end of a message is out, and the server's answer to it is not here
	transaction   *transaction

	state     imsg.State // what it does while it waits for nothing
	taken     bool       // the server is gone, and we answer in its place
	rejection *rejection // why that is to come; nil: it is not
	ended     bool
	closedBy  string // who ended it: client, server, timeout, admin, operator, error

	clock clock
}

// transaction is what the server has taken of one, from its reply to MAIL to the end
// (RFC 5321, 3.3).
type transaction struct {
	sender     string // MAIL FROM's address, as others are told of it
	address    string // and as it is
	recipients int
	message    *message // from its first octet until its end is let out, or it is given up
}

// reading is how the client's octets are to be read.
type reading uint8

const (
	commands       reading = iota
	text                   // between 354 and the end of the message
	octets                 // of a chunk
	verdictPending         // the end of the message was read, and is held back
	hello                  // what begins TLS, which is passed on
	direct                 // nobody looks any more
)

func (s *shared) debug(msg string, attrs ...any) { s.world.Log(slog.LevelDebug, msg, attrs...) }

func (s *shared) info(msg string, attrs ...any) { s.world.Log(slog.LevelInfo, msg, attrs...) }

func (s *shared) warn(msg string, attrs ...any) { s.world.Log(slog.LevelWarn, msg, attrs...) }

func (s *shared) fault(msg string, attrs ...any) { s.world.Log(slog.LevelError, msg, attrs...) }

// over tells whether there is nothing more to relay.
func (s *shared) over() bool { return s.ended || s.taken || s.rejection != nil }

// claim makes the session's end the caller's: the first one to have it says the last
// words.
func (s *shared) claim(by string) bool {
	if s.taken || s.ended || s.rejection != nil {
		return false
	}
	s.closeBy(by)
	return true
}

func (s *shared) closeBy(by string) {
	s.ended = true
	if s.closedBy == "" {
		s.closedBy = by
	}
}

// finish ends the session after our last words: the server is closed, the client has
// time to read them and to close.
func (s *shared) finish(by string) {
	s.closeBy(by)
	s.dismissServer()
	s.setFate(Client, Half)
	s.touch()
}

// dismissServer closes the server, unless it is to get its QUIT first.
func (s *shared) dismissServer() {
	if s.fate[Server] != Last {
		s.setFate(Server, Closed)
	}
}

// end ends the session without a word.
func (s *shared) end(by string) {
	s.closeBy(by)
	s.setFate(Server, Closed)
	s.setFate(Client, Closed)
}

// say has one reply of our own written to the client.
func (s *shared) say(code smtp.Code, text string) {
	s.write(Client, s.ownLine(code, s.enhanced() && code != smtp.CodeGreeting, text))
}

func (s *shared) ownLine(code smtp.Code, enhanced bool, text string) []byte {
	id := ""
	if s.Config.ReplyID && code.Refuses() {
		id = s.ID()
	}
	return smtp.AppendReply(nil, code, enhanced, s.Config.ProxyName, text, id)
}

func (s *shared) enhanced() bool { return s.offered&smtp.CapEnhancedStatus != 0 }

func (s *shared) authenticated() bool { return s.auth&imsg.AuthAccepted != 0 }

// spared is who does not look at the messages of this session.
func (s *shared) spared() (by verdict.Spared) {
	if s.authenticated() {
		by.LoggedIn = s.Config.AuthSkip
	}
	by.Exempt = s.Exempt
	return by
}

// answer says a reply of our own when its turn has come: behind the replies the server
// still owes.
func (s *shared) answer(line []byte) {
	if s.queue.len() > 0 {
		s.queue.push(entry{kind: own, text: string(line)})
		return
	}
	s.write(Client, line)
}

// sayOwn says those replies of our own whose turn has come.
func (s *shared) sayOwn() {
	for s.queue.len() > 0 && s.queue.at(0).kind == own {
		s.write(Client, []byte(s.queue.pop().text))
	}
}

// inTransaction is the transaction that the server is in; some take what belongs to one
// without a MAIL.
func (s *shared) inTransaction() *transaction {
	if s.transaction == nil {
		s.transaction = new(transaction)
	}
	return s.transaction
}

// message is the one under way.
func (s *shared) message() *message {
	if s.transaction == nil {
		return nil
	}
	return s.transaction.message
}

// dropMessage gives the message under way up, and empties its spool.
func (s *shared) dropMessage() {
	if m := s.message(); m != nil {
		if m.spool {
			s.job(Empty)
		}
		s.transaction.message = nil
	}
}

// endTransaction forgets the transaction, as the server has.
func (s *shared) endTransaction() {
	s.dropMessage()
	s.transaction = nil
}

// sender is the transaction's, empty between two.
func (s *shared) sender() string {
	if s.transaction == nil {
		return ""
	}
	return s.transaction.sender
}
