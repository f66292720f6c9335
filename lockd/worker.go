// One link to a session worker: what comes by it, and its end. This file owns
// the rule that a worker speaks of its own sessions only.

package lockd

import (
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

// announceTime is how long admission waits for workers to say what is live.
const announceTime = 2 * time.Second

// worker is one link to a session room.
type worker struct {
	member    int
	conn      *link.Conn
	sessions  int  // live ones
	announced bool // it said all, or its time was up
	last      bool // it said the last
	gone      bool
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
		if k.barrier.settled && w.announced {
			k.enter(w, link.ReplyTo(r, m), m)
		} else if !k.barrier.hold(held{w, link.ReplyTo(r, m), m}) {
			r.Fail(imsg.Busy)
		}
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
		if s := k.live.of(w, m.Number); s != nil && m.Counter < imsg.RateCounters {
			k.unuse(s, m.Counter, m.Amount)
		}
	case *imsg.Announce:
		k.announce(w, m)
	case *imsg.Leave:
		// A session that is not here any more has been forgotten with a crash,
		// or was never admitted.
		if s := k.live.of(w, m.Number); s != nil {
			if m.Late && s.counted {
				k.unuse(s, imsg.RateConnections, 1)
			}
			k.live.remove(s)
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
	s := k.live.of(w, number)
	if s == nil || s.judging != nil {
		r.Fail(imsg.NotFound)
		return nil
	}
	return s
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
		if !k.counters.Given(l.Number) || k.live.sessions[l.Number] != nil || !l.Client.IsValid() || w.sessions >= k.config.MaxConnections {
			k.log.Warn("announced session is not taken up", "number", l.Number, "member", w.member)
			continue
		}
		k.live.add(&session{
			number: l.Number, worker: w, started: l.Started,
			client: locks.Plain(l.Client), local: locks.Plain(l.Local), target: locks.Plain(l.Target), ident: clip(l.Ident, locks.MaxIdent),
			known: !k.config.Mode.Remote() || l.State > imsg.StateIdent,
		})
	}
	k.counters.Peak(len(k.live.sessions))
	if m.Last {
		w.announced, w.last = true, true
		k.settle()
	}
}

// overdue ends the wait for a worker that does not announce.
func (k *keeper) overdue(w *worker) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w.gone || w.announced && k.barrier.settled {
		return
	}
	if !w.announced {
		k.log.Warn("worker did not announce its sessions in time", "member", w.member)
	}
	w.announced, k.barrier.started = true, true
	k.settle()
}

// settle lets in who waits, as far as all is known that admission needs.
func (k *keeper) settle() {
	for _, h := range k.barrier.release(k.workers) {
		k.enter(h.w, h.r, h.m)
	}
}

// lost forgets a worker that ended, and its sessions with it.
func (k *keeper) lost(w *worker) {
	k.mu.Lock()
	defer k.mu.Unlock()
	w.gone = true
	delete(k.workers, w)
	k.barrier.drop(w)
	k.live.removeAll(w)
	k.settle()
}

// expel ends the link to a worker that said what makes no sense, or that does
// not take what it is told; the parent replaces it.
func (k *keeper) expel(w *worker, why string) {
	k.log.Error("link closed", "peer", imsg.Session, "member", w.member, "reason", why)
	k.parent.Send(&imsg.BadPeer{Room: imsg.Session, Member: w.member})
	w.conn.Close()
}
