// What the parent opens and hands over, and what a room asks of that. This file
// owns the messages that carry such descriptors.

package imsg

import "net/netip"

// Listener hands over one listening TCP socket.
type Listener struct {
	Address netip.AddrPort
	Name    string // as systemd named it, else empty
	TLS     bool   // clients begin with TLS
}

func (*Listener) notice() {}

// ControlSocket hands a listening socket to lockd, for Control, the operators, or for
// Reader.
type ControlSocket struct{ Role Room }

func (*ControlSocket) notice() {}

// Ledger hands lockd an unlinked file in which counters outlive its crash.
type Ledger struct{}

func (*Ledger) notice() {}

// NatDevice hands lookupd the packet filter's device, opened read-only, in the
// modes that ask it.
type NatDevice struct{}

func (*NatDevice) notice() {}

// RateStore hands lockd the file that keeps the clients' records, open for
// reading and writing. It comes when there are rate limits, and again when the
// file has another name.
type RateStore struct{}

func (*RateStore) notice() {}

// MaxSockets is how many sockets may be asked for at once.
const MaxSockets = 64

// Sockets asks for sockets to reach servers with: 1 to MaxSockets of one address
// family.
type Sockets struct {
	IPv6 bool
	N    int `rule:"1..MaxSockets"`
}

func (*Sockets) notice() {}

// Socket hands over one of them, not bound yet.
type Socket struct{ IPv6 bool }

func (*Socket) notice() {}
