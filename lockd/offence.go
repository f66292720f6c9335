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
	names := srv.lockedBy(s)
	name := names[0]
	var job func()
	switch {
	case !repeat && len(s.offences) == maxOffences:
		answer(imsg.Busy)
		return
	case lock && late != nil && srv.fileCalls.waiting(name) >= maxUnawaited:
		// A client that is turned away leaves room for others; those before lock it.
	case lock && repeat:
		job = func() { srv.inTurn(names, func(string) {}, func(bool) { answer(0) }) } // behind the first
	case lock:
		job = srv.catch(names, s, m, late, answer)
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

// lockedBy are the names of the locks that s gets, by lock.by.
func (srv *server) lockedBy(s *session) []string {
	by, client := srv.config.LockBy, srv.live.clientName(s)
	switch {
	case by == imsg.ByAddress || s.login == "":
		return []string{client}
	case by == imsg.ByLogin:
		return []string{locks.LoginName(s.login)}
	}
	return []string{locks.LoginName(s.login), client}
}

// isLockedBy tells whether a lock of this name keeps s out.
func (srv *server) isLockedBy(s *session, name string) bool {
	return s.identKnown && srv.live.clientName(s) == name ||
		s.login != "" && srv.config.LockBy != imsg.ByAddress && locks.LoginName(s.login) == name
}

// catch is what is to be done of an offence of s, whose locks have these names: the script
// runs if one of them is new.
func (srv *server) catch(names []string, s *session, m *imsg.Offence, late func() bool, answer func(imsg.Errno)) func() {
	config, about, run := srv.config, s.subject(), srv.script(names[0], s, m)
	found := m.Found
	cause := m.Virus
	if cause == "" {
		cause = m.Found.String()
	}
	event := s.about(imsg.EventLock)
	event.Rule, event.Text, event.Virus = m.Found.Rule(), imsg.Printable(cause, locks.MaxCause), m.Virus
	lock := func(name string) (fresh bool, err error) {
		m, fresh, err := srv.locks.Lock(name, locks.Content{Cause: cause}, config.LockDuration, config.LockPerm, about)
		if fresh && m == locks.Locked {
			srv.refusals.Forget(name)
			srv.counters.Count(imsg.CountLock(found))
			srv.observe(imsg.FindingLock, imsg.ObjectMake, "")
			srv.log.Info("LOCK:CREATED ("+path.Join(config.LockPath, name)+"): "+imsg.Printable(cause, locks.MaxCause), imsg.SessionKey, about.Session)
			e := event
			e.Detail, e.Until = name, locks.Until(srv.env.now(), config.LockDuration)
			srv.happened(e)
		}
		if m == locks.Locked {
			srv.mu.Lock()
			srv.tellLocked(s, about.Addr, name)
			srv.mu.Unlock()
		}
		return fresh, err
	}
	return func() {
		if late != nil && late() {
			return
		}
		anyFresh := false
		var failed error
		fails := func(err error) {
			failed = err
			srv.log.Error("client is not locked", imsg.SessionKey, about.Session, "error", err)
			srv.observe(imsg.FindingLock, imsg.ObjectMake, err.Error())
		}
		srv.inTurn(names, func(name string) {
			fresh, err := lock(name)
			anyFresh = anyFresh || fresh
			if err != nil {
				fails(err)
			}
		}, func(all bool) {
			if !all {
				fails(errors.New("too much waits for the disk"))
			}
			if anyFresh && config.ActionScript {
				srv.runner.dispatch(run)
			}
			if failed == nil {
				answer(0)
				return
			}
			answer(imsg.Resource)
			if errors.Is(failed, fs.ErrNotExist) { // no name below a directory that is there
				srv.parent.End(errReplace)
			}
		})
	}
}

// inTurn does each for every name, and then what follows: for the first, whose turn it is,
// at once, and for the others in the turns that these have. all is false if somebody's turn
// would come too late.
func (srv *server) inTurn(names []string, each func(name string), follows func(all bool)) {
	each(names[0])
	rest := names[1:]
	if len(rest) == 0 {
		follows(true)
	} else if !srv.fileCalls.begin(rest[0], func() { srv.inTurn(rest, each, follows) }) {
		follows(false)
	}
}

// tellLocked says to the workers that the sessions are locked that a lock of this name
// keeps out, which is that of the client at addr or of a login, but for the caught one.
func (srv *server) tellLocked(caught *session, addr netip.Addr, name string) {
	told := make(map[*worker][]uint64)
	locked := func(s *session) bool {
		return s != caught && srv.isLockedBy(s, name) && !srv.exemptions(s).Has(imsg.ExemptLock)
	}
	srv.severed.lock(locked)
	note := func(s *session) {
		if locked(s) {
			told[s.worker] = append(told[s.worker], s.number)
		}
	}
	if c, _ := locks.Parse(name); c.Login != "" {
		for s := range srv.live.logins[c.Login] {
			note(s)
		}
	} else {
		for _, s := range srv.live.sameHost(addr) {
			note(s)
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
		Login:        s.login,
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
