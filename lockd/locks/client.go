package locks

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns what one client is, and the one name under which its lock file and
// its record of rates stand: an IPv4 address, the network of an IPv6 address, and in
// the remote modes the ident a router gave; or a login, whatever address it comes from.
// What a stranger says must never become a name unchecked.
//
// An IPv6 client has a whole network to call from, so its name is the network's
// first address: with 64 bits 2001:db8:1:2::25 is locked by 2001:db8:1:2::. Where
// one network holds everybody, an address is a client.

// MaxIdent is the largest number of octets of an ident that count.
const MaxIdent = imsg.MaxIdent

// Client is one client, by its name.
type Client struct {
	Addr     netip.Addr // without zone, no IPv4 inside IPv6
	Ident    string
	HasIdent bool   // its name has one, which may be empty
	Login    string // as imsg.Login writes it; then there is nothing else
}

// LoginName is the name of a login.
func LoginName(login string) string { return imsg.OfLogin + login }

// Parse takes a client's name apart. ok is false for anything that is none.
func Parse(name string) (c Client, ok bool) {
	if login, is := strings.CutPrefix(name, imsg.OfLogin); is {
		if !imsg.IsLogin(login) {
			return Client{}, false
		}
		return Client{Login: login}, true
	}
	// No address holds a "-".
	addr, ident, hasIdent := strings.Cut(name, "-")
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" || len(ident) > MaxIdent || SafeIdent(ident) != ident {
		return Client{}, false
	}
	return Client{Addr: a.Unmap(), Ident: ident, HasIdent: hasIdent}, true
}

// Call is a client as an operator calls it: by its name, or as it is shown, by the
// network it is: 2001:db8::/64, or 2001:db8::/64-ident.
type Call struct {
	Client
	Bits int // of the network, -1 if none was named
}

// ParseCall is Parse for what an operator says. Whether a client has a network of that
// length a Naming knows.
func ParseCall(name string) (c Call, ok bool) {
	if login, is := strings.CutPrefix(name, imsg.OfLogin); is {
		c.Bits = -1
		c.Login, ok = imsg.ParseLogin(login)
		return c, ok
	}
	address, ident, found := strings.Cut(name, "-")
	address, length, network := strings.Cut(address, "/")
	c.Bits = -1
	if found {
		address += "-" + ident
	}
	if c.Client, ok = Parse(address); !ok || !network {
		return c, ok
	}
	bits, err := strconv.Atoi(length)
	if err != nil || strconv.Itoa(bits) != length {
		return Call{}, false
	}
	c.Bits = bits
	p, err := c.Addr.Prefix(bits)
	return c, err == nil && p.Addr() == c.Addr
}

// String is the inverse of ParseCall, in the one form there is.
func (c Call) String() string {
	if c.Bits < 0 {
		return c.Client.String()
	}
	name := netip.PrefixFrom(c.Addr, c.Bits).String()
	if c.HasIdent {
		name += "-" + c.Ident
	}
	return name
}

// String is the inverse of Parse, in the one form names have.
func (c Client) String() string {
	if c.Login != "" {
		return LoginName(c.Login)
	}
	if c.HasIdent {
		return c.Addr.String() + "-" + c.Ident
	}
	return c.Addr.String()
}

// SafeIdent makes what a router called an ident into a part of a file name.
func SafeIdent(ident string) string {
	return strings.Map(func(r rune) rune {
		if safeRune(r) {
			return r
		}
		return '_'
	}, ident[:min(len(ident), MaxIdent)])
}

func safeRune(r rune) bool {
	return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' ||
		r == '-' || r == '=' || r == '+' || r == ':' || r == '_'
}

// Naming is what makes one client of addresses and idents.
type Naming struct {
	Mode       imsg.Mode
	PrefixIPv6 int // leading bits of an IPv6 address that make one client
}

