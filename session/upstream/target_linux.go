package upstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// originalDst asks netfilter where a redirected connection was going
// (linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h: option 80 for
// both). A connection that was not redirected yields its own local address, or
// imsg.NotFound where connections are not tracked.
func originalDst(fd int, six bool) (dst netip.AddrPort, err error) {
	const originalDst = 80
	if six {
		var info *unix.IPv6MTUInfo
		if info, err = unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, originalDst); err == nil {
			// The port stands in network order in a native field.
			var port [2]byte
			binary.NativeEndian.PutUint16(port[:], info.Addr.Port)
			dst = netip.AddrPortFrom(netip.AddrFrom16(info.Addr.Addr), binary.BigEndian.Uint16(port[:]))
		}
	} else {
		var m *unix.IPv6Mreq
		if m, err = unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, originalDst); err == nil {
			// struct sockaddr_in: family, port, address.
			dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(m.Multiaddr[4:8])), binary.BigEndian.Uint16(m.Multiaddr[2:4]))
		}
	}
	if errors.Is(err, unix.ENOENT) {
		return dst, fmt.Errorf("%w: netfilter does not know this connection", imsg.NotFound)
	}
	return dst, os.NewSyscallError("getsockopt", err)
}
