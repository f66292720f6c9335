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
	tls     bool // clients begin with TLS
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
	w.report()
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
			go w.serve(conn, l.tls, true)
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
	if cerr := raw.Control(func(lfd uintptr) { fd, err = accept(int(lfd)) }); cerr != nil {
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

// wake tells a session that it must end. What it is about to say it still says, in
// order.
func (s *session) wake() {
	defer s.guard()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.relay != nil && !s.over() {
		s.relay.Finish()
		s.follow()
	}
}

// refuseLate says in place of a greeting that the client has come too late.
func (s *session) refuseLate() {
	s.closeBy("admin")
	s.w.count(imsg.CountRejectOther, 1)
	s.refuseConnection(refused{rule: imsg.RuleShutdown, code: smtp.CodeShutdown, text: imsg.MsgTempUnavail})
}
