package exemptions

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns whom an exemption may be for, and the one form that each of them has.

// Who is whom an exemption is for: clients, whoever calls a server, or whoever has logged
// in under a name.
type Who struct {
	net    netip.Prefix // of a server its address
	server bool
	login  string // as imsg.Login writes it; then there is no address
}

// toServer begins who is a server.
const toServer = "server="

// Parse reads an address, a network, server=ADDRESS or login=LOGIN. A network becomes that of all its
// addresses, IPv4 inside IPv6 plain, and a zone is left out.
func Parse(text string) (Who, error) {
	if name, is := strings.CutPrefix(text, imsg.OfLogin); is {
		login, ok := imsg.ParseLogin(name)
		if !ok {
			return Who{}, fmt.Errorf("%q names no login", text)
		}
		return Who{login: login}, nil
	}
	rest, server := strings.CutPrefix(text, toServer)
	a, err := netip.ParseAddr(rest)
	if err == nil && !strings.Contains(a.Zone(), "/") {
		a = plain(a)
		return Who{net: netip.PrefixFrom(a, a.BitLen()), server: server}, nil
	}
	n, err := netip.ParsePrefix(rest)
	switch {
	case err == nil && server:
		return Who{}, fmt.Errorf("%q names no server: it is one address", text)
	case err != nil:
		return Who{}, fmt.Errorf("%q is neither an address nor a network, nor server= and an address, nor login= and a login", text)
	}
	if a, bits := n.Addr(), n.Bits(); a.Is4In6() && bits >= inIPv6 {
		n = netip.PrefixFrom(a.Unmap(), bits-inIPv6)
	}
	return Who{net: n.Masked()}, nil
}

// inIPv6 is how many bits come before an IPv4 address in IPv6.
const inIPv6 = 96

// String is the inverse of Parse.
func (w Who) String() string {
	if w.login != "" {
		return imsg.OfLogin + w.login
	}
	name := w.net.String()
	if w.net.IsSingleIP() {
		name = w.net.Addr().String()
	}
	if w.server {
		return toServer + name
	}
	return name
}

// Wide tells whether so many are meant that it may be a mistake: more than a hundredth of
// all IPv4 addresses, or what any one provider has of IPv6.
func (w Who) Wide() bool {
	if w.login != "" {
		return false
	}
	if w.net.Addr().Is4() {
		return w.net.Bits() <= 7
	}
	return w.net.Bits() <= 18
}

// plain is an address as sessions are known by: no IPv4 inside IPv6, and no zone.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
