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

// undecidedWait bounds how long those just accepted may keep a reload from being
// complete: what they wait for they cannot shorten.
const undecidedWait = 10 * time.Second

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
			go w.emptyListener(l)
		}
		w.idle.Broadcast()
		go w.finishDrain()
	}
	if m.End {
		w.endAll()
		for _, s := range w.sessions {
			go s.wake()
		}
	}
}

// finishDrain tells the parent when nobody is accepted any more, and nobody who was
// waits for admission, and ends the process behind its last session.
func (w *worker) finishDrain() {
	time.AfterFunc(undecidedWait, func() {
		w.mu.Lock()
		w.waitOver = true
		w.mu.Unlock()
		w.idle.Broadcast()
	})
	w.mu.Lock()
	for w.undecided > 0 && !w.waitOver {
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

// admissionDecided says that the configuration will not be asked about a connection any
// more. False: this was said for it already, it waited too long for its admission
// and must not get it.
func (w *worker) admissionDecided() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.undecided--; w.draining {
		w.idle.Broadcast()
	}
	return !w.drained
}

// admissionDecided says so of a session, once.
func (s *session) admissionDecided() bool {
	if !s.undecided {
		return true
	}
	s.undecided = false
	return s.w.admissionDecided()
}

// emptyListener tells those who wait at a listener that nobody will come, and closes it
// behind them: a close resets who waits. Only TCP sees who comes in between.
func (w *worker) emptyListener(l listener) {
	defer w.freePlace()
	l.SetDeadline(longAgo) // wakes its accept loop
	for failing := false; ; {
		w.mu.Lock()
		for w.open >= w.maxOpen() {
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
		w.freePlace()
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

// wake has a session look whether it must end. What it is about to say it still
// says itself, in order; a direct proxy has no order to keep.
func (s *session) wake() {
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

// wasWoken tells whether a read failed because of wake alone, and makes the next
// one possible.
func (s *session) wasWoken(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || !s.w.mustEnd() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rejection != nil || s.expired.Load() {
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
	return s.phase != commands || s.discardLeft > 0 || s.chunks.state == openChunks && !s.chunkRefused.Load()
}

// shutDown ends a session of a generation that must end: every reply the client is
// owed comes first, then 421 in place of the next one (RFC 5321, 3.8). False: a
// message is under way, the session goes on until it is answered.
func (s *session) shutDown(out *[]byte) bool {
	if s.inMessage() {
		return false
	}
	greeted := s.greeted.Load()
	if greeted && !s.awaitReplies(out) {
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
		s.server.Conn.SetWriteDeadline(time.Now().Add(lingerWait))
		s.server.Write([]byte("QUIT\r\n"))
	}
	s.sayShutdown()
	return true
}

// sayShutdown says the last words of a session that must end. Who has said QUIT needs
// none.
func (s *session) sayShutdown() {
	s.touch()
	s.idleLimit.Store(seconds(lingerWait))
	s.client.Conn.SetReadDeadline(time.Time{}) // it gets the time to read them
	if imsg.State(s.state.Load()) != imsg.StateQuit {
		s.say(smtp.CodeShutdown, s.text(imsg.MsgTempUnavail))
	}
	s.finish("admin")
}

// refuseLate says in place of a greeting that the client has come too late.
func (s *session) refuseLate() {
	s.mu.Lock()
	s.closedBy = "admin"
	s.mu.Unlock()
	s.w.count(imsg.CountRejectOther, 1)
	s.refuseConnection(smtp.CodeShutdown, imsg.MsgTempUnavail, "")
}
