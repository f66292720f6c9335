// Package nat asks the packet filters of the BSDs what a connection was meant for
// before they translated it. What crosses to the kernel is made and read by pure
// functions, which run and are tested everywhere; the call itself is a Kernel.
//
// The layouts were taken from the systems' headers. No BSD has run this yet.
package nat

import (
	"errors"
	"fmt"
	"net/netip"
)

// Call is one ioctl(2).
type Call struct {
	Request uint32
	Arg     []byte // to the kernel and, if it is content, back
	// Inner, unless it is empty, is memory whose address stands in Arg at octet
	// Pointer. The Kernel puts it there.
	Inner   []byte
	Pointer int
}

// Kernel makes a call on the open device of a packet filter. Its errors are those
// of the system.
type Kernel func(Call) error

// Errors that are wrapped by those of lookups; all others are the system's.
var (
	// ErrNotFound says that the packet filter did not translate the connection.
	ErrNotFound = errors.New("no translation of this connection")
	// ErrFamily says that the addresses are of no or of different families.
	ErrFamily = errors.New("addresses do not belong together")
)

// pair brings both ends of a connection to the form the layouts need.
func pair(client, local netip.AddrPort) (netip.AddrPort, netip.AddrPort, error) {
	c, l := client.Addr().Unmap(), local.Addr().Unmap()
	// The keys of a packet filter have no place for a zone.
	if !c.IsValid() || c.BitLen() != l.BitLen() || c.Zone() != "" || l.Zone() != "" || l.IsUnspecified() || client.Port() == 0 || local.Port() == 0 {
		return client, local, fmt.Errorf("%w: %v and %v", ErrFamily, client, local)
	}
	return netip.AddrPortFrom(c, client.Port()), netip.AddrPortFrom(l, local.Port()), nil
}

// address reads an address of a's family from a field of 16 octets: of one of IPv4
// only the first four mean anything.
func address(field []byte, like netip.Addr) netip.Addr {
	a, _ := netip.AddrFromSlice(field[:like.BitLen()/8])
	return a
}

// sane refuses what leads back to ourselves or nowhere.
func sane(found, local netip.AddrPort) (netip.AddrPort, error) {
	switch {
	case found == local: // the state is there, but nothing was translated
		return netip.AddrPort{}, fmt.Errorf("%w: it was meant for %v", ErrNotFound, local)
	case found.Addr().IsUnspecified() || found.Addr().IsMulticast() || found.Addr().Is4In6() || found.Port() == 0:
		return netip.AddrPort{}, fmt.Errorf("%w: answer is %v", ErrNotFound, found)
	}
	return found, nil
}
