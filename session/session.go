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
	"github.com/smtp-gated/smtp-gated/session/proxyheader"
	"github.com/smtp-gated/smtp-gated/session/relay"
	"github.com/smtp-gated/smtp-gated/session/spool"
	"github.com/smtp-gated/smtp-gated/session/stream"
	"github.com/smtp-gated/smtp-gated/session/upstream"
)

// This file owns one client's life, from the accepted socket to CLOSE: admission,
// target, connection, relay, end. Admission stands in admission.go, the connection in
// connect.go; what passes between client and server is decided in package relay, which
// driver.go drives.

// session is one client and its server. Until there is a relay one goroutine sets the
// session up; from then on everybody speaks to the relay, under mu, and no goroutine is
// needed while there is nothing to say.
type session struct {
	w         *worker
	facts     relay.Facts      // all set before the relay starts; what they say of the server changes with the relay
	clientTLS *proxyheader.TLS // that a server is told of; nil: there is none
	tried     upstream.Tried   // servers of the fixed modes
	tls       bool             // the client begins with TLS
	undecided bool             // the worker waits for the end of its admission
	newLogged bool             // NEW was logged, and CLOSE is to follow
	proxied   netip.AddrPort   // where the client has called, as its load balancer says

	client stream.Stream
	server stream.Stream
	spool  spool.File // of who does a job of the relay's

	setup atomic.Uint32 // imsg.State while there is no relay
	refs  atomic.Int32  // goroutines at work, and that it is relayed; the last one out ends the session

	mu        sync.Mutex
	relay     *relay.Relay
	relayed   bool     // it is not closed, and held for that
	header    *awaited // that is awaited from a load balancer
	calling   *calling // the connection that is being made to the server
	broken    bool     // it has panicked, and is told nothing any more
	locked    bool     // the client got locked while there was no relay
	killed    bool     // an operator has ended it, while there was none
	ended     bool     // both connections are closed
	closedBy  string
	life      context.Context // over with the session; nil: nobody has asked for it
	endLife   context.CancelFunc
	asking    int           // questions of the set-up that have no limit
	leftFor   time.Duration // for how long the clock has seen a client that waits, and has closed its half
	fate      [2]relay.Fate // what was done, of what the relay says is to be
	halved    [2]bool       // our half of a connection is closed
	shown     [2]int64      // octets that the relay was shown
	lent      int           // octets of the client's that the relay has used up, and not written
	shows     [2]bool       // it is to be shown those that it has left
	unread    [2]bool       // it was told that there are others, and may wait for them
	gone      [2]bool       // a side will bring no more
	turn      relay.Side    // which was read last
	sending   [2]sending
	traceFile *traceFile        // nil: nobody looks
	following bool              // another goroutine is on its way to do what is slow
	questions []*relay.Question // of the relay's, not put yet
}

// serve takes a connection that was accepted from a client; tls is that of one which begins
// with TLS, late one that came too late. It waits for nothing.
func (w *worker) serve(fd int, from netip.AddrPort, tls, late bool) {
	s := &session{w: w, tls: tls, facts: relay.Facts{Config: w.cfg, Rules: w.rules, Started: time.Now()}, undecided: !late}
	s.refs.Store(1)
	defer s.unref()
	if s.client.Open(w.poller, fd, s) != nil {
		return
	}
	s.facts.Client, s.facts.Local = from, s.client.Local()
	w.count(imsg.CountTotal, 1)
	if w.cfg.FromProxy(from.Addr()) {
		s.awaitHeader(late)
		return
	}
	s.begin(late)
}

// begin goes on with a connection whose client is known.
func (s *session) begin(late bool) {
	w := s.w
	if s.facts.Client.Addr().Is4() {
		w.count(imsg.CountIPv4, 1)
	} else {
		w.count(imsg.CountIPv6, 1)
	}
	if late {
		s.refuseLate()
		return
	}
	s.enter()
}

// aside has another goroutine do what may wait; the session is held.
func (s *session) aside(what func()) {
	s.refs.Add(1)
	go func() {
		defer s.unref()
		what()
	}()
}

