// Kinds of values that are text, names, paths and addresses. This file owns
// what may stand in them: none can end a line, be it of a reply, a header or a log.

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// longest is more than any text here needs; PATH_MAX is as large at most.
const longest = 4096

// sound refuses what would do harm wherever a text may go.
func sound(text string) error {
	if len(text) > longest {
		return fmt.Errorf("is longer than %d octets", longest)
	}
	if !utf8.ValidString(text) {
		return errors.New("is not UTF-8")
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) {
		return errors.New("contains a control character")
	}
	return nil
}

// texts makes a kind of sound strings that pass check as well.
func texts(name, accepts string, check func(string) error) kind[string] {
	return kind[string]{
		name:    name,
		accepts: accepts,
		parse: func(text string) (string, string, error) {
			err := sound(text)
			if err == nil {
				err = check(text)
			}
			return text, "", err
		},
		text: func(v string) string { return v },
	}
}

func anything(string) error { return nil }

func line() kind[string]  { return texts("STRING", "text of one line, in UTF-8", anything) }
func regex() kind[string] { return texts("REGEX", "a Perl-compatible regular expression", anything) }

// message is a text of ours for clients. Old files may be in any 8-bit code,
// and a reply in an unknown one helps nobody.
func message() kind[string] {
	k := line()
	parse := k.parse
	k.parse = func(text string) (string, string, error) {
		if utf8.ValidString(text) {
			return parse(text)
		}
		text, _, err := parse(strings.ToValidUTF8(text, "?"))
		return text, `is not UTF-8, "?" stands for what cannot be read`, err
	}
	return k
}

// headerName is the name of a header field, RFC 5322 section 2.2, but no
// number: nat_header with a number means something else to the old syntax.
func headerName() kind[string] {
	return texts("STRING", "the name of a header field, without colon", func(text string) error {
		if strings.Trim(text, "0123456789") == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
			return fmt.Errorf("%s is no name of a header field", quoted(text))
		}
		return nil
	})
}

func absolute(text string) error {
	if text[0] != '/' {
		return fmt.Errorf("%s is not an absolute path", quoted(text))
	}
	return nil
}

func file() kind[string] { return texts("FILE", "an absolute path", absolute) }
func path() kind[string] { return texts("PATH", "an absolute path", absolute) }

func unused(name string) kind[string] { return texts(name, "anything", anything) }

func account(name string) kind[string] {
	return texts(name, "a name out of the system's data base", func(text string) error {
		if strings.ContainsAny(text, ": \t/,") || text[0] == '-' {
			return fmt.Errorf("%s is no name of a user or group", quoted(text))
		}
		return nil
	})
}

func logTarget() kind[string] {
	return texts("STRING", "auto, stderr, syslog, journal or the absolute path of a file", func(text string) error {
		switch text {
		case "auto", "stderr", "syslog", "journal":
			return nil
		}
		return absolute(text)
	})
}

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

// mostZones bounds the questions one connection can cost.
const mostZones = 32

// zones are names of DNS block lists.
func zones() kind[[]string] {
	return kind[[]string]{
		name:        "ZONE [MULTI]",
		accepts:     fmt.Sprintf("up to %d names of DNS zones, joined by commas", mostZones),
		acceptsTOML: fmt.Sprintf("a list of up to %d names of DNS zones", mostZones),
		multi:       true,
		parse: func(text string) ([]string, string, error) {
			all := list(text)
			if len(all) > mostZones {
				return nil, "", fmt.Errorf("%d zones are too many", len(all))
			}
			for _, zone := range all {
				if !domain(zone) {
					return nil, "", fmt.Errorf("%s is no name of a DNS zone", quoted(zone))
				}
			}
			return all, "", nil
		},
		text: func(all []string) string { return strings.Join(all, ",") },
	}
}

// domain tells whether name can be asked for below a reversed IPv6 address,
// which takes 64 of the 253 octets of RFC 1035 section 2.3.4.
func domain(name string) bool {
	if len(name) > 253-64 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return false
		}
	}
	return true
}

// quoteTOML writes a sound text: literally if that saves escaping, as in a regular expression.
func quoteTOML(text string) string {
	if strings.ContainsAny(text, `\"`) && !strings.ContainsAny(text, "'\t") && strconv.CanBackquote(strings.ReplaceAll(text, "`", "")) {
		return "'" + text + "'"
	}
	// The escapes of Go that TOML lacks are those of octets no sound text has.
	return strconv.Quote(text)
}
