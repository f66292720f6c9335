// What one client is: an IPv4 address, the network of an IPv6 address, and in the
// remote modes the ident a router gave. This file owns the one name under which
// a client's lock file and its record of rates stand. What a stranger says must
// never become a name unchecked.
//
// An IPv6 client has a whole network to call from, so its name is the network's
// first address: with 64 bits 2001:db8:1:2::25 is locked by 2001:db8:1:2::. Where
// one network holds everybody, an address is a client.

package lockd

import (
	"net/netip"
	"strings"
)

// maxIdent is the largest number of octets of an ident that count.
const maxIdent = 64

// plain gives an address the one form under which hosts are counted and lock
// files named: no IPv4 inside IPv6, and no zone, which could hold anything.
func plain(a netip.AddrPort) netip.AddrPort {
	if !a.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

func clip(s string, n int) string { return s[:min(len(s), n)] }

// translated is where all of IPv4 appears in IPv6 (RFC 6052 section 2.1).
var translated = netip.MustParsePrefix("64:ff9b::/96")

// bitsOf is how many leading bits of a client's address make the client. Every
// link has the same network for its own (RFC 4291 section 2.5.6), and everybody on
// it an address there.
func (k *keeper) bitsOf(a netip.Addr) int {
	if a.Is4() || a.IsLinkLocalUnicast() || translated.Contains(a) {
		return a.BitLen()
	}
	return k.config.ClientPrefixIPv6
}

// host returns the address that stands for all of one client's.
func (k *keeper) host(a netip.Addr) netip.Addr {
	network, err := a.Prefix(k.bitsOf(a))
	if err != nil {
		return a
	}
	return network.Addr()
}

// clientName is the name of s's client.
func (k *keeper) clientName(s *session) string {
	name := k.host(s.client.Addr()).String()
	if k.config.Mode.Remote() {
		name += "-" + safeIdent(s.ident)
	}
	return name
}

// safeIdent makes what a router called an ident into a part of a file name.
func safeIdent(ident string) string {
	return strings.Map(func(r rune) rune {
		if safeRune(r) {
			return r
		}
		return '_'
	}, clip(ident, maxIdent))
}

func safeRune(r rune) bool {
	return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' ||
		r == '-' || r == '=' || r == '+' || r == ':' || r == '_'
}

// parseName takes a client's name apart. ok is false for anything that is none.
func parseName(name string) (client netip.Addr, ident string, remote, ok bool) {
	// No address holds a "-".
	addr, ident, remote := strings.Cut(name, "-")
	client, err := netip.ParseAddr(addr)
	if err != nil || client.Zone() != "" || len(ident) > maxIdent || safeIdent(ident) != ident {
		return netip.Addr{}, "", false, false
	}
	return client.Unmap(), ident, remote, true
}

// joinName is the inverse of parseName, in the one form names have.
func joinName(client netip.Addr, ident string, remote bool) string {
	if remote {
		return client.String() + "-" + ident
	}
	return client.String()
}

// whatName is what an operator is told who named no client.
const whatName = `a client's name is an address, or an address, "-" and an ident`

// fits tells an operator why a well-formed name can be no client's in the mode
// of today; empty if it can.
func (k *keeper) fits(withIdent bool) string {
	switch {
	case withIdent == k.config.Mode.Remote():
		return ""
	case withIdent:
		return "idents count only in the modes remote and remote-udp"
	}
	return "in mode " + k.config.Mode.String() + ` a client's name needs an ident: an address, "-" and the ident, which may be empty`
}
