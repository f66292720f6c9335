// The sockets that only the parent can make: a session asks, the parent hands
// them over. This file owns the fields of these messages.

package imsg

// MaxSockets is how many sockets may be asked for at once.
const MaxSockets = 64

// Sockets asks for sockets to reach servers with: 1 to MaxSockets of one address
// family.
type Sockets struct {
	IPv6 bool
	N    int
}

// Socket hands over one of them, not bound yet.
type Socket struct{ IPv6 bool }

// Type implements Message for each of them.
func (*Sockets) Type() Type { return tSockets }
func (*Socket) Type() Type  { return tSocket }
