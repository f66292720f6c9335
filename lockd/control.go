// What the operator asks over the control socket, and its answers. This file
// owns the questions; who may connect, and how many, stands in gate.go. Towards
// the parent an operator can only have asked for a reload or a stop, without
// any path or setting.

package lockd

import (
	"errors"
	"path"
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

const (
	// reloadTime is how long a reload may take until its asker is told so.
	reloadTime = time.Minute
	stopTime   = 10 * time.Second
	// directoryTime is how long a status waits for the number of locks.
	directoryTime = 3 * time.Second
	// lockPage is the largest number of locks in one LockList: as many as fit
	// with the longest names and causes.
	lockPage = 100
)

// answer finds the answer to one question of an operator, and returns what gives it.
// It may take its time: each connection has a goroutine. What looks at files is done
// aside.
func (o *operator) answer(r link.Request) (give func()) {
	k := o.keeper
	switch m := r.Message.(type) {
	case *imsg.Status:
		return found(r, m, func() (*imsg.StatusReport, error) { return k.status(), nil })
	case *imsg.Sessions:
		return found(r, m, func() (*imsg.SessionList, error) { return k.listSessions(m.After), nil })
	case *imsg.Locks:
		return foundAside(k.aside, r, m, directoryTurn, func() (*imsg.LockList, error) { return o.listLocks(m.After) })
	case *imsg.Lock:
		return found(r, m, func() (*imsg.Done, error) { return k.lockByHand(r, m) })
	case *imsg.Unlock:
		return found(r, m, func() (*imsg.Done, error) { return k.unlockByHand(r, m) })
	case *imsg.Rates:
		return foundAside(k.aside, r, m, storeTurn, func() (*imsg.RateList, error) { return k.listRates(m.After) })
	case *imsg.RateShow:
		return foundAside(k.aside, r, m, storeTurn, func() (*imsg.RateRecord, error) { return k.showRate(m.Client) })
	case *imsg.RateSetQuota:
		return foundAside(k.aside, r, m, storeTurn, func() (*imsg.Done, error) { return k.setRate(m), nil })
	case *imsg.RateReset:
		return foundAside(k.aside, r, m, storeTurn, func() (*imsg.Done, error) { return k.resetRate(m), nil })
	case *imsg.ReloadNow:
		return found(r, m, func() (*imsg.Done, error) { return link.Ask(k.parent, &imsg.Reload{}, reloadTime) })
	case *imsg.StopNow:
		return found(r, m, func() (*imsg.Done, error) { return link.Ask(k.parent, &imsg.Stop{Now: m.Now}, stopTime) })
	}
	return func() { r.Fail(imsg.Invalid) }
}

// found has look find the answer to q, which r brought.
func found[A any](r link.Request, q imsg.Question[A], look func() (*A, error)) (give func()) {
	reply := link.ReplyTo(r, q)
	a, err := look()
	if err != nil {
		kind := imsg.Internal
		errors.As(err, &kind)
		return func() { reply.Fail(kind) }
	}
	return func() { reply.Answer(a) }
}

// foundAside is found for what looks at files.
func foundAside[A any](a *aside, r link.Request, q imsg.Question[A], name string, look func() (*A, error)) (give func()) {
	return found(r, q, func() (*A, error) { return wait(a, r, name, look) })
}

func (k *keeper) listSessions(after uint64) *imsg.SessionList {
	roll := k.roll()
	page, more := roll.page(after)
	return &imsg.SessionList{Sessions: page, More: more, Silent: len(roll.silent)}
}

func (k *keeper) status() *imsg.StatusReport {
	// Also of a family whose lock directory does not answer.
	locks := make(chan int, 1)
	k.aside.begin(directoryTurn, func() {
		names, err := k.locks.Names()
		if err != nil {
			k.log.Error("status is incomplete", "error", err)
		}
		locks <- len(names)
	})
	k.roll().refresh()
	count := 0
	select {
	case count = <-locks:
	case <-time.After(directoryTime):
		k.log.Error("status is incomplete: the lock directory does not answer")
	}
	counts := k.counters.Entry().Counts
	k.mu.Lock()
	defer k.mu.Unlock()
	return &imsg.StatusReport{
		Family:   k.family,
		Now:      k.machine.now().UnixNano(),
		Sessions: len(k.live),
		Limit:    k.config.MaxConnections,
		Load:     k.machine.load(),
		Locks:    count,
		Counters: counts[:],
	}
}

// settings is the configuration as it stands now.
func (k *keeper) settings() imsg.LockdConfig {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.config
}

// listLocks returns a page of the locks. The directory is read for the first one:
// its other pages show what was there then, if it still is.
func (o *operator) listLocks(after string) (*imsg.LockList, error) {
	k := o.keeper
	if after == "" || o.names == nil {
		names, err := k.locks.Names()
		if err != nil {
			k.log.Error("locks cannot be listed", "error", err)
			return nil, imsg.Internal
		}
		o.names = names
	}
	names := o.names
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
		info, err := k.locks.Stat(name)
		if info == nil || err != nil {
			continue // removed meanwhile, or no lock at all
		}
		// An expired lock stays listed until its owner connects or it is
		// swept, with the moment it expired: the file is there.
		mark, _ := k.locks.Judge(info, duration)
		e := imsg.LockEntry{Name: name, Cause: k.locks.Cause(name, info), Created: info.ModTime().UnixNano(), Saint: mark == locks.Whitelisted}
		if mark != locks.Whitelisted && duration >= 0 {
			e.Expires = info.ModTime().Add(time.Duration(duration) * time.Second).UnixNano()
		}
		list.Locks = append(list.Locks, e)
	}
	if !list.More {
		o.names = nil
	}
	return list, nil
}

