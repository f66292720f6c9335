// Kinds of values that are addresses: of hosts, listeners and scanners. This file
// owns how they are written.

package config

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%s is not an IP address", quoted(text))
	}
	return a.Unmap(), nil
}

// parseEndpoint reads ip:port or [v6]:port. If otherwise is not 0 it is the
// port of an address that has none.
func parseEndpoint(text string, least, otherwise uint16) (netip.AddrPort, error) {
	if otherwise != 0 {
		if a, err := parseAddr(text); err == nil {
			return netip.AddrPortFrom(a, otherwise), nil
		}
	}
	e, err := netip.ParseAddrPort(text)
	if err != nil || e.Addr().Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("%s is not an address with a port", quoted(text))
	}
	if e.Port() < least {
		return netip.AddrPort{}, fmt.Errorf("%s has no port", quoted(text))
	}
	return netip.AddrPortFrom(e.Addr().Unmap(), e.Port()), nil
}

// address is an IP address; the invalid one stands for an empty value.
func address() kind[netip.Addr] {
	return kind[netip.Addr]{
		name:    "IP",
		accepts: "an IPv4 or IPv6 address",
		parse: func(text string) (netip.Addr, string, error) {
			a, err := parseAddr(text)
			return a, "", err
		},
		text: func(a netip.Addr) string {
			if !a.IsValid() {
				return ""
			}
			return a.String()
		},
	}
}

// sources are addresses to connect from, at most one of each family.
func sources() kind[[]netip.Addr] {
	return kind[[]netip.Addr]{
		name:        "IP [MULTI]",
		accepts:     "an IPv4 or IPv6 address, or one of each joined by a comma",
		acceptsTOML: "a list of an IPv4 or IPv6 address, or one of each",
		multi:       true,
		parse: func(text string) (all []netip.Addr, _ string, err error) {
			for _, word := range list(text) {
				a, err := parseAddr(word)
				if err != nil {
					return nil, "", err
				}
				for _, other := range all {
					if other.Is4() == a.Is4() {
						return nil, "", fmt.Errorf("%s and %s are of one family", other, a)
					}
				}
				all = append(all, a)
			}
			return all, "", nil
		},
		text: func(all []netip.Addr) string {
			var words []string
			for _, a := range all {
				words = append(words, a.String())
			}
			return strings.Join(words, ",")
		},
	}
}

// endpoints are addresses with ports.
func endpoints(each string, least, otherwise uint16) kind[[]netip.AddrPort] {
	return kind[[]netip.AddrPort]{
		name:        "IP:PORT [MULTI]",
		accepts:     each + ", joined by commas",
		acceptsTOML: "a list of " + each,
		multi:       true,
		parse: func(text string) (all []netip.AddrPort, _ string, err error) {
			for _, word := range list(text) {
				e, err := parseEndpoint(word, least, otherwise)
				if err != nil {
					return nil, "", err
				}
				all = append(all, e)
			}
			return all, "", nil
		},
		text: func(all []netip.AddrPort) string {
			var words []string
			for _, e := range all {
				words = append(words, e.String())
			}
			return strings.Join(words, ",")
		},
	}
}

// socket is where a scanner listens.
func socket() kind[Socket] {
	return kind[Socket]{
		name:    "SOCKET",
		accepts: "the absolute path of a UNIX socket, ip:port or [v6]:port",
		parse: func(text string) (Socket, string, error) {
			if err := sound(text); err != nil {
				return Socket{}, "", err
			}
			if text[0] != '/' {
				e, err := parseEndpoint(text, 1, 0)
				return Socket{Address: e}, "", err
			}
			if strings.HasSuffix(text, "/") {
				return Socket{}, "", fmt.Errorf("%s is no path of a socket", quoted(text))
			}
			return Socket{Path: text}, "", nil
		},
		text: func(s Socket) string {
			if s.Path != "" {
				return s.Path
			}
			return s.Address.String()
		},
	}
}

// networks are prefixes, or addresses for those of one.
func networks() kind[[]netip.Prefix] {
	return listed("NET", "networks, as in 192.0.2.0/24, and addresses", func(word string) (netip.Prefix, error) {
		if n, err := netip.ParsePrefix(word); err == nil && !n.Addr().Is4In6() {
			return n.Masked(), nil
		}
		a, err := parseAddr(word)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%s is no network", quoted(word))
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}, netip.Prefix.String)
}

// listed is any number of values that are written as words.
func listed[T any](name, what string, parse func(word string) (T, error), text func(T) string) kind[[]T] {
	return kind[[]T]{
		name:        name + " [MULTI]",
		accepts:     what + ", joined by commas",
		acceptsTOML: "a list of " + what,
		multi:       true,
		parse: func(text string) (all []T, _ string, err error) {
			for _, word := range list(text) {
				v, err := parse(word)
				if err != nil {
					return nil, "", err
				}
				all = append(all, v)
			}
			return all, "", nil
		},
		text: func(all []T) string {
			var words []string
			for _, v := range all {
				words = append(words, text(v))
			}
			return strings.Join(words, ",")
		},
	}
}

// pins are hashes of keys.
func pins() kind[[]imsg.Pin] {
	return listed("PIN", "base64 of 32 octets each", func(word string) (p imsg.Pin, err error) {
		octets, err := base64.StdEncoding.Strict().DecodeString(word)
		if err != nil || len(octets) != len(p) {
			return p, fmt.Errorf("%s is not the base64 of %d octets", quoted(word), len(p))
		}
		return imsg.Pin(octets), nil
	}, func(p imsg.Pin) string { return base64.StdEncoding.EncodeToString(p[:]) })
}