// translated is where all of IPv4 appears in IPv6 (RFC 6052 section 2.1).
var translated = netip.MustParsePrefix("64:ff9b::/96")

// linkLocal is the network that every link has for its own.
var linkLocal = netip.MustParsePrefix("fe80::/10")

// Bits is how many leading bits of a client's address make the client. Every link has
// the same network for its own (RFC 4291 section 2.5.6), and everybody on it an
// address there.
func (n Naming) Bits(a netip.Addr) int {
	if a.Is4() || a.IsLinkLocalUnicast() || translated.Contains(a) {
		return a.BitLen()
	}
	return n.PrefixIPv6
}

// Host returns the address that stands for all of one client's. It has no zone, which
// could hold anything, and no IPv4 inside IPv6.
func (n Naming) Host(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	network, err := a.Prefix(n.Bits(a))
	if err != nil {
		return a
	}
	return network.Addr()
}

// Plain gives an address the one form under which hosts are counted and lock files
// named: no IPv4 inside IPv6, and no zone, which could hold anything.
func Plain(a netip.AddrPort) netip.AddrPort {
	if !a.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// Name is the name of the client at a, whom a router calls ident.
func (n Naming) Name(a netip.Addr, ident string) string {
	return Client{Addr: n.Host(a), Ident: SafeIdent(ident), HasIdent: n.Mode.Remote()}.String()
}

// Network is all the addresses of c, if these alone are what makes the client, today: a
// packet filter that blocks it blocks nobody else.
func (n Naming) Network(c Client) (network netip.Prefix, ok bool) {
	if c.HasIdent || c.Login != "" || n.WhyNot(Call{c, -1}) != nil || n.Today(c) != c {
		return netip.Prefix{}, false
	}
	network = netip.PrefixFrom(c.Addr, n.Bits(c.Addr))
	// One as wide as that holds those where each address is a client.
	return network, network.Bits() >= linkLocal.Bits() || !network.Overlaps(linkLocal)
}

// Today returns the client that c's address belongs to today: a name may come from
// another prefix.
func (n Naming) Today(c Client) Client {
	if c.Login != "" {
		return c
	}
	c.Addr = n.Host(c.Addr)
	return c
}

// Shown is the length of the network that a client's name stands for. A name of yesterday
// may be that of no network of today: it is one address. A login has none.
func (n Naming) Shown(c Client) int {
	if c.Login != "" {
		return 0
	}
	if n.Host(c.Addr) == c.Addr {
		return n.Bits(c.Addr)
	}
	return c.Addr.BitLen()
}

// Called is the client that an operator has called so. The error is for its eyes.
func (n Naming) Called(name string) (Call, error) {
	c, ok := ParseCall(name)
	if !ok {
		return c, errors.New(`a client's name is an address or its network, or one of these, "-" and an ident, or "login=" and a login`)
	}
	if c.Bits >= 0 && c.Bits != n.Shown(c.Client) {
		return c, n.wrongLength(c)
	}
	return c, nil
}

func (n Naming) wrongLength(c Call) error {
	if bits := n.Bits(c.Addr); bits < c.Addr.BitLen() {
		return fmt.Errorf("%s is no client: here each has a network of %d bits ({client_prefix_ipv6})", c, bits)
	}
	return fmt.Errorf("%s is no client: there each address is one, of %d bits", c, c.Addr.BitLen())
}

// WhyNot tells why a client can be none in the mode and with the networks of today.
func (n Naming) WhyNot(c Call) error {
	switch {
	case c.Login != "":
		return nil
	case c.Bits >= 0 && c.Bits != n.Bits(c.Addr):
		return n.wrongLength(c)
	case c.HasIdent == n.Mode.Remote():
		return nil
	case c.HasIdent:
		return errors.New("idents count only in the modes remote and remote-udp")
	}
	return errors.New("in mode " + n.Mode.String() + ` a client's name needs an ident: an address, "-" and the ident, which may be empty`)
}
