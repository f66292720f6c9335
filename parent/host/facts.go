// What a process behind a chroot cannot find out: the machine's addresses, the
// system's name servers.

package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// maxNameservers is what resolv.conf(5) calls MAXNS.
const maxNameservers = 3

// maxResolv bounds what is read of resolv.conf, in octets.
const maxResolv = 64 << 10

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

// Nameservers reads resolv.conf(5), all but search and options, and no more of it than
// a sane one holds. A file that is not there names none, and neither does a pipe: it is
// often a link to what a resolver's user has made.
func Nameservers(path string) []netip.AddrPort {
	f, err := openRegular(path, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxResolv)) // what was read counts
	if len(text) == maxResolv {
		text = text[:bytes.LastIndexByte(text, '\n')+1] // half an address is another one
	}
	return nameservers(text)
}

func nameservers(text []byte) (all []netip.AddrPort) {
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		if len(words) < 2 || string(words[0]) != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(string(words[1]))
		if err != nil || len(a.Zone()) > imsg.MaxZone || imsg.Printable(a.Zone(), imsg.MaxZone) != a.Zone() {
			continue
		}
		if all = append(all, netip.AddrPortFrom(a, 53)); len(all) == maxNameservers {
			break
		}
	}
	return all
}
