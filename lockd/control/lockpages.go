package control

import (
	"errors"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

// What the operator asks of locks. This file owns the pages of their list; a lock made
// by hand is one like any other.

// listLocks returns a page of the locks. The directory is read for the first one:
// its other pages show what was there then, if it still is.
func (o *operator) listLocks(after string) (*imsg.LockList, error) {
	s := o.service
	if after == "" || o.names == nil {
		names, err := s.Locks.Names()
		if err != nil {
			s.Log.Error("locks cannot be listed", "error", err)
			return nil, imsg.Internal
		}
		o.names, o.guard = names, s.guard()
		s.Refusals.Keep(func(name string) bool {
			_, found := slices.BinarySearch(names, name)
			return found
		})
	}
	names := o.names
	naming, config := s.naming()
	list := new(imsg.LockList)
	from, found := slices.BinarySearch(names, after)
	if found {
		from++
	}
	for _, name := range names[from:] {
		if len(list.Locks) == imsg.LockPage {
			list.More = true
			break
		}
		info, err := s.Locks.Stat(name)
		if info == nil || err != nil {
			continue // removed meanwhile, or no lock at all
		}
		_, entry := s.lockEntry(name, info, naming, config.LockDuration, o.guard)
		list.Locks = append(list.Locks, entry)
	}
	if !list.More {
		o.names, o.guard = nil, nil
	}
	return list, nil
}

// lockEntry is a lock as it is listed. An expired one stays so until its owner connects or
// it is swept, with the moment it expired: the file is there.
func (s *Service) lockEntry(name string, info fs.FileInfo, naming locks.Naming, duration int, g *guard) (locks.Verdict, imsg.LockEntry) {
	v, cause := s.Locks.Show(name, info, duration)
	e := imsg.LockEntry{Name: name, Cause: cause, Created: info.ModTime().UnixNano(), Expires: v.Until, Saint: v.Mark == locks.Whitelisted}
	if !e.Saint {
		e.Refusals = s.Refusals.Of(name)
	}
	client, _ := locks.Parse(name)
	if network, ok := naming.Network(client); ok && client.String() == name {
		e.Bits, e.Protected = network.Bits(), g.protects(network)
	}
	return v, e
}

// lockByHand locks a client because an operator says so: like an offence, but no
// script runs.
func (s *Service) lockByHand(r link.Request, m *imsg.Lock) (*imsg.Done, error) {
	naming, config := s.naming()
	called, err := naming.Called(m.Name)
	if err == nil {
		err = naming.WhyNot(called)
	}
	if err != nil {
		return done(imsg.Invalid, err.Error()), nil
	}
	if called.Login != "" && config.LockBy == imsg.ByAddress {
		return done(imsg.Invalid, "{lock_by} is address: no login is locked"), nil
	}
	client, name := called.Client, naming.Today(called.Client).String()
	if m.For > 0 && m.For < time.Second {
		return done(imsg.Invalid, "a lock lasts a second at least"), nil
	}
	if config.LockDuration == 0 {
		return done(imsg.Invalid, "{lock_duration} is 0: nothing is locked"), nil
	}
	content := locks.Content{Cause: imsg.Printable(m.Cause, locks.MaxCause)}
	if content.Cause == "" {
		content.Cause = "by hand"
	}
	return wait(s.House, r, name, func() (*imsg.Done, error) {
		until := locks.Until(s.Now(), config.LockDuration)
		if m.For > 0 {
			until = s.Now().Add(m.For + time.Second - 1).Truncate(time.Second).UnixNano() // the file has seconds
			content.Until = until
		}
		found, fresh, err := s.Locks.Lock(name, content, config.LockDuration, config.LockPerm, locks.Subject{Addr: client.Addr, Ident: client.Ident, Login: client.Login})
		if err != nil {
			s.Log.Error("client is not locked", "error", err)
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
		s.Refusals.Forget(name)
		s.Counters.Count(imsg.CountLockByHand)
		s.Log.Info("LOCK:CREATED (" + path.Join(config.LockPath, name) + "): " + content.Cause)
		s.Happened(imsg.Event{
			Kind: imsg.EventLock, Client: netip.AddrPortFrom(client.Addr, 0), Ident: client.Ident, Login: client.Login, Detail: name, Text: content.Cause, Until: until,
		})
		s.House.TellLocked(client.Addr, name)
		return done(0, ""), nil
	})
}

func (s *Service) unlockByHand(r link.Request, m *imsg.Unlock) (*imsg.Done, error) {
	naming, config := s.naming()
	called, err := naming.Called(m.Name)
	if err != nil {
		return done(imsg.Invalid, err.Error()), nil
	}
	client, folder := called.Client, config.LockPath
	said, today := client.String(), naming.Today(client).String()
	// A file made by hand may name one address of many: it locks nobody, but
	// can be removed.
	unlock := func(name string) (*imsg.Done, error) {
		return wait(s.House, r, name, func() (*imsg.Done, error) {
			d := s.Locks.Unlock(name, folder)
			if d.Errno == 0 {
				s.Refusals.Forget(name)
				s.Happened(imsg.Event{Kind: imsg.EventUnlock, Client: netip.AddrPortFrom(client.Addr, 0), Ident: client.Ident, Login: client.Login, Detail: name, Text: "by hand"})
			}
			return d, nil
		})
	}
	d, err := unlock(said)
	if err == nil && d.Errno == imsg.NotFound && today != said && called.Bits < 0 {
		return unlock(today)
	}
	return d, err
}
