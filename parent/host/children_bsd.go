//go:build !linux

package host

import "golang.org/x/sys/unix"

// AdoptOrphans does nothing: what a child leaves behind is init's. (FreeBSD has
// procctl(2) for it, whose PROC_REAP_KILL does not tell a room's from a script's.)
func AdoptOrphans() error { return nil }

// Children returns none.
func Children() []Child { return nil }

// EndGroup ends what is left of the process group of a child that has ended, but not
// what has left the group.
func EndGroup(leader int) { unix.Kill(-leader, unix.SIGKILL) }