// end closes both connections and wakes whoever waits. The first one to call it says
// why.
func (s *session) end(by string) {
	s.mu.Lock()
	defer s.unlock()
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

// close closes both connections; s.mu is held, and the session is. The client comes last,
// so that TIME_WAIT stays with it where it may.
func (s *session) close() {
	s.ended = true
	if s.endLife != nil {
		s.endLife()
	}
	s.server.Close()
	s.client.Close()
	if c := s.takeCall(); c != nil {
		s.aside(func() { c.then(net.ErrClosed) })
	}
	if s.relayed {
		s.relayed = false
		s.refs.Add(-1)
	}
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
	if s.spool.Release(&s.w.spools) {
		s.leave()
	} else {
		go s.leave() // a disk may keep whoever removes a file
	}
}

// leave clears up behind a session.
func (s *session) leave() {
	defer s.w.freePlace()
	if !s.client.Opened() {
		return
	}
	s.end("error")
	s.spool.Drop()
	s.deregister()
}

// unlock is deferred by who has locked the session: nobody finds a relay that has panicked
// as if it were whole.
func (s *session) unlock() {
	v := recover()
	s.broken = s.broken || v != nil
	s.mu.Unlock()
	if v != nil {
		panic(v) // with the stack as it was
	}
}

// guard is deferred by others who speak to the relay, and do not hold the session.
func (s *session) guard() {
	if v := recover(); v != nil && s.hold() {
		s.w.recovered(s, v)
		go func() {
			defer s.unref()
			s.giveUp()
		}()
	}
}

// panicked ends the session.
func (s *session) panicked(v any) {
	s.w.recovered(s, v)
	s.giveUp()
}

// giveUp ends a session whose relay is not to be trusted any more.
func (s *session) giveUp() {
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
	admitted := w.sessions.Of(s.facts.Number) == s
	w.sessions.Delete(s.facts.Number)
	w.mu.Unlock()
	if !admitted {
		s.endTrace(s.closedBy)
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
	s.endTrace(st.ClosedBy)
	if s.newLogged || st.Taken && !s.facts.Check {
		s.logClose(st)
	}
	w.count(imsg.CountClientBytes, uint64(s.client.Received()))
	w.count(imsg.CountServerBytes, uint64(s.server.Received()))
	if !s.facts.Check {
		w.took(imsg.TimeSession, time.Since(s.facts.Started))
		if st.Transactions == 0 {
			w.count(imsg.CountEmpty, 1)
		}
	}
	w.leave(&imsg.Leave{Number: s.facts.Number, Passed: st.Passed})
}

func (s *session) logClose(st relay.Status) {
	spent := int64(time.Since(s.facts.Started) / time.Second)
	rcv := strconv.FormatInt(s.client.Received(), 10) + "/" + strconv.FormatInt(s.server.Received(), 10)
	var login []any
	if s.facts.Login != "" {
		login = []any{"login", s.facts.Login}
	}
	switch {
	case st.Taken:
		s.Always("CLOSE:TAKEN", login...)
	case st.Direct:
		s.Always("CLOSE:DIRECT", append([]any{"by", st.ClosedBy + " rcv=" + rcv, "time", spent, "src", s.facts.Client.Addr(), "ident", s.facts.Ident}, login...)...)
	default:
		s.Always("CLOSE", append([]any{
			"by", st.ClosedBy, "rcv", rcv, "trns", st.Transactions, "rcpts", st.Recipients,
			"auth", uint8(st.Auth), "time", spent, "src", s.facts.Client.Addr(), "ident", s.facts.Ident,
		}, login...)...)
	}
}

// live is what others may know of the session.
func (s *session) live() imsg.LiveSession {
	l := imsg.LiveSession{
		Number: s.facts.Number, State: imsg.State(s.setup.Load()), Started: s.facts.Started.UnixNano(), Client: s.facts.Client, Local: s.facts.Local, Target: s.facts.Target,
		Ident: s.facts.Ident, ClientBytes: s.client.Received(), ServerBytes: s.server.Received(),
		Via: s.facts.Via, Check: s.facts.Check,
	}
	s.mu.Lock()
	defer s.unlock()
	if s.relay != nil {
		st := s.relay.Status()
		l.State, l.Auth, l.Transactions, l.Login, l.Barred = st.State, st.Auth, st.Transactions, s.facts.Login, st.Barred
	}
	return l
}

// state is what the session does.
func (s *session) state() imsg.State {
	s.mu.Lock()
	defer s.unlock()
	if s.relay != nil {
		return s.relay.Status().State
	}
	return imsg.State(s.setup.Load())
}

func (s *session) text(t imsg.Text) string { return s.w.cfg.Texts[t] }

// Log logs a line about the session, if log_level is such; it costs nothing if it is not.
// The session's number goes with the line: a logger that knew it would be made anew for
// each line, or kept for each session.
func (s *session) Log(level slog.Level, msg string, attrs ...any) {
	if !s.w.log.Enabled(context.Background(), level) {
		return
	}
	r := slog.NewRecord(time.Now(), level, msg, 0)
	r.AddAttrs(slog.Uint64(imsg.SessionKey, s.facts.Number))
	r.Add(attrs...)
	s.w.log.Handler().Handle(context.Background(), r)
}

func (s *session) info(msg string, attrs ...any) { s.Log(slog.LevelInfo, msg, attrs...) }

// Always logs a line that log parsers count on at any log_level.
func (s *session) Always(msg string, attrs ...any) { s.Log(logs.LevelAlways, msg, attrs...) }

// name gives a session a name that lockd has given no number.
func (s *session) name() {
	if s.facts.Number == 0 && s.facts.Instead == "" {
		s.facts.Instead = "w" + strconv.Itoa(os.Getpid()) + "." + strconv.FormatUint(s.w.unnumbered.Add(1), 10)
	}
}
