// What the operator's side sees of the room. This file owns that nothing a lock guards
// leaves the lock: it hands out copies.

package lockd

import (
	"net/netip"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/control"
	"github.com/smtp-gated/smtp-gated/lockd/findings"
)

// view is what lockd/control may do with a server.
type view struct{ *server }

// Overview implements control.House.
func (srv view) Overview() control.Overview {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	health, all := findings.Judge(srv.board.List(), &srv.config)
	return control.Overview{
		Config: srv.config, Family: srv.family, Live: srv.live.sessions.Len(), Load: srv.load,
		Health: health, Findings: all, Certificates: srv.certificates.all, Traces: srv.tracing.status(),
	}
}

// LiveAfter implements control.House.
func (srv view) LiveAfter(after uint64, n int) []control.Session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	var list []control.Session
	for number, s := range srv.live.sessions.Above(after) {
		if len(list) == n {
			break
		}
		list = append(list, control.Session{LiveSession: imsg.LiveSession{
			Number: number, Started: s.started, Client: s.client, Local: s.local, Target: s.target, Ident: s.ident, Login: s.login, Check: s.check,
		}, Worker: s.worker.conn})
	}
	return list
}

// Workers implements control.House.
func (srv view) Workers() (links []*link.Conn) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for w := range srv.workers {
		links = append(links, w.conn)
	}
	return links
}

// Newest implements control.House.
func (srv view) Newest() *link.Conn {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	var newest *worker
	generation := 0
	for w := range srv.workers {
		for _, m := range srv.family.Rooms {
			if m.Room == imsg.Session && m.Member == w.member && m.State == imsg.Running && m.Generation > generation {
				newest, generation = w, m.Generation
			}
		}
	}
	if newest == nil {
		return nil
	}
	return newest.conn
}

// TellLocked implements control.House.
func (srv view) TellLocked(addr netip.Addr, name string) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.tellLocked(nil, addr, name)
}

// EndSession implements control.House. A session whose admission is not decided is not its
// worker's to end yet.
func (srv view) EndSession(number uint64, is func(started int64) bool) imsg.Errno {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	s := srv.live.sessions.Of(number)
	switch {
	case s == nil && srv.severed.has(number): // its worker will announce it
		return imsg.Busy
	case s == nil || !is(s.started):
		return imsg.NotFound
	case s.judging != nil || s.worker.conn.Send(&imsg.MustEnd{Number: number}) != nil:
		return imsg.Busy
	}
	s.killed = true
	return 0
}

// Aside implements control.House.
func (srv view) Aside(turn string, job func()) bool { return srv.fileCalls.begin(turn, job) }
