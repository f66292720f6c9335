// What a process behind a chroot cannot find out: the machine's addresses, the
// system's name servers.

package host

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
)

// maxNameservers is what resolv.conf(5) calls MAXNS.
const maxNameservers = 3

// maxOwn bounds what a session looks through for each client.
const maxOwn = 4096

// Addresses returns those of this machine's interfaces, IPv4 ones unmapped.
func Addresses() (own []netip.Addr, err error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("learn our addresses: %w", err)
	}
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(ip.IP); ok {
				own = append(own, addr.Unmap())
			}
		}
	}
	slices.SortFunc(own, netip.Addr.Compare)
	own = slices.Compact(own)
	return own[:min(len(own), maxOwn)], nil
}

// HasAddress tells whether a is an address of this machine, by what a socket that
// sends nothing may be bound to.
func HasAddress(a netip.Addr) bool {
	s, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err == nil {
		s.Close()
	}
	return !errors.Is(err, syscall.EADDRNOTAVAIL)
}

// Nameservers reads resolv.conf(5), all but search and options. A file that is not
// there names none.
func Nameservers(path string) []netip.AddrPort {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var all []netip.AddrPort
	for in := bufio.NewScanner(f); in.Scan() && len(all) < maxNameservers; {
		words := strings.Fields(in.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			all = append(all, netip.AddrPortFrom(a, 53))
		}
	}
	return all
}
