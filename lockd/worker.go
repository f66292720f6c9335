// One link to a session worker: what comes by it, and its end. This file owns
// the rule that a worker speaks of its own sessions only.

package lockd

import (
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

// announceTime is how long admission waits for workers to say what is live.
const announceTime = 2 * time.Second

// lastWords is how long is read what a worker has said that is no more.
const lastWords = time.Second

// worker is one link to a session room.
type worker struct {
	member    int
	conn      *link.Conn
	sessions  int  // live ones
	announced bool // it said all, or its time was up
	last      bool // it said the last
	doubted   bool // it announced one that it cannot have; said once
	ended     bool // the parent says so
	gone      bool
}

func (srv *server) attachWorker(r link.Request, m *imsg.Peer) error {
	w := &worker{member: m.Member}
	srv.mu.Lock()
	defer srv.mu.Unlock() // the handler waits until w.conn is known
	conn, err := srv.parent.Accept(r, m, func(r link.Request) { srv.fromWorker(w, r) })
	if err != nil {
		return err
	}
	w.conn = conn
	srv.workers[w] = struct{}{}
	srv.handTraces(w)
	for old := range srv.workers {
		if old.member == m.Member && old != w { // that link is broken: what lives there is announced again
			old.conn.Close()
			srv.forget(old)
		}
	}
	late := time.AfterFunc(announceTime, func() { srv.overdue(w) })
	go func() {
		<-conn.Done()
		late.Stop()
		srv.lost(w)
	}()
	return nil
}

func (srv *server) fromWorker(w *worker, r link.Request) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if w.gone {
		r.Close()
		return
	}
	if r.Late() { // it waited for the lock
		r.Fail(imsg.Timeout)
		return
	}
	// whenSettled judges what goes by how many are live.
	whenSettled := func(judge func(starter)) {
		if srv.barrier.settled && w.announced {
			judge(r.Behind)
		} else if !srv.barrier.hold(held{w, r.Late, func() { judge(aside) }}) {
			r.Fail(imsg.Busy)
		}
	}
	switch m := r.Message.(type) {
	case *imsg.Enter:
		whenSettled(func(start starter) { srv.enter(w, link.ReplyTo(r, m), m, start) })
	case *imsg.Ident:
		if s := srv.judgedOf(w, r, m.Number); s != nil {
			srv.identify(link.ReplyTo(r, m), s, m, r.Behind)
		}
	case *imsg.LoginTaken:
		whenSettled(func(start starter) {
			if s := srv.judgedOf(w, r, m.Number); s != nil {
				srv.loggedIn(link.ReplyTo(r, m), s, m, start)
			}
		})
	case *imsg.QuotaUse:
		if s := srv.judgedOf(w, r, m.Number); s != nil {
			srv.allow(link.ReplyTo(r, m), s, m)
		}
	case *imsg.QuotaUnused:
		if s := srv.live.of(w, m.Number); s != nil && m.Counter < imsg.RateCounters {
			srv.unuse(s, m.Counter, s.returned(m.Counter, m.Amount))
		}
	case *imsg.Announce:
		srv.announce(w, m)
	case *imsg.Leave:
		// A session that is not here any more has been forgotten with a crash,
		// or was never admitted.
		if s := srv.live.of(w, m.Number); s != nil {
			if m.Late && s.counted {
				srv.unuse(s, imsg.RateConnections, 1)
			}
			srv.spend(s, m.Passed)
			srv.untraced(s, !m.Late)
			srv.closed(s, "")
			srv.live.remove(s)
		}
	case *imsg.Events:
		srv.told(w, m)
	case *imsg.Counts:
		srv.counters.Add(m.Add, srv.env.now())
		srv.counters.AddLists(m.Lists, srv.config.Depends.Zones)
	case *imsg.Observed:
		srv.observed(m)
	case *imsg.Offence:
		if s := srv.judgedOf(w, r, m.Number); s != nil {
			srv.offend(s, m, nil, func(kind imsg.Errno) { link.ReplyTo(r, m).Answer(&imsg.Done{Errno: kind}) })
		}
	}
}

// judgedOf returns w's session of this number. Of one it has not heard the
// admission of it cannot speak: r fails then.
func (srv *server) judgedOf(w *worker, r link.Request, number uint64) *session {
	s := srv.live.of(w, number)
	if s == nil || s.judging != nil {
		r.Fail(imsg.NotFound)
		return nil
	}
	return s
}

