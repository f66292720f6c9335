// What ends top, and what cannot stop it. This file owns which signals those are: what they
// do stands in top.go.

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// endings are the signals that end a program in Go, whoever sends them; others, as SIGUSR1,
// do nothing to it. A fault of ours is a panic whatever is asked for here.
var endings = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE,
	unix.SIGSEGV, unix.SIGSYS, unix.SIGTERM,
}

// endedBy is that a signal has ended us.
type endedBy struct{ unix.Signal }

// Error implements error; nobody is shown it.
func (e endedBy) Error() string { return e.String() }

// exitStatus is what a shell says of a program that a signal has ended.
func (e endedBy) exitStatus() int { return 128 + int(e.Signal) }

// orphaned tells whether nobody would have us go on if we were stopped: a process group
// outside which no parent is in our session. So it is where ssh(1) or a container has us for
// its only command.
func orphaned() bool {
	session, err := unix.Getsid(0)
	parent := unix.Getppid()
	if err != nil || parent == 0 { // it is in another namespace
		return true
	}
	if its, err := unix.Getsid(parent); err != nil || its != session {
		return true
	}
	group := unix.Getpgrp()
	if its, err := unix.Getpgid(parent); err != nil || its != group {
		return err != nil
	}
	return group == session // else the parent is a script that a shell has for a job
}
