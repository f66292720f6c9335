package session

import (
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns when lockd is told that sessions are over. While there are others, that
// goes ahead of the next question for admission, for lockd is woken by that anyway: nobody
// is judged by what is over. Where other workers ask, too, it is told at once.

// leaveWait is how long it waits for that at most.
const leaveWait = 5 * time.Millisecond

// leaves are those that lockd is not told of yet; the worker's lock guards them.
type leaves struct {
	all   []*imsg.Leave
	timer *time.Timer // tells of them; nil: there were none yet
	due   bool        // it runs

	telling sync.Mutex // is held until lockd is told: nobody asks it in between
}

// leave tells lockd that a session is over.
func (w *worker) leave(m *imsg.Leave) {
	w.mu.Lock()
	l := &w.leaves
	l.all = append(l.all, m)
	wait := w.cfg.Alone && !w.draining && w.sessions.Len() > 0
	if wait && !l.due {
		l.due = true
		if l.timer == nil {
			l.timer = time.AfterFunc(leaveWait, w.tellLeaves)
		} else {
			l.timer.Reset(leaveWait)
		}
	}
	w.mu.Unlock()
	if !wait {
		w.tellLeaves()
	}
}

// tellLeaves tells lockd of what it has not been told of yet.
func (w *worker) tellLeaves() {
	l := &w.leaves
	l.telling.Lock()
	defer l.telling.Unlock()
	w.mu.Lock()
	all := l.all
	l.all = nil
	if l.due {
		l.due = false
		l.timer.Stop()
	}
	w.mu.Unlock()
	for _, m := range all {
		w.lockd.Send(m)
	}
}
