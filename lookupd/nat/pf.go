// pf(4): DIOCNATLOOK. This file owns struct pfioc_natlook as each system has it.
// It must never let a direction come from outside: FreeBSD panics on one it does
// not know.

package nat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// layout is where the fields of struct pfioc_natlook stand, in octets. The four
// addresses, of 16 each, come first: saddr, daddr, rsaddr, rdaddr. Ports are in
// network order. There is no pointer in it: it is the same for all sizes of word.
type layout struct {
	request     uint32
	size        int
	ports       int // sport, dport, rsport, rdport
	af          int // af, proto, direction: one octet each
	inet, inet6 byte
	missing     string // what to do when no state is found
}

var (
	// sys/net/pfvar.h 1.543. Before the ports stand two routing domains, which
	// stay zero: the default one.
	openBSD = layout{
		request: 0xC0504417, size: 80, ports: 68, af: 76, inet: 2, inet6: 24,
		// The kernel compares a hash first that this call leaves unset.
		missing: "; newer OpenBSD cannot answer this: use divert-to, and mode getsockname",
	}
	// sys/netpfil/pf, 12 to 16; DragonFly's is the same.
	freeBSD = layout{request: 0xC04C4417, size: 76, ports: 64, af: 72, inet: 2, inet6: 28}
)

// Directions of pf.h. A redirection on the inside interface is found by the
// connection as the local stack sees it, which is "out"; an address changed on
// the way out is found by what is on the wire, which is "in".
const (
	pfIn  = 1
	pfOut = 2
)

const (
	saddr  = 0
	daddr  = 16
	rsaddr = 32
	rdaddr = 48

	sport  = 0
	dport  = 2
	rsport = 4
	rdport = 6

	ipprotoTCP = 6
)

// PF returns the server that client called before the connection was redirected to
// local, its true local address. Errors: ErrNotFound, ErrFamily, the system's.
func PF(k Kernel, client, local netip.AddrPort) (netip.AddrPort, error) {
	return native.target(k, client, local)
}

// PFSource returns who is behind client, an address of this router's that it put
// in the place of the caller's on the way to server. Errors as of PF.
func PFSource(k Kernel, client, server netip.AddrPort) (netip.AddrPort, error) {
	return native.source(k, client, server)
}

func (l *layout) target(k Kernel, client, local netip.AddrPort) (netip.AddrPort, error) {
	client, local, b, err := l.look(k, client, local, pfOut)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return sane(l.end(b, rdaddr, rdport, client), local)
}

func (l *layout) source(k Kernel, client, server netip.AddrPort) (netip.AddrPort, error) {
	client, _, b, err := l.look(k, client, server, pfIn)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return sane(l.end(b, rsaddr, rsport, client), client)
}

func (l *layout) look(k Kernel, client, local netip.AddrPort, direction byte) (c, o netip.AddrPort, b []byte, err error) {
	if c, o, err = pair(client, local); err != nil {
		return c, o, nil, err
	}
	b = l.question(c, o, direction)
	switch err = k(Call{Request: l.request, Arg: b}); {
	case errors.Is(err, unix.ENOENT):
		err = fmt.Errorf("pf: %w%s", ErrNotFound, l.missing)
	case err != nil:
		err = fmt.Errorf("pf: look up the translation of %v to %v: %w", c, o, err)
	}
	return c, o, b, err
}

// question makes the structure anew each time: of an answer about IPv4 only four
// octets of an address are written.
func (l *layout) question(client, local netip.AddrPort, direction byte) []byte {
	b := make([]byte, l.size)
	copy(b[saddr:], client.Addr().AsSlice())
	copy(b[daddr:], local.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[l.ports+sport:], client.Port())
	binary.BigEndian.PutUint16(b[l.ports+dport:], local.Port())
	family := l.inet
	if client.Addr().Is6() {
		family = l.inet6
	}
	b[l.af], b[l.af+1], b[l.af+2] = family, ipprotoTCP, direction
	return b
}

func (l *layout) end(b []byte, at, port int, like netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(address(b[at:], like.Addr()), binary.BigEndian.Uint16(b[l.ports+port:]))
}
