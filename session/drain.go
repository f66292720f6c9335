// The end of a worker: it stops accepting, says so, and goes with its last session.
// When its generation must end, so must each session that has no message under way.
// This file owns both, and whether a listener that closes leaves anybody waiting.

package session

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// judgeWait bounds how long those just accepted may keep a reload from being
// complete: what they wait for is not theirs to hurry.
const judgeWait = 10 * time.Second

// listener is one as the parent calls it.
type listener struct {
	*net.TCPListener
	address netip.AddrPort
}

// drain stops accepting; the process ends with its last session. The sockets
// themselves go on, in other hands, but for those that close for good.
func (w *worker) drain(m *imsg.Drain) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.draining {
		w.draining = true
		for _, l := range w.listeners {
			if !slices.Contains(m.Closing, l.address) {
				l.Close()
				continue
			}
			w.open++ // until it is empty: the process must not end before
			go w.empty(l)
		}
		w.idle.Broadcast()
		go w.leave()
	}
	if m.End {
		w.endAll()
		for _, s := range w.sessions {
			go s.hurry()
		}
	}
}

// leave tells the parent when nobody is accepted any more, and nobody who was is
// still to be judged, and ends the process behind its last session.
func (w *worker) leave() {
	time.AfterFunc(judgeWait, func() {
		w.mu.Lock()
		w.late = true
		w.mu.Unlock()
		w.idle.Broadcast()
	})
	w.mu.Lock()
	for w.unjudged > 0 && !w.late {
		w.idle.Wait()
	}
	w.drained = true
	w.mu.Unlock()
	w.parent.Send(&imsg.Drained{})
	w.mu.Lock()
	for w.open > 0 {
		w.idle.Wait()
	}
	w.mu.Unlock()
	w.flushCounts()
	w.parent.Close()
}

// judged says that the configuration will not be asked about a connection any
// more. False: this was said for it already, it waited too long for its verdict
// and must not get one.
func (w *worker) judged() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unjudged--; w.draining {
		w.idle.Broadcast()
	}
	return !w.drained
}

// judged says so of a session, once.
func (s *session) judged() bool {
	if !s.unjudged {
		return true
	}
	s.unjudged = false
	return s.w.judged()
}

// empty tells those who wait at a listener that nobody will come, and closes it
// behind them: a close resets who waits. Only TCP sees who comes in between.
func (w *worker) empty(l listener) {
	defer w.closed()
	l.SetDeadline(time.Unix(1, 0)) // wakes its accept loop
	for failing := false; ; {
		w.mu.Lock()
		for w.open >= w.limit() {
			w.idle.Wait()
		}
		w.open++
		w.mu.Unlock()
		conn, err := acceptNow(l.TCPListener)
		if err == nil {
			failing = false
			go w.serve(conn, true)
			continue
		}
		w.closed()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, net.ErrClosed) {
			l.Close()
			return
		}
		failing = w.acceptFailed(err, failing)
	}
}

// acceptNow accepts without waiting: package net tries nothing once a deadline has
// passed. EAGAIN is that nobody waits.
func acceptNow(l *net.TCPListener) (*net.TCPConn, error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if cerr := raw.Control(func(lfd uintptr) {
		fd, _, err = unix.Accept(int(lfd)) // FileConn's copy has the flags
	}); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, os.NewSyscallError("accept", err)
	}
	f := os.NewFile(uintptr(fd), "client")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// mustEnd tells whether the worker's generation must end.
func (w *worker) mustEnd() bool { return w.ending.Err() != nil }

// hurry has a session look whether it must end. What it is about to say it still
// says itself, in turn; a direct proxy has no turns.
func (s *session) hurry() {
	s.mu.Lock()
	proxy := s.phase == direct
	if !proxy && !s.ended {
		s.client.Expire()
	}
	s.mu.Unlock()
	if proxy {
		s.end("admin")
	}
}

// hurried tells whether a read failed because of hurry alone, and makes the next
// one possible.
func (s *session) hurried(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || !s.w.mustEnd() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dismissal != nil || s.expired.Load() {
		return false
	}
	s.client.Conn.SetReadDeadline(time.Time{})
	return true
}

// inMessage tells whether the client is in the middle of a message, or of octets
// that it must not be interrupted in. One that has only named sender and recipients
// is not: it has the message still, and will come again.
func (s *session) inMessage() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase != commands || s.skip > 0 || s.chunks.state == openChunks && !s.declined.Load()
}

// bowOut ends a session of a generation that must end: every reply the client is
// owed comes first, then 421 in place of the next one (RFC 5321, 3.8). False: a
// message is under way, the session goes on until it is answered.
func (s *session) bowOut(out *[]byte) bool {
	if s.inMessage() {
		return false
	}
	greeted := s.greeted.Load()
	if greeted && !s.drained(out) {
		return true
	}
	if s.inMessage() {
		return false // the answer to DATA was 354
	}
	// Whoever writes a reply of the server at this moment gets it done.
	s.clientOut.Lock()
	ours := s.claim("admin")
	s.clientOut.Unlock()
	if !ours {
		return true
	}
	if greeted { // before that a client must be silent
		s.server.Conn.SetWriteDeadline(time.Now().Add(lingering * time.Second))
		s.server.Write([]byte("QUIT\r\n"))
	}
	s.sayEnd()
	return true
}

// sayEnd says the last words of a session that must end. Who has said QUIT needs
// none.
func (s *session) sayEnd() {
	s.touch()
	s.patience.Store(lingering)
	s.client.Conn.SetReadDeadline(time.Time{}) // it gets the time to read them
	if imsg.State(s.state.Load()) != imsg.StateQuit {
		s.say(smtp.CodeShutdown, s.text(imsg.MsgTempUnavail))
	}
	s.finish("admin")
}

// turnOff says in place of a greeting that the client has come too late.
func (s *session) turnOff() {
	s.mu.Lock()
	s.by = "admin"
	s.mu.Unlock()
	s.w.count(imsg.CountRejectOther, 1)
	s.refuse(smtp.CodeShutdown, imsg.MsgTempUnavail, "")
}
