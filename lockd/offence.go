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
)

// maxOffences bounds what one session can be caught at; the first ends most.
const maxOffences = 64

// maxWord bounds each text of a client's on its way to the script, so that no
// client can say so much that the script is not run.
const maxWord = 1024

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

// offend deals with one offence of s. Zero is success.
func (k *keeper) offend(s *session, m *imsg.Offence) imsg.Kind {
	this := offence{m.Transaction, m.Found}
	for _, o := range s.offences {
		if o == this {
			return 0
		}
	}
	if len(s.offences) == maxOffences {
		return imsg.Busy
	}
	s.offences = append(s.offences, this)

	if k.config.LockOn&m.Found.LockOn() == 0 {
		return 0
	}
	name := k.clientName(s)
	fresh, err := k.lock(name, s, m)
	if err != nil {
		k.log.Error("client is not locked", imsg.SessionKey, s.number, "error", err)
		return imsg.Resource
	}
	if fresh && k.config.ActionScript {
		k.run(name, s, m)
	}
	return 0
}

// lock makes sure that s's client is locked, and tells its other sessions.
// fresh says that it was not before. Without locking every offence is fresh, a
// saint's never.
func (k *keeper) lock(name string, s *session, m *imsg.Offence) (fresh bool, err error) {
	duration := k.config.LockDuration
	switch k.locks.look(name, duration, s) {
	case saint:
		return false, nil
	case unlocked:
		if duration == 0 {
			return true, nil
		}
		cause := m.Virus
		if cause == "" {
			cause = m.Found.String()
		}
		err := k.locks.create(name, cause, k.config.LockPerm)
		switch {
		case err == nil:
			fresh = true
			k.log.Info("LOCK:CREATED ("+path.Join(k.config.LockPath, name)+"): "+printable(cause), imsg.SessionKey, s.number)
		case !errors.Is(err, fs.ErrExist): // else somebody made it by hand just now
			return false, err
		}
	}
	k.tell(s, name)
	return fresh, nil
}

// tell says to the workers that the other sessions of caught's client, whose lock
// has this name, are locked.
func (k *keeper) tell(caught *session, name string) {
	told := make(map[*worker][]uint64)
	for _, s := range k.hosts[k.host(caught.client.Addr())] {
		if s != caught && s.known && k.clientName(s) == name {
			told[s.worker] = append(told[s.worker], s.number)
		}
	}
	for w, numbers := range told {
		for page := range slices.Chunk(numbers, imsg.LockedPage) {
			if err := w.conn.Send(&imsg.Locked{Numbers: page}); err == imsg.Busy {
				// It would let a mail of a locked client pass.
				k.expel(w, "does not take what it is told")
				break
			}
		}
	}
}

// run asks for the script.
func (k *keeper) run(name string, s *session, m *imsg.Offence) {
	r := &imsg.Run{
		Offence:      *m,
		Started:      s.started,
		Client:       s.client,
		Local:        s.local,
		Ident:        s.ident,
		IdentCount:   k.identCount(s),
		LockFile:     path.Join(k.config.LockPath, name),
		LockDuration: k.config.LockDuration,
	}
	r.Target = plain(m.Target)
	if !r.Target.IsValid() {
		r.Target = s.target
	}
	for _, word := range []*string{&r.Virus, &r.Helo, &r.MailFrom, &r.Spool} {
		*word = clip(*word, maxWord)
	}
	k.hand(r)
}
