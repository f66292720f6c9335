// Package session is the room that talks SMTP: it accepts clients on the shared
// listeners, relays each to its server, spools what passes, and acts on the
// verdicts of the other rooms. It runs chrooted into the spool directory, holds
// no privilege, asks no DNS and starts no program.
package session

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/session/smtp"
	"github.com/smtp-gated/smtp-gated/session/spool"
	"github.com/smtp-gated/smtp-gated/session/stream"
)

// This file owns one client's life, from the accepted socket to CLOSE: admission,
// target, connection, relay, end. What happens in between stands in admission.go,
// connect.go, relay.go, command.go, reply.go, data.go, bdat.go, takeover.go and
// direct.go.

// lingerWait is how long a client has to take our last words and close.
const lingerWait = 2 * time.Second

// longAgo is a deadline that ends at once whatever waits.
var longAgo = time.Unix(1, 0)

// session is one client and its server. The client's goroutine reads the client
// and is the only one that writes to the server; the server's goroutine reads the
// server. Both write to the client, under clientOut. Fields without a word on
// them belong to the client's goroutine.
type session struct {
	w         *worker
	number    uint64
	started   time.Time
	src       netip.AddrPort
	local     netip.AddrPort
	dst       netip.AddrPort // set before the relay starts
	ident     string         // whom a router says it calls for; like dst
	quotas    imsg.RateSet   // what it has a quota of
	undecided bool           // the worker waits for the end of its admission
	offer     smtp.Offer     // what the client gets to see of an EHLO reply; like dst

	client stream.Stream
	server stream.Stream

	// Read by anybody.
	state         atomic.Uint32 // imsg.State
	auth          atomic.Uint32 // imsg.AuthFlags
	trns          atomic.Int32  // transactions, a DATA with 354 each
	active        atomic.Bool   // there was a sign of life since the worker's clock last looked
	idleLimit     atomic.Int64  // seconds without one until the end; see relayIdleLimit
	locked        atomic.Bool   // the client got locked meanwhile
	offered       atomic.Uint32 // smtp.Cap of the last EHLO reply
	greeted       atomic.Bool   // the server has said something
	chunkRefused  atomic.Bool   // the server refused a chunk of the message under way
	chunkAnswered atomic.Bool   // and that was the answer to the client's last chunk
	expired       atomic.Bool
	refs          atomic.Int32 // goroutines at work; the last one out ends the session

	// The worker's clock's own.
	lastActive    time.Duration // what it said at the last sign of life
	halfClosedFor time.Duration // for how long it has seen a client that asks and has closed its half

	clientOut sync.Mutex // who writes to the client

	mu            sync.Mutex
	cond          sync.Cond // signalled when a reply has left the queue, or at the end
	queue         queue
	replyPending  bool // a command whose reply decides what the client's octets mean is open
	phase         phase
	answerPending bool // the end of a message is out, and the server's answer to it is not here
	replyBegun    bool // the server has begun a reply
	ended         bool
	closedBy      string // who ended it: client, server, timeout, admin, error
	takenOver     bool   // the server is gone and we answer in its place
	tx            transaction
	totalRcpts    int  // recipients the server took, whole session
	authing       bool // the client's next line is an AUTH response

	rejection *rejection // why the server is to be dropped; nil: it is not

	cancelAsk context.CancelFunc // ends the question under way, one that has no limit

	newLogged   bool // NEW was logged, and CLOSE is to follow
	clientSpoke bool // the client has begun, and not with TLS
	lines       smtp.LineScanner
	helo        string
	xclient     xclientOffer
	reason      string // of a takeover to come
	infected    bool   // that reason is a virus
	discardLeft int64  // octets of a refused chunk still to come
	chunkReply  string // the reply to it, said behind them
	chunks      chunks
	message     message
	spool       spool.File

	replies  smtp.ReplyScanner // of the server's goroutine
	offering smtp.Cap          // of the EHLO reply under way; the server's goroutine
	envelope envelopeLog
}

// transaction is what the server took of one, as far as its replies tell.
type transaction struct {
	sender string // MAIL FROM's address; empty between transactions
	rcpts  int
}

// phase is how the client's octets are to be read.
type phase uint8

const (
	commands       phase = iota
	text                 // between 354 and the end of the message
	octets               // of a chunk
	verdictPending       // the end of the message was read, and is held back
	direct               // nobody looks any more
)

// serve is the life of an accepted connection; late is one that came too late.
func (w *worker) serve(conn *net.TCPConn, late bool) {
	s := &session{w: w, started: time.Now(), undecided: !late}
	s.cond.L = &s.mu
	s.refs.Store(1)
	defer s.unref()
	if err := s.client.Open(conn); err != nil {
		conn.Close()
		s.closedBy = "error"
		return
	}
	s.src, s.local = addrPort(conn.RemoteAddr()), addrPort(conn.LocalAddr())
	s.lines.Bare = smtp.BareNewline(w.cfg.BareNewline)
	w.count(imsg.CountTotal, 1)
	if late {
		s.refuseLate()
		return
	}
	if !s.admit() {
		return
	}
	if !s.admissionDecided() {
		s.refuseLate()
		return
	}
	if !s.connect() {
		return
	}
	// The relay runs on fresh stacks: what set-up needed of this one goes
	// with it.
	s.refs.Add(2)
	go s.fromClient()
	go s.fromServer()
}

