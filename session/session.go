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
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/session/relay"
	"github.com/smtp-gated/smtp-gated/session/spool"
	"github.com/smtp-gated/smtp-gated/session/stream"
)

// This file owns one client's life, from the accepted socket to CLOSE: admission,
// target, connection, relay, end. Admission stands in admission.go, the connection in
// connect.go; what passes between client and server is decided in package relay, which
// driver.go drives.

// session is one client and its server. Until there is a relay one goroutine sets the
// session up; from then on everybody speaks to the relay, under mu.
type session struct {
	w         *worker
	facts     relay.Facts // all set before the relay starts
	tls       bool        // the client begins with TLS
	undecided bool        // the worker waits for the end of its admission
	newLogged bool        // NEW was logged, and CLOSE is to follow

	client stream.Stream
	server stream.Stream
	spool  spool.File // of who does a job of the relay's

	setup atomic.Uint32 // imsg.State while there is no relay
	refs  atomic.Int32  // goroutines at work; the last one out ends the session

	mu       sync.Mutex
	cond     sync.Cond // signalled when the relay was told of something
	relay    *relay.Relay
	broken   bool // it has panicked, and is told nothing any more
	locked   bool // the client got locked while there was no relay
	ended    bool // both connections are closed
	closedBy string
	life     context.Context // over with the session; nil: nobody has asked for it
	endLife  context.CancelFunc
	asking   int           // questions of the set-up that have no limit
	leftFor  time.Duration // for how long the clock has seen a client that waits, and has closed its half
	fate     [2]relay.Fate // what was done, of what the relay says is to be
	halved   [2]bool       // our half of a connection is closed
	shown    [2]int64      // octets that the relay was shown
}

// serve is the life of an accepted connection; tls is that of one whose client begins with
// TLS, late one that came too late.
func (w *worker) serve(conn *net.TCPConn, tls, late bool) {
	s := &session{w: w, tls: tls, facts: relay.Facts{Config: w.cfg, Rules: w.rules, Started: time.Now()}, undecided: !late}
	s.cond.L = &s.mu
	s.refs.Store(1)
	defer s.unref()
	if err := s.client.Open(conn); err != nil {
		conn.Close()
		return
	}
	s.facts.Client, s.facts.Local = addrPort(conn.RemoteAddr()), addrPort(conn.LocalAddr())
	w.count(imsg.CountTotal, 1)
	if s.facts.Client.Addr().Is4() {
		w.count(imsg.CountIPv4, 1)
	} else {
		w.count(imsg.CountIPv6, 1)
	}
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
	if s.tls && !s.secureFirst() {
		return
	}
	s.connect()
}

func addrPort(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// end closes both connections and wakes whoever waits. The first one to call it says
// why.
func (s *session) end(by string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(by)
}

// endLocked is end with s.mu held.
func (s *session) endLocked(by string) {
	if s.closedBy == "" {
		s.closedBy = by
	}
	if s.relay != nil && !s.broken {
		s.relay.Abort(by)
	}
	s.close()
}

// close closes both connections; s.mu is held. The client comes last, so that TIME_WAIT
// stays with it where it may.
func (s *session) close() {
	s.ended = true
	if s.endLife != nil {
		s.endLife()
	}
	s.cond.Broadcast()
	if s.server.Conn != nil {
		s.server.Conn.Close()
	}
	s.client.Conn.Close()
}

// hold is for one goroutine more, which defers unref. False: the last one is out.
func (s *session) hold() bool {
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// unref is deferred by each goroutine of the session; the last one clears up.
func (s *session) unref() {
	if v := recover(); v != nil {
		s.panicked(v)
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

// guard is deferred by others who speak to the relay.
func (s *session) guard() {
	if v := recover(); v != nil {
		s.panicked(v)
	}
}

// panicked ends the session: its relay is not to be trusted any more.
func (s *session) panicked(v any) {
	s.w.recovered(s, v)
	s.mu.Lock()
	s.broken = true
	s.mu.Unlock()
	s.end("error")
}

// deregister tells lockd that the session it has admitted is over. Once that is done
// it does nothing.
func (s *session) deregister() {
	w := s.w
	w.mu.Lock()
	admitted := w.sessions[s.facts.Number] == s
	delete(w.sessions, s.facts.Number)
	w.mu.Unlock()
	if !admitted {
		return
	}
	st := relay.Status{ClosedBy: s.closedBy}
	if s.relay != nil {
		st = s.relay.Status()
		if !s.broken {
			s.relay.Close()
		}
	}
	if st.ClosedBy == "" { // the relay has panicked
		st.ClosedBy = s.closedBy
	}
	if s.newLogged || st.Taken {
		s.logClose(st)
	}
	w.count(imsg.CountClientBytes, uint64(s.client.Received()))
	w.count(imsg.CountServerBytes, uint64(s.server.Received()))
	w.took(imsg.TimeSession, time.Since(s.facts.Started))
	if st.Transactions == 0 {
		w.count(imsg.CountEmpty, 1)
	}
	w.lockd.Send(&imsg.Leave{Number: s.facts.Number, Passed: st.Passed})
}

func (s *session) logClose(st relay.Status) {
	spent := int64(time.Since(s.facts.Started) / time.Second)
	rcv := strconv.FormatInt(s.client.Received(), 10) + "/" + strconv.FormatInt(s.server.Received(), 10)
	switch {
	case st.Taken:
		s.always("CLOSE:TAKEN")
	case st.Direct:
		s.always("CLOSE:DIRECT", "by", st.ClosedBy+" rcv="+rcv, "time", spent, "src", s.facts.Client.Addr(), "ident", s.facts.Ident)
	default:
		s.always("CLOSE", "by", st.ClosedBy, "rcv", rcv, "trns", st.Transactions, "rcpts", st.Recipients,
			"auth", uint8(st.Auth), "time", spent, "src", s.facts.Client.Addr(), "ident", s.facts.Ident)
	}
}

// live is what others may know of the session.
func (s *session) live() imsg.LiveSession {
	l := imsg.LiveSession{
		Number: s.facts.Number, State: imsg.State(s.setup.Load()), Started: s.facts.Started.UnixNano(), Client: s.facts.Client, Local: s.facts.Local, Target: s.facts.Target,
		Ident: s.facts.Ident, ClientBytes: s.client.Received(), ServerBytes: s.server.Received(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.relay != nil {
		st := s.relay.Status()
		l.State, l.Auth, l.Transactions = st.State, st.Auth, st.Transactions
	}
	return l
}

// state is what the session does.
func (s *session) state() imsg.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.relay != nil {
		return s.relay.Status().State
	}
	return imsg.State(s.setup.Load())
}

func (s *session) text(t imsg.Text) string { return s.w.cfg.Texts[t] }

func (s *session) log() *slog.Logger { return s.w.log.With(imsg.SessionKey, s.facts.Number) }

func (s *session) info(msg string, attrs ...any) { s.Log(slog.LevelInfo, msg, attrs...) }

// always logs a line that log parsers count on at any log_level.
func (s *session) always(msg string, attrs ...any) {
	s.log().Log(context.Background(), logs.LevelAlways, msg, attrs...)
}

// name gives a session a name that lockd has given no number.
func (s *session) name() {
	if s.facts.Number == 0 && s.facts.Instead == "" {
		s.facts.Instead = "w" + strconv.Itoa(os.Getpid()) + "." + strconv.FormatUint(s.w.unnumbered.Add(1), 10)
	}
}
