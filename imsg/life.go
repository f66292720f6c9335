// The life of a room: its birth, what it is told meanwhile, its end. This file owns
// the messages between the parent and any room.

package imsg

import (
	"net/netip"
	"time"
)

// Hello is a room's first message to the parent, sent from inside its sandbox.
type Hello struct {
	Room        Room
	PID         int    `rule:"1.."`
	Fingerprint uint64 `rule:"any: compared with the parent's own"`
}

func (*Hello) notice() {}

// SinkKind says what stands behind a Sink's descriptor.
type SinkKind uint8

// The kinds of log sink.
const (
	SinkStream       SinkKind = iota + 1 // stderr or a file: one line a record, with its time
	SinkSyslog                           // a connected /dev/log datagram socket: RFC 3164
	SinkJournal                          // a connected journal socket: native protocol
	SinkSyslogStream                     // a connected /dev/log stream socket: RFC 3164, NUL ended
)

// Sink hands over where the log goes, with its descriptor. It may come at any
// time; the last one counts.
type Sink struct {
	Kind     SinkKind
	Level    int // slog level below which records are dropped
	Facility int // syslog facility code (RFC 3164 section 4.1.1), not shifted
	JSON     bool
	Root     string // where the room's root lies in the administrator's tree, for file names in its log; empty: unknown
}

func (*Sink) notice() {}

// Peer hands over one end of a link to another room, with its descriptor.
type Peer struct {
	Room   Room
	Member int // which of several, counted over the family's life
}

func (*Peer) notice() {}

// Ready says that a room has read its configuration and closed its last door.
type Ready struct{}

func (*Ready) notice() {}

// Start lifts the barrier: every room is ready, work begins.
type Start struct{}

func (*Start) notice() {}

// Drain asks a room to take no new work and to end when the last is done. lockd, from
// which another takes over then, ends with its last link to a worker. It may come once
// more, with End.
type Drain struct {
	// Closing are the listeners that nobody will serve any more: a worker says so
	// to who waits there.
	Closing []netip.AddrPort
	// End has a worker end its sessions, too, but for messages under way.
	End bool
}

func (*Drain) notice() {}

// Drained answers a worker's first Drain: it accepts nobody any more, and whom it
// has accepted is judged.
type Drained struct{}

func (*Drained) notice() {}

// Ping asks a room whether it still does its work. imsg/process answers it.
type Ping struct{}

func (*Ping) answer(*Pong) {}

// Pong says that it does.
type Pong struct {
	Goroutines uint32 `rule:"any: it is only shown"` // that the room has
	LinesLost  uint64 `rule:"..MaxReport"`           // of its log, ever; more are not counted
}

// Load tells lockd the load average of the last minute: before each configuration, and as
// often as it is pinged. In FreeBSD's capability mode a room could not ask for it.
type Load struct {
	Average float64 `rule:"0..1e6"`
}

func (*Load) notice() {}

// LinkFault says why a link has failed.
type LinkFault uint8

// The faults of a link.
const (
	Unsayable LinkFault = iota // the peer has said what it may not
	Shortage                   // the system has let this end down: it lacks a descriptor, or memory
	linkFaults
)

// Shortages is how often a room reports one, of whatever peer. The parent may find some at
// once.
var Shortages = Pace{Burst: 32, Every: 250 * time.Millisecond}

// BadPeer reports a link that has failed: the two get another.
type BadPeer struct {
	Room   Room
	Member int `rule:"0.."`
	Fault  LinkFault
}

func (*BadPeer) notice() {}