func addrPort(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// drainInput reads what the client still sends until it closes: a socket closed
// over unread octets answers with a reset, and our last line would be lost.
func (s *session) drainInput() {
	for {
		// What is buffered goes first: a full buffer could take no more.
		s.client.Consume(len(s.client.Bytes()))
		if s.client.Fill() != nil {
			return
		}
	}
}

// answerWait is how long a server may think about a message it has whole (RFC
// 5321, 4.5.3.2.6). Who hangs up sooner does not know whether it was taken, and
// the client sends it again.
const answerWait = 10 * time.Minute

// relayIdleLimit is the silence that ends a relay. While it runs s.mu is held; before,
// nobody else knows the session.
func (s *session) relayIdleLimit() int64 {
	if s.answerPending {
		return seconds(max(s.w.cfg.TimeoutIdle, answerWait))
	}
	return seconds(s.w.cfg.TimeoutIdle)
}

// setAnswerPending changes relayIdleLimit; s.mu is held. An idle limit that
// somebody else has set meanwhile stands.
func (s *session) setAnswerPending(on bool) {
	before := s.relayIdleLimit()
	s.answerPending = on
	s.idleLimit.CompareAndSwap(before, s.relayIdleLimit())
}

// withoutIdleLimit does what the client has to wait for: its silence does not count
// meanwhile. If the session ends then, the time it left the client stands.
func (s *session) withoutIdleLimit(do func()) {
	limit := s.idleLimit.Swap(forever)
	do()
	s.touch()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		limit = s.relayIdleLimit() // a message may have got its answer meanwhile
	}
	s.idleLimit.CompareAndSwap(forever, limit)
}

// expire ends a session whose time is over: a takeover says so first, a relay
// ends without a word. Called by the worker's clock.
func (s *session) expire() {
	if s.isTakenOver() && !s.expired.Swap(true) {
		s.client.Expire()
		return
	}
	s.end("timeout")
}

// end closes both connections and wakes whoever waits. The first one to call it
// says why.
func (s *session) end(by string) {
	s.mu.Lock()
	if s.closedBy == "" {
		s.closedBy = by
	}
	s.ended = true
	server := s.server.Conn
	if s.cancelAsk != nil {
		s.cancelAsk()
	}
	s.cond.Broadcast()
	s.mu.Unlock()
	// The client comes last, so that TIME_WAIT stays with it where it may.
	if server != nil {
		server.Close()
	}
	s.client.Conn.Close()
}

// unref is deferred by each goroutine of the session; the last one clears up.
func (s *session) unref() {
	if v := recover(); v != nil {
		s.w.recovered(s, v)
		s.end("error")
	}
	if s.refs.Add(-1) > 0 {
		return
	}
	s.admissionDecided()
	w := s.w
	defer w.freePlace()
	if s.client.Conn == nil {
		return
	}
	s.end("error")
	s.spool.Drop()
	s.deregister()
}

// deregister tells lockd that the session it has admitted is over. Once that is done
// it does nothing.
func (s *session) deregister() {
	w := s.w
	w.mu.Lock()
	admitted := w.sessions[s.number] == s
	delete(w.sessions, s.number)
	w.mu.Unlock()
	if !admitted {
		return
	}
	s.logEnvelope()
	if s.newLogged || s.takenOver {
		s.logClose()
	}
	w.count(imsg.CountClientBytes, uint64(s.client.Received()))
	w.count(imsg.CountServerBytes, uint64(s.server.Received()))
	if s.trns.Load() == 0 {
		w.count(imsg.CountEmpty, 1)
	}
	w.lockd.Send(&imsg.Leave{Number: s.number})
}

func (s *session) logClose() {
	spent := int64(time.Since(s.started) / time.Second)
	rcv := strconv.FormatInt(s.client.Received(), 10) + "/" + strconv.FormatInt(s.server.Received(), 10)
	switch {
	case s.takenOver:
		s.always("CLOSE:TAKEN")
	case s.phase == direct:
		s.always("CLOSE:DIRECT", "by", s.closedBy+" rcv="+rcv, "time", spent, "src", s.src.Addr(), "ident", s.ident)
	default:
		s.always("CLOSE", "by", s.closedBy, "rcv", rcv, "trns", s.trns.Load(), "rcpts", s.totalRcpts,
			"auth", s.auth.Load(), "time", spent, "src", s.src.Addr(), "ident", s.ident)
	}
}

// id is the session's name in logs, headers and the spool.
func (s *session) id() string {
	return strconv.FormatInt(s.started.Unix(), 10) + "." + strconv.FormatUint(s.number, 10)
}

func (s *session) live() imsg.LiveSession {
	return imsg.LiveSession{
		Number: s.number, State: imsg.State(s.state.Load()), Auth: imsg.AuthFlags(s.auth.Load()),
		Started: s.started.UnixNano(), Client: s.src, Local: s.local, Target: s.dst,
		Ident: s.ident, Transactions: int(s.trns.Load()), ClientBytes: s.client.Received(), ServerBytes: s.server.Received(),
	}
}

func (s *session) text(t imsg.Text) string { return s.w.cfg.Texts[t] }

func (s *session) log() *slog.Logger { return s.w.log.With(imsg.SessionKey, s.number) }

// info and debug cost nothing when the level drops them.
func (s *session) info(msg string, attrs ...any) {
	if s.w.log.Enabled(context.Background(), slog.LevelInfo) {
		s.log().Info(msg, attrs...)
	}
}

func (s *session) debug(msg string, attrs ...any) {
	if s.w.log.Enabled(context.Background(), slog.LevelDebug) {
		s.log().Debug(msg, attrs...)
	}
}

// always logs a line that log parsers count on at any log_level.
func (s *session) always(msg string, attrs ...any) {
	s.log().Log(context.Background(), logs.LevelAlways, msg, attrs...)
}
