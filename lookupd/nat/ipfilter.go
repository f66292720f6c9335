// IPFilter: SIOCGNATL. This file owns struct ipfobj and struct natlookup of
// IPFilter 5 (FreeBSD 13: contrib/ipfilter/netinet/ip_fil.h, ip_nat.h). Unlike
// pf's, this structure holds a pointer to another.

package nat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	ipfRevision  = 5010200
	ipfLookup    = 9 // IPFOBJ_NATLOOKUP
	ipfTCP       = 1 // IPN_TCP
	natlookupLen = 64
)

// ipfObject is where the fields of struct ipfobj stand; it depends on the size of
// a pointer.
type ipfObject struct {
	request uint32
	size    int
	pointer int
	kind    int
}

var (
	ipfObject64 = ipfObject{request: 0xC038723F, size: 56, pointer: 8, kind: 16}
	ipfObject32 = ipfObject{request: 0xC034723F, size: 52, pointer: 8, kind: 12}
)

// Revision and size, of 4 octets each, come first in struct ipfobj.
const (
	ipfObjRevision = 0
	ipfObjSize     = 4
)

// Offsets in struct natlookup. Ports are in network order, other numbers in the
// machine's.
const (
	nlLocal    = 0
	nlClient   = 16
	nlReal     = 32
	nlVersion  = 48 // 4 or 6: IPFilter 5 finds nothing without
	nlFlags    = 52
	nlInPort   = 56
	nlOutPort  = 58
	nlRealPort = 60
)

// IPFilter returns the server that client called before the connection was
// redirected to local, its true local address. Errors: ErrNotFound, ErrFamily,
// the system's.
func IPFilter(k Kernel, client, local netip.AddrPort) (netip.AddrPort, error) {
	object := &ipfObject64
	if strconv.IntSize == 32 {
		object = &ipfObject32
	}
	return object.target(k, client, local)
}

func (o *ipfObject) target(k Kernel, client, local netip.AddrPort) (netip.AddrPort, error) {
	client, local, err := pair(client, local)
	if err != nil {
		return netip.AddrPort{}, err
	}
	inner := natlookup(client, local)
	switch err := k(Call{Request: o.request, Arg: o.encode(), Inner: inner, Pointer: o.pointer}); {
	case errors.Is(err, unix.ESRCH):
		return netip.AddrPort{}, fmt.Errorf("ipfilter: %w", ErrNotFound)
	case err != nil:
		return netip.AddrPort{}, fmt.Errorf("ipfilter: look up the translation of %v to %v: %w", client, local, err)
	}
	found := netip.AddrPortFrom(address(inner[nlReal:], client.Addr()), binary.BigEndian.Uint16(inner[nlRealPort:]))
	return sane(found, local)
}

func (o *ipfObject) encode() []byte {
	b := make([]byte, o.size)
	binary.NativeEndian.PutUint32(b[ipfObjRevision:], ipfRevision)
	binary.NativeEndian.PutUint32(b[ipfObjSize:], natlookupLen)
	binary.NativeEndian.PutUint32(b[o.kind:], ipfLookup)
	return b
}

func natlookup(client, local netip.AddrPort) []byte {
	b := make([]byte, natlookupLen)
	copy(b[nlLocal:], local.Addr().AsSlice())
	copy(b[nlClient:], client.Addr().AsSlice())
	version := uint32(4)
	if client.Addr().Is6() {
		version = 6
	}
	binary.NativeEndian.PutUint32(b[nlVersion:], version)
	binary.NativeEndian.PutUint32(b[nlFlags:], ipfTCP)
	binary.BigEndian.PutUint16(b[nlInPort:], local.Port())
	binary.BigEndian.PutUint16(b[nlOutPort:], client.Port())
	return b
}
