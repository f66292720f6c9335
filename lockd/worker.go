// One link to a session worker: what comes by it, and its end. This file owns
// the rule that a worker speaks of its own sessions only, and the wait of a
// fresh lockd for what was live before it.

package lockd

import (
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

const (
	// announceTime is how long admission waits for workers to say what is live.
	announceTime = 2 * time.Second
	// maxHeld bounds the connections of one worker that wait meanwhile.
	maxHeld = 256
)

// worker is one link to a session room.
type worker struct {
	member    int
	conn      *link.Conn
	sessions  int  // live ones
	announced bool // it said all, or its time was up
	last      bool // it said the last
	gone      bool
}

// held is a question for admission that waits until all is known.
type held struct {
	w *worker
	r admission
	m *imsg.Enter
}

func (k *keeper) join(r link.Request, m *imsg.Peer) error {
	w := &worker{member: m.Member}
	k.mu.Lock()
	defer k.mu.Unlock() // the handler waits until w.conn is known
	conn, err := k.parent.Accept(r, m, func(r link.Request) { k.fromWorker(w, r) })
	if err != nil {
		return err
	}
	w.conn = conn
	k.workers[w] = struct{}{}
	late := time.AfterFunc(announceTime, func() { k.overdue(w) })
	go func() {
		<-conn.Done()
		late.Stop()
		k.lost(w)
	}()
	return nil
}

func (k *keeper) fromWorker(w *worker, r link.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w.gone {
		r.Close()
		return
	}
	if r.Late() { // it waited for the lock
		r.Fail(imsg.Timeout)
		return
	}
	switch m := r.Message.(type) {
	case *imsg.Enter:
		if !m.Client.IsValid() {
			r.Fail(imsg.Invalid)
			return
		}
		if k.settled && w.announced {
			k.enter(w, link.ReplyTo(r, m), m)
			return
		}
		k.held = slices.DeleteFunc(k.held, func(h held) bool { return h.r.Late() })
		if k.heldBy(w) >= maxHeld {
			r.Fail(imsg.Busy)
			return
		}
		k.held = append(k.held, held{w, link.ReplyTo(r, m), m})
	case *imsg.Ident:
		if s := k.judgedOf(w, r, m.Number); s != nil {
			k.identify(link.ReplyTo(r, m), s, m)
		}
	case *imsg.QuotaUse:
		switch s := k.judgedOf(w, r, m.Number); {
		case s == nil:
		case m.Counter == imsg.RateConnections || m.Counter > imsg.RateTargets:
			r.Fail(imsg.Invalid)
		default:
			k.allow(link.ReplyTo(r, m), s, m)
		}
	case *imsg.QuotaUnused:
		if s := k.live[m.Number]; s != nil && s.worker == w && m.Counter < imsg.RateCounters {
			k.unuse(s, m.Counter, m.Amount)
		}
	case *imsg.Announce:
		k.announce(w, m)
	case *imsg.Leave:
		// A session that is not here any more has been forgotten with a crash,
		// or was never admitted.
		if s := k.live[m.Number]; s != nil && s.worker == w {
			if m.Late && s.counted {
				k.unuse(s, imsg.RateConnections, 1)
			}
			k.remove(s)
		}
	case *imsg.Counts:
		if len(m.Add) > int(imsg.Counters) {
			k.expel(w, "adds to counters that do not exist")
			return
		}
		k.counters.Add(m.Add, k.machine.now())
	case *imsg.Offence:
		if s := k.judgedOf(w, r, m.Number); s != nil {
			k.offend(s, m, nil, func(kind imsg.Errno) { link.ReplyTo(r, m).Answer(&imsg.Done{Errno: kind}) })
		}
	}
}

// judgedOf returns w's session of this number. Of one it has not heard the
// admission of it cannot speak: r fails then.
func (k *keeper) judgedOf(w *worker, r link.Request, number uint64) *session {
	s := k.live[number]
	if s == nil || s.worker != w || s.judging != nil {
		r.Fail(imsg.NotFound)
		return nil
	}
	return s
}

func (k *keeper) heldBy(w *worker) (n int) {
	for _, h := range k.held {
		if h.w == w {
			n++
		}
	}
	return n
}

// announce takes up sessions that were admitted by a lockd before us.
func (k *keeper) announce(w *worker, m *imsg.Announce) {
	if w.last {
		k.expel(w, "announces sessions twice")
		return
	}
	for i := range m.Sessions {
		l := &m.Sessions[i]
		// A number nobody gave out, or that is taken, would let a worker speak
		// of sessions that are not its own.
		if !k.counters.Given(l.Number) || k.live[l.Number] != nil || !l.Client.IsValid() || w.sessions >= k.config.MaxConnections {
			k.log.Warn("announced session is not taken up", "number", l.Number, "member", w.member)
			continue
		}
		k.add(&session{
			number: l.Number, worker: w, started: l.Started,
			client: locks.Plain(l.Client), local: locks.Plain(l.Local), target: locks.Plain(l.Target), ident: clip(l.Ident, locks.MaxIdent),
			known: !k.config.Mode.Remote() || l.State > imsg.StateIdent,
		})
	}
	if m.Last {
		w.announced, w.last = true, true
		k.settle()
	}
}

// overdue ends the wait for a worker that does not announce.
func (k *keeper) overdue(w *worker) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w.gone || w.announced && k.settled {
		return
	}
	if !w.announced {
		k.log.Warn("worker did not announce its sessions in time", "member", w.member)
	}
	w.announced, k.started = true, true
	k.settle()
}

// settle looks whether all is known that admission needs, and lets in who waits.
func (k *keeper) settle() {
	if !k.settled {
		if !k.started || k.opening > 0 {
			return
		}
		for w := range k.workers {
			if !w.announced {
				return
			}
		}
		k.settled = true
	}
	k.held = slices.DeleteFunc(k.held, func(h held) bool {
		if !h.w.announced {
			return false
		}
		if !h.r.Late() {
			k.enter(h.w, h.r, h.m)
		}
		return true
	})
}

// lost forgets a worker that ended, and its sessions with it.
func (k *keeper) lost(w *worker) {
	k.mu.Lock()
	defer k.mu.Unlock()
	w.gone = true
	delete(k.workers, w)
	k.held = slices.DeleteFunc(k.held, func(h held) bool { return h.w == w })
	if w.sessions > 0 {
		for _, s := range k.live {
			if s.worker == w {
				k.remove(s)
			}
		}
	}
	k.settle()
}

// expel ends the link to a worker that said what makes no sense, or that does
// not take what it is told; the parent replaces it.
func (k *keeper) expel(w *worker, why string) {
	k.log.Error("link closed", "peer", imsg.Session, "member", w.member, "reason", why)
	k.parent.Send(&imsg.BadPeer{Room: imsg.Session, Member: w.member})
	w.conn.Close()
}