func done(kind imsg.Errno, detail string) *imsg.Done { return &imsg.Done{Errno: kind, Detail: detail} }

// lockByHand locks a client because an operator says so: like an offence, but no
// script runs.
func (k *keeper) lockByHand(r link.Request, m *imsg.Lock) (*imsg.Done, error) {
	client, ok := locks.Parse(m.Name)
	if !ok {
		return done(imsg.Invalid, locks.WhatName), nil
	}
	k.mu.Lock()
	naming, config := k.naming(), k.config
	k.mu.Unlock()
	why, name := naming.WhyNot(client), naming.Today(client).String()
	if why != "" {
		return done(imsg.Invalid, why), nil
	}
	if config.LockDuration == 0 {
		return done(imsg.Invalid, "lock_duration is 0: nothing is locked"), nil
	}
	cause := locks.Printable(m.Cause)
	if cause == "" {
		cause = "by hand"
	}
	return wait(k.aside, r, name, func() (*imsg.Done, error) {
		found, fresh, err := k.locks.Lock(name, cause, config.LockDuration, config.LockPerm, locks.Subject{Addr: client.Addr, Ident: client.Ident})
		if err != nil {
			k.log.Error("client is not locked", "error", err)
		}
		switch {
		case errors.As(err, new(locks.NotALock)):
			return done(imsg.Invalid, err.Error()), nil
		case err != nil:
			return done(imsg.Resource, "the lock file cannot be made: see the log"), nil
		case found == locks.Whitelisted:
			return done(imsg.Denied, "a whitelist mark, a file of user 0, stands in its place"), nil
		case !fresh:
			return done(imsg.Exists, "locked already"), nil
		}
		k.log.Info("LOCK:CREATED (" + path.Join(config.LockPath, name) + "): " + cause)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.tell(nil, client.Addr, name)
		return done(0, ""), nil
	})
}

func (k *keeper) unlockByHand(r link.Request, m *imsg.Unlock) (*imsg.Done, error) {
	client, ok := locks.Parse(m.Name)
	if !ok {
		return done(imsg.Invalid, locks.WhatName), nil
	}
	k.mu.Lock()
	folder := k.config.LockPath
	said, today := client.String(), k.naming().Today(client).String()
	k.mu.Unlock()
	// A file made by hand may name one address of many: it locks nobody, but
	// can be removed.
	d, err := wait(k.aside, r, said, func() (*imsg.Done, error) { return k.locks.Unlock(said, folder), nil })
	if err == nil && d.Errno == imsg.NotFound && today != said {
		return wait(k.aside, r, today, func() (*imsg.Done, error) { return k.locks.Unlock(today, folder), nil })
	}
	return d, err
}
