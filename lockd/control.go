// What the operator asks over the control socket, and its answers. This file
// owns the questions; who may connect, and how many, stands in gate.go. Towards
// the parent an operator can only have asked for a reload or a stop, without
// any path or setting.

package lockd

import (
	"errors"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	// reloadTime is how long a reload may take until its asker is told so.
	reloadTime = time.Minute
	stopTime   = 10 * time.Second
	// lockPage is the largest number of locks in one LockList: as many as fit
	// with the longest names and causes.
	lockPage = 100
)

// answer finds the answer to one question of an operator. It may take its time:
// each connection has a goroutine.
func (k *keeper) answer(m imsg.Message) imsg.Message {
	switch m := m.(type) {
	case *imsg.Status:
		return k.status()
	case *imsg.Sessions:
		roll := k.roll()
		page, more := roll.page(m.After)
		return &imsg.SessionList{Sessions: page, More: more, Silent: len(roll.silent)}
	case *imsg.Locks:
		return k.listLocks(m.After)
	case *imsg.Lock:
		return k.lockByHand(m)
	case *imsg.Unlock:
		return k.unlockByHand(m)
	case *imsg.Rates:
		return k.listRates(m.After)
	case *imsg.RateShow:
		return k.showRate(m.Client)
	case *imsg.RateSetQuota:
		return k.setRate(m)
	case *imsg.RateReset:
		return k.resetRate(m)
	case *imsg.ReloadNow:
		return k.askParent(&imsg.Reload{}, reloadTime)
	case *imsg.StopNow:
		return k.askParent(&imsg.Stop{Now: m.Now}, stopTime)
	}
	return &imsg.Failure{Kind: imsg.Invalid}
}

func (k *keeper) askParent(m imsg.Message, timeout time.Duration) imsg.Message {
	answer, err := k.home.Call(m, timeout)
	if err != nil {
		return failure(err)
	}
	return answer
}

func failure(err error) *imsg.Failure {
	kind := imsg.Internal
	errors.As(err, &kind)
	return &imsg.Failure{Kind: kind}
}

func (k *keeper) status() imsg.Message {
	names, err := k.locks.names()
	if err != nil {
		k.log.Error("status is incomplete", "error", err)
	}
	k.roll().refresh()
	k.mu.Lock()
	defer k.mu.Unlock()
	return &imsg.StatusReport{
		Family:   k.family,
		Now:      k.machine.now().UnixNano(),
		Sessions: len(k.live),
		Limit:    k.config.MaxConnections,
		Load:     k.machine.load(),
		Locks:    len(names),
		Counters: slices.Clone(k.counters.Counts[:]),
	}
}

// settings is the configuration as it stands now.
func (k *keeper) settings() imsg.LockdConfig {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.config
}

func (k *keeper) listLocks(after string) imsg.Message {
	names, err := k.locks.names()
	if err != nil {
		k.log.Error("locks cannot be listed", "error", err)
		return &imsg.Failure{Kind: imsg.Internal}
	}
	duration := k.settings().LockDuration
	list := new(imsg.LockList)
	from, found := slices.BinarySearch(names, after)
	if found {
		from++
	}
	for _, name := range names[from:] {
		if len(list.Locks) == lockPage {
			list.More = true
			break
		}
		info, err := k.locks.stat(name)
		if info == nil || err != nil {
			continue // removed meanwhile, or no lock at all
		}
		// An expired lock stays listed until its owner connects or it is
		// swept, with the moment it expired: the file is there.
		mark, _ := k.locks.judge(info, duration)
		e := imsg.LockEntry{Name: name, Cause: k.locks.cause(name, info), Created: info.ModTime().UnixNano(), Saint: mark == saint}
		if mark != saint && duration >= 0 {
			e.Expires = info.ModTime().Add(time.Duration(duration) * time.Second).UnixNano()
		}
		list.Locks = append(list.Locks, e)
	}
	return list
}

func done(kind imsg.Kind, detail string) *imsg.Done { return &imsg.Done{Kind: kind, Detail: detail} }

// lockByHand locks a client because an operator says so: like an offence, but no
// script runs.
func (k *keeper) lockByHand(m *imsg.Lock) imsg.Message {
	k.mu.Lock()
	defer k.mu.Unlock()
	client, ident, withIdent, ok := parseName(m.Name)
	if !ok {
		return done(imsg.Invalid, whatName)
	}
	if why := k.fits(withIdent); why != "" {
		return done(imsg.Invalid, why)
	}
	if k.config.LockDuration == 0 {
		return done(imsg.Invalid, "lock_duration is 0: nothing is locked")
	}
	s := &session{client: netip.AddrPortFrom(client, 0), ident: ident}
	name := k.clientName(s)
	switch k.locks.look(name, k.config.LockDuration, s) {
	case saint:
		return done(imsg.Denied, "a whitelist mark, a file of user 0, stands in its place")
	case locked:
		return done(imsg.Exists, "locked already")
	}
	cause := printable(m.Cause)
	if cause == "" {
		cause = "by hand"
	}
	if err := k.locks.create(name, cause, k.config.LockPerm); err != nil {
		k.log.Error("client is not locked", "error", err)
		if errors.Is(err, fs.ErrExist) {
			return done(imsg.Exists, "locked already, or something that is no lock stands in its place")
		}
		return done(imsg.Resource, "the lock file cannot be made: see the log")
	}
	k.log.Info("LOCK:CREATED (" + path.Join(k.config.LockPath, name) + "): " + cause)
	k.tell(s, name)
	return done(0, "")
}

func (k *keeper) unlockByHand(m *imsg.Unlock) imsg.Message {
	client, ident, withIdent, ok := parseName(m.Name)
	if !ok {
		return done(imsg.Invalid, whatName)
	}
	// A file made by hand may name one address of many: it locks nobody, but
	// can be removed.
	name := joinName(client, ident, withIdent)
	info, err := k.locks.stat(name)
	if info == nil && err == nil {
		k.mu.Lock()
		name = joinName(k.host(client), ident, withIdent)
		k.mu.Unlock()
		info, err = k.locks.stat(name)
	}
	switch {
	case err != nil:
		k.log.Error("lock is not removed", "error", err)
		return done(imsg.Invalid, "what stands there is no lock: see the log")
	case info == nil:
		return done(imsg.NotFound, "not locked")
	case k.locks.isSaint(info):
		return done(imsg.Denied, "a whitelist mark, a file of user 0, is never removed by us")
	}
	if err := k.locks.dir.Remove(name); err != nil {
		k.log.Error("lock is not removed", "error", err)
		return done(imsg.Resource, "the lock file cannot be removed: see the log")
	}
	k.log.Info("LOCK:REMOVED ("+path.Join(k.settings().LockPath, name)+")", "src", client, "ident", ident)
	return done(0, "")
}
