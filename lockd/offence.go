// What follows when a session is caught: a lock, word to the client's other
// sessions, the administrator's script. This file owns that each happens once,
// and that the word goes out before the worker that asked is answered.

package lockd

import (
	"errors"
	"io/fs"
	"net/netip"
	"path"
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

// errReplace ends this lockd so that the parent starts another, with the new directory as
// its root: in the one that was removed nobody is locked.
var errReplace = errors.New("the lock directory has been removed: lockd asks to be replaced")

// maxOffences bounds what one session can be caught at; the first ends most.
const maxOffences = 64

// offence tells one from its repeat after a crash.
type offence struct {
	transaction int
	found       imsg.Found
}

// maxHost is the offence of a host with too many sessions. There is no target
// yet, and nothing is known of the local side but the port.
func maxHost(s *session) *imsg.Offence {
	wildcard := netip.IPv4Unspecified()
	if s.client.Addr().Is6() {
		wildcard = netip.IPv6Unspecified()
	}
	s.local = netip.AddrPortFrom(wildcard, s.local.Port())
	s.target = netip.AddrPort{}
	return &imsg.Offence{Number: s.number, Transaction: 1, Found: imsg.FoundMaxHost}
}

// maxIdents is the offence of a client with too many sessions under one ident.
func maxIdents(s *session) *imsg.Offence {
	return &imsg.Offence{Number: s.number, Transaction: 1, Found: imsg.FoundMaxIdent, Target: s.target}
}

// offend deals with one offence of s, and answers with what came of it; zero is
// success. One with late, for which nobody waits, is dropped when that says so at its
// turn, or when many of its client's wait already.
func (srv *server) offend(s *session, m *imsg.Offence, late func() bool, answer func(imsg.Errno)) {
	this := offence{m.Transaction, m.Found}
	repeat := slices.Contains(s.offences, this)
	lock := srv.config.LockOn&m.Found.LockOn() != 0 && !srv.exemptions(s).Has(imsg.ExemptLock)
	name := srv.live.clientName(s)
	var job func()
	switch {
	case !repeat && len(s.offences) == maxOffences:
		answer(imsg.Busy)
		return
	case lock && late != nil && srv.fileCalls.waiting(name) >= maxUnawaited:
		// A client that is turned away leaves room for others; those before lock it.
	case lock && repeat:
		job = func() { answer(0) } // behind the first
	case lock:
		job = srv.catch(name, s, m, late, answer)
	}
	if !repeat {
		s.offences = append(s.offences, this)
	}
	if job == nil {
		answer(0)
	} else if !srv.fileCalls.begin(name, job) {
		srv.log.Error("client is not locked: too much waits for the disk", imsg.SessionKey, s.number)
		srv.observe(imsg.FindingLock, imsg.ObjectMake, "too much waits for the disk")
		answer(imsg.Busy)
	}
}

// catch is what is to be done of an offence of s, whose lock has this name.
func (srv *server) catch(name string, s *session, m *imsg.Offence, late func() bool, answer func(imsg.Errno)) func() {
	config, about, run := srv.config, s.subject(), srv.script(name, s, m)
	found := m.Found
	cause := m.Virus
	if cause == "" {
		cause = m.Found.String()
	}
	lock := s.about(imsg.EventLock)
	lock.Rule, lock.Detail, lock.Text, lock.Virus = m.Found.Rule(), name, imsg.Printable(cause, locks.MaxCause), m.Virus
	return func() {
		if late != nil && late() {
			return
		}
		m, fresh, err := srv.locks.Lock(name, locks.Content{Cause: cause}, config.LockDuration, config.LockPerm, about)
		if fresh && m == locks.Locked {
			srv.refusals.Forget(name)
			srv.counters.Count(imsg.CountLock(found))
			srv.observe(imsg.FindingLock, imsg.ObjectMake, "")
			srv.log.Info("LOCK:CREATED ("+path.Join(config.LockPath, name)+"): "+imsg.Printable(cause, locks.MaxCause), imsg.SessionKey, about.Session)
			lock.Until = locks.Until(srv.env.now(), config.LockDuration)
			srv.happened(lock)
		}
		if err != nil {
			srv.log.Error("client is not locked", imsg.SessionKey, about.Session, "error", err)
			srv.observe(imsg.FindingLock, imsg.ObjectMake, err.Error())
			answer(imsg.Resource)
			if errors.Is(err, fs.ErrNotExist) { // no name below a directory that is there
				srv.parent.End(errReplace)
			}
			return
		}
		if m == locks.Locked {
			srv.mu.Lock()
			srv.tellLocked(s, about.Addr, name)
			srv.mu.Unlock()
		}
		if fresh && config.ActionScript {
			srv.runner.dispatch(run)
		}
		answer(0)
	}
}

// tellLocked says to the workers that the sessions of the client at addr, whose lock has
// this name, are locked, but for the caught one.
func (srv *server) tellLocked(caught *session, addr netip.Addr, name string) {
	told := make(map[*worker][]uint64)
	locked := func(s *session) bool {
		return s != caught && s.identKnown && srv.live.clientName(s) == name && !srv.exemptions(s).Has(imsg.ExemptLock)
	}
	srv.severed.lock(locked)
	for _, s := range srv.live.sameHost(addr) {
		if locked(s) {
			told[s.worker] = append(told[s.worker], s.number)
		}
	}
	for w, numbers := range told {
		for page := range slices.Chunk(numbers, imsg.LockedPage) {
			if err := w.conn.Send(&imsg.Locked{Numbers: page}); err == imsg.Busy {
				// It would let a mail of a locked client pass.
				srv.dropWorker(w, "does not take what it is told")
				break
			}
		}
	}
}

// script is what the script is told.
func (srv *server) script(name string, s *session, m *imsg.Offence) *imsg.Run {
	r := &imsg.Run{
		Offence:      *m,
		Started:      s.started,
		Client:       s.client,
		Local:        s.local,
		Ident:        s.ident,
		LockFile:     path.Join(srv.config.LockPath, name),
		LockDuration: srv.config.LockDuration,
	}
	if srv.config.Mode.Remote() { // elsewhere there are no idents to count
		r.IdentCount = srv.live.identCount(s)
	}
	r.Target = locks.Plain(m.Target)
	if !r.Target.IsValid() {
		r.Target = s.target
	}
	return r
}
