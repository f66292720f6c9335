package session

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/loop"
	"github.com/smtp-gated/smtp-gated/session/stream"
)

// This file owns who is accepted, and when nobody is.

const (
	// acceptPause is how long nothing is accepted once accept fails; exhaustedMin is
	// the least where something ran out, whatever enfile_sleep says.
	acceptPause  = time.Second
	exhaustedMin = 100 * time.Millisecond
)

// listener is one as the parent calls it. What is not said otherwise is under the worker's
// mu.
type listener struct {
	*stream.Listener // set before anybody may wait at it
	w                *worker
	address          netip.AddrPort
	tls              bool // clients begin with TLS

	waits   bool        // somebody may wait at it, and nobody looks
	pauses  bool        // accept has failed just now
	failing atomic.Bool // and that was said; under no lock
}

// maxAccepts is how many are accepted before others have their turn.
const maxAccepts = 16

// News accepts all who wait, as long as there are places.
func (l *listener) News(turn *loop.Turn) {
	for n := 1; l.takePlace(); n++ {
		fd, from, err := l.Accept()
		if err == nil {
			l.w.pausing(nil, &l.failing)
			l.w.serve(fd, from, l.tls, false)
			if n%maxAccepts == 0 && turn.Again(l) {
				return
			}
			continue
		}
		l.w.admissionDecided()
		pause := l.w.pausing(err, &l.failing)
		l.pause(pause)
		l.w.freePlace()
		if pause >= 0 {
			return
		}
	}
}

// takePlace takes a place for who may wait. False: nobody is accepted now.
func (l *listener) takePlace() bool {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.started || w.draining || l.pauses || w.open >= w.maxOpen() {
		l.waits = true
		return false
	}
	w.open++
	w.undecided++
	return true
}

// acceptAgain looks at the listeners that nobody could look at before; w.mu is held.
func (w *worker) acceptAgain() {
	if !w.started || w.draining || w.open >= w.maxOpen() {
		return
	}
	for _, l := range w.listeners {
		if l.waits && !l.pauses {
			l.waits = false
			go l.News(nil)
		}
	}
}

// pause has nobody accepted for as long.
func (l *listener) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	l.pauses, l.waits = true, true
	time.AfterFunc(d, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		l.pauses = false
		w.acceptAgain()
	})
}

// pausing is how long nobody is accepted after an error: 0 if nobody waits, and not at all,
// less than 0, if somebody has gone before he was accepted, which is none of our matter. What
// ran out is not there again at once, and whatever else is wrong stays so as long at least.
// It is said once, until there is no error.
func (w *worker) pausing(err error, said *atomic.Bool) time.Duration {
	pause := acceptPause
	switch {
	case err == nil:
		said.Store(false)
		return 0
	case err == stream.ErrAgain, errors.Is(err, net.ErrClosed):
		return 0
	case errors.Is(err, syscall.ECONNABORTED):
		return -1
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
		pause = max(w.cfg.EnfileSleep, exhaustedMin)
	}
	if !said.Swap(true) {
		w.log.Error("accept pauses", "error", err, "pause", pause)
	}
	return pause
}

// emptyListener tells those who wait at a listener that nobody will come, and closes it
// behind them: a close resets who waits. Only TCP sees who comes in between.
func (w *worker) emptyListener(l *listener) {
	defer w.freePlace()
	for {
		w.mu.Lock()
		for w.open >= w.maxOpen() {
			w.idle.Wait()
		}
		w.open++
		w.mu.Unlock()
		fd, from, err := l.Accept()
		pause := w.pausing(err, &l.failing)
		if err == nil {
			w.serve(fd, from, l.tls, true)
			continue
		}
		w.freePlace()
		if pause == 0 {
			l.Close()
			return
		}
		time.Sleep(pause)
	}
}