// announce takes up sessions that were admitted by a lockd before us.
func (srv *server) announce(w *worker, m *imsg.Announce) {
	if w.last {
		srv.dropWorker(w, "announces sessions twice")
		return
	}
	for i := range m.Sessions {
		l := &m.Sessions[i]
		free := srv.live.sessions.Of(l.Number) == nil
		if s := srv.severed.take(w, l.Number); s != nil && free {
			srv.live.add(s)
			if s.lockedMeanwhile && w.conn.Send(&imsg.Locked{Numbers: []uint64{s.number}}) == imsg.Busy ||
				s.killed && w.conn.Send(&imsg.MustEnd{Number: s.number}) == imsg.Busy {
				srv.dropWorker(w, "does not take what it is told")
				return
			}
			continue
		}
		// A number that no lockd before us gave out, or that is taken, would let a
		// worker speak of sessions that are not its own.
		if !free || srv.severed.has(l.Number) || !srv.counters.GivenBefore(l.Number) || !l.Client.IsValid() || w.sessions >= srv.config.MaxConnections {
			if !w.doubted { // it may announce as many as it likes
				w.doubted = true
				srv.log.Warn("announced session is not taken up", "number", l.Number, "member", w.member)
			}
			continue
		}
		srv.live.add(&session{
			opened: true, number: l.Number, worker: w, started: l.Started,
			client: locks.Plain(l.Client), local: locks.Plain(l.Local), target: locks.Plain(l.Target), ident: l.Ident, login: l.Login, barred: l.Barred,
			identKnown: !srv.config.Mode.Remote() || l.State > imsg.StateIdent,
			check:      l.Check,
			unlooked:   !l.Target.IsValid(), // the lockd before may have left that for Ident
		})
	}
	srv.counters.Peak(srv.live.sessions.Len())
	if m.Last {
		w.announced, w.last = true, true
		srv.dropSevered(w.member)
		srv.settle()
	}
}

// overdue ends the wait for a worker that does not announce.
func (srv *server) overdue(w *worker) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if w.gone || w.announced && srv.barrier.settled {
		return
	}
	if !w.announced {
		srv.log.Warn("worker did not announce its sessions in time", "member", w.member)
	}
	w.announced, srv.barrier.started = true, true
	srv.settle()
}

// settle lets in who waits, as far as all is known that admission needs.
func (srv *server) settle() {
	for _, h := range srv.barrier.release(srv.workers) {
		h.judge()
	}
}

// lost follows up on the end of a link.
func (srv *server) lost(w *worker) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if !w.gone {
		srv.forget(w)
	}
}

// dropEnded cuts the links of workers that are no more: what such a one has left behind
// may hold its end open. Its last words are heard. The parent tells of a worker before it
// hands over its link. mu is held.
func (srv *server) dropEnded() {
	lives := func(member int) bool {
		return slices.ContainsFunc(srv.family.Rooms, func(m imsg.Member) bool { return m.Room == imsg.Session && m.Member == member })
	}
	for member := range srv.severed {
		if !lives(member) {
			srv.dropSevered(member)
		}
	}
	for w := range srv.workers {
		if !w.ended && !lives(w.member) {
			w.ended = true
			time.AfterFunc(lastWords, func() {
				w.conn.Close()
				srv.lost(w)
			})
		}
	}
}

// forget does without a worker, and its sessions with it; mu is held.
func (srv *server) forget(w *worker) {
	w.gone = true
	delete(srv.workers, w)
	srv.barrier.drop(w)
	if w.ended {
		for s := range srv.live.sessions.All() {
			if s.worker == w {
				srv.closed(s, withRoom)
			}
		}
	} else {
		srv.severed.add(w, srv.live.sessions.All())
	}
	for s := range srv.live.sessions.All() {
		if s.worker == w && s.judging != nil {
			srv.untraced(s, false)
		}
	}
	srv.live.removeAll(w)
	srv.settle()
	srv.leave()
}

// dropSevered does without what a worker has not announced.
func (srv *server) dropSevered(member int) {
	for _, s := range srv.severed.drop(member) {
		srv.closed(s, withRoom)
	}
}

// dropWorker ends the link to a worker that said what makes no sense, or that does
// not take what it is told; the parent hands over another one, or ends who is at odds.
func (srv *server) dropWorker(w *worker, why string) {
	srv.log.Error("link closed", "peer", imsg.Session, "member", w.member, "reason", why)
	srv.parent.Send(&imsg.BadPeer{Room: imsg.Session, Member: w.member})
	w.conn.Close()
}
