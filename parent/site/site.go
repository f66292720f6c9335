// Package site is a configuration on this machine: who the rooms are, where they
// live, what is opened for them, and what of it will not work here. What rooms there
// are it is told, and asks for none by its name: a folder belongs to whoever lives
// in it. It starts nothing, and knows nothing of what has been started.
//
// This file owns what a site is made of.
package site

import (
	"fmt"
	"os"
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// Site is a configuration on this machine.
type Site struct {
	*config.Config
	Rooms      []Room
	Rooted     bool // the rooms get users and roots of their own
	Foreground bool // log to stderr
	// Filter opens the packet filter's device that a mode asks.
	Filter  func(imsg.Mode) (*os.File, error)
	Log     *Log // where it is said what we do without
	Watched bool // whoever started us may look at a terminal

	Sink *host.Sink              // where the rooms write, from Prepare on
	who  map[imsg.Room]host.User // who the rooms are

	roots []byte // the authorities, from Prepare on

	noSocket noSocket
}

// Room is what has to be known of a room to make it one.
type Room struct {
	Name   imsg.Room
	User   string // the option that names its user
	Groups bool   // keeps its user's supplementary groups
	Root   Root
	Files  func(*Site) uint64        // RLIMIT_NOFILE, 0: as it is
	When   func(*config.Config) bool // there is one, nil: always
}

// Root says what a room's root directory is.
type Root uint8

// The directories there are.
const (
	Spool     Root = iota // spool_path
	Locks                 // lock_path
	Empty                 // a directory with nothing in it
	Scanners              // the smallest directory that holds the scanners' sockets
	WholeTree             // works in spool_path, but sees the whole tree
	Nowhere               // no room's
)

func (r Root) String() string {
	return [...]string{
		Spool:     "spool.path",
		Locks:     "lock.path",
		Empty:     "an empty directory",
		Scanners:  "the scanners' directory",
		WholeTree: "/, works in spool.path",
		Nowhere:   "no room's",
	}[r]
}

// Prepare opens the log, finds out who the rooms are, makes the folders they live in,
// and sees to it that what is opened for them later can be opened. The error names the
// remedy; what is odd, but no error, is logged.
func (s *Site) Prepare() (err error) {
	if s.Sink, err = s.openAnySink(); err != nil {
		return err
	}
	if s.Log.Sink == nil {
		s.Log.Use(s.Sink)
	}
	if err := s.findUsers(); err != nil {
		return err
	}
	if err := s.checkFilter(); err != nil {
		return err
	}
	if s.roots, err = s.readAuthorities(); err != nil {
		return err
	}
	if err := s.checkPairs(); err != nil {
		return err
	}
	if err := s.makeFolders(); err != nil {
		return err
	}
	if err := s.checkRates(); err != nil {
		return err
	}
	s.advise(s.lookAround())
	return nil
}

// advise logs what is odd, and shows it to whoever started us.
func (s *Site) advise(all []config.Warning) {
	s.Log.Warnings(all)
	for _, w := range all {
		if s.Watched {
			fmt.Fprintln(os.Stderr, "smtp-gated: warning:", w)
		}
	}
}

// Has tells whether the configuration calls for a room.
func (s *Site) Has(r Room) bool { return r.When == nil || r.When(s.Config) }

// at returns the room whose root is r, if there is one.
func (s *Site) at(r Root) (Room, bool) {
	i := slices.IndexFunc(s.Rooms, func(room Room) bool { return room.Root == r })
	if i < 0 {
		return Room{}, false
	}
	return s.Rooms[i], true
}

// Root returns the root of a room as the administrator wrote it, empty if it holds
// no file of ours.
func (s *Site) Root(r Room) string {
	switch r.Root {
	case Spool, WholeTree:
		return s.Inside(s.SpoolPath)
	case Locks:
		return s.Inside(s.LockPath)
	}
	return ""
}
