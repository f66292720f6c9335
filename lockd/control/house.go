package control

import (
	"net/netip"
	"os"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// House is what the operator's side sees of the room and of its live table. What it
// returns is the caller's own. No call waits for a file or a link.
type House interface {
	// Overview is how things stand now.
	Overview() Overview
	// LiveAfter returns the first live sessions with a number above after, at most n,
	// in their order.
	LiveAfter(after uint64, n int) []Session
	// Workers are the links to the session rooms.
	Workers() []*link.Conn
	// Newest is the link to a session room of the configuration in force; nil: there is
	// none at the moment.
	Newest() *link.Conn
	// TellLocked has the workers told that the sessions of the client at addr, whose
	// lock has this name, are locked.
	TellLocked(addr netip.Addr, name string)
	// EndSession has the worker of a live session told that it must end, if is knows it by
	// its start. NotFound: there is none. Busy: its worker cannot be told now.
	EndSession(number uint64, is func(started int64) bool) imsg.Errno
	// Trace has the next sessions of a client traced into a file, as a user has ordered. It
	// takes the file over.
	Trace(m *imsg.Trace, uid int, f *os.File) *imsg.Done
	// Aside has job run, where it may wait for a disk, behind all that was begun for
	// the same turn before: a client's name, or one of the turns below. It is false if
	// too much waits already.
	Aside(turn string, job func()) bool
}

// The turns of what belongs to no client.
const (
	DirectoryTurn = "."
	StoreTurn     = "store"
	ExemptTurn    = "exempt"
)

// Overview is how things stand at one moment.
type Overview struct {
	Config imsg.LockdConfig
	Family imsg.Family
	Live   int     // sessions
	Load   float64 // average of the last minute, 0 if the system tells none

	Health   imsg.Health
	Findings []imsg.StatusFinding // the worst first

	Certificates []imsg.CertificateStatus
	Traces       []imsg.TraceStatus
}

// Session is a live session as the live table knows it, and the link to its worker,
// which knows what it is doing.
type Session struct {
	imsg.LiveSession
	Worker *link.Conn
}
