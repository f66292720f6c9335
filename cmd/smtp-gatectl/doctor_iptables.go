// The rules of iptables, as iptables-save and ip6tables-save print them, and those of pf,
// as pfctl does.

package main

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The order in which tables see a packet.
var iptablesPriority = map[string]int{"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}

// parseIptables reads what a family's program prints.
func parseIptables(text string, six bool) (f firewall) {
	table := ""
	prefix := "ip"
	if six {
		prefix = "ip6"
	}
	for line := range strings.Lines(text) {
		words := splitQuoted(strings.TrimSpace(line))
		switch {
		case len(words) == 0 || words[0][0] == '#' || words[0] == "COMMIT":
		case words[0][0] == '*':
			table = words[0][1:]
		case words[0][0] == ':':
			c := &fwChain{table: prefix + " " + table, name: words[0][1:], priority: iptablesPriority[table], families: fwFamilies{four: !six, six: six}}
			if c.name == "PREROUTING" || c.name == "OUTPUT" {
				c.hook = strings.ToLower(c.name)
			}
			f = append(f, c)
		case words[0] == "-A" && len(words) > 1:
			if c := f.chain(prefix+" "+table, words[1]); c != nil {
				r := iptablesRule(words[2:])
				r.shown = prefix + "tables table " + table + ", chain " + c.name
				c.rules = append(c.rules, r)
			}
		}
	}
	return f
}

// splitQuoted splits a line at blanks outside of quotes.
func splitQuoted(line string) (words []string) {
	quoted := false
	for _, w := range strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	}) {
		words = append(words, strings.Trim(w, `"`))
	}
	return words
}

// iptablesRule reads a rule behind its chain.
func iptablesRule(words []string) (r fwRule) {
	not := false
	add := func(m func(*packet) likely) {
		if not {
			m = negated(m)
		}
		r.matches = append(r.matches, m)
	}
	for i := 0; i < len(words); i++ {
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		takes := true
		switch words[i] {
		case "!":
			not = true
			continue
		case "-p":
			add(protocols([]string{value}))
		case "-d":
			if n, ok := parsePrefix(value); ok {
				add(destinationIn([]netip.Prefix{n}))
			} else {
				add(always(maybe))
			}
		case "-i":
			add(func(p *packet) likely { return min(truly(p.incoming), maybe) })
		case "-m":
		case "--dport", "--dports", "--destination-ports":
			if ranges, ok := parsePorts(strings.Split(value, ","), ":"); ok {
				add(portIn(ranges))
			} else {
				add(always(maybe))
			}
		case "--uid-owner":
			if ranges, ok := parseNumbers([]string{value}); ok {
				add(uidIn(ranges))
			} else {
				add(always(maybe))
			}
		case "--mark":
			add(iptablesMark(value))
		case "-j", "-g":
			r.target(value, words[i] == "-j")
		case "--to-ports", "--to-port", "--on-port":
			first, _, _ := strings.Cut(value, "-")
			port, _ := parsePort(first)
			r.to = netip.AddrPortFrom(r.to.Addr(), port)
		case "--to-destination":
			if to, err := netip.ParseAddrPort(value); err == nil {
				r.to = to
			} else if a, err := netip.ParseAddr(value); err == nil {
				r.to = netip.AddrPortFrom(a, 0)
			}
		case "--on-ip":
			if a, err := netip.ParseAddr(value); err == nil && !a.IsUnspecified() {
				r.to = netip.AddrPortFrom(a, r.to.Port())
			}
		case "--tproxy-mark", "--set-xmark", "--set-mark":
			mark, _, _ := strings.Cut(value, "/")
			n, _ := strconv.ParseUint(mark, 0, 32)
			r.mark = uint32(n)
		case "--comment", "--to-source", "--reject-with", "--tcp-flags", "--log-prefix":
		default:
			// What we do not know may be so. Its values are words without a hyphen.
			if strings.HasPrefix(words[i], "-") {
				add(always(maybe))
			}
			takes = false
		}
		not = false
		if takes {
			i++
		}
	}
	return r
}

// target is what follows -j or -g.
func (r *fwRule) target(name string, back bool) {
	switch name {
	case "ACCEPT":
		r.verdict = accept
	case "RETURN":
		r.verdict = toReturn
	case "DROP", "REJECT":
		r.verdict = drop
	case "REDIRECT", "DNAT":
		r.verdict = redirect
	case "TPROXY":
		r.verdict, r.tproxy = redirect, true
	case "MARK", "LOG", "NFLOG", "CONNMARK", "CT", "NOTRACK", "TCPMSS", "TOS", "DSCP", "MASQUERADE", "SNAT", "AUDIT":
	default:
		r.verdict, r.chain, r.back = toChain, name, back
	}
}

func iptablesMark(value string) func(*packet) likely {
	mark, mask, found := strings.Cut(value, "/")
	n, err := strconv.ParseUint(mark, 0, 32)
	m := uint64(^uint32(0))
	if found && err == nil {
		m, err = strconv.ParseUint(mask, 0, 32)
	}
	if err != nil {
		return always(maybe)
	}
	return markIs(uint32(n), uint32(m))
}

// parsePf reads what pfctl prints of translations and rules. Each rule that leads packets
// elsewhere becomes a chain of its own: which of them comes first is pf's to say.
func parsePf(text string) (f firewall) {
	for line := range strings.Lines(text) {
		words := strings.Fields(strings.NewReplacer("{", " ", "}", " ", ",", " ").Replace(line))
		if len(words) == 0 || words[0] == "no" || words[0] == "nat" || words[0] == "binat" {
			continue
		}
		at := slices.IndexFunc(words, func(w string) bool { return w == "divert-to" || w == "rdr-to" || w == "->" })
		if at < 0 || at+1 >= len(words) {
			continue
		}
		r := fwRule{verdict: redirect, shown: "pf rule " + strings.TrimSpace(line)}
		c := &fwChain{table: "pf", hook: "prerouting", families: fwFamilies{four: !slices.Contains(words, "inet6"), six: !slices.Contains(words, "inet")}}
		if slices.Contains(words, "out") {
			c.hook = "output"
		}
		a, _ := netip.ParseAddr(strings.Trim(words[at+1], "()"))
		r.to = netip.AddrPortFrom(a, 0)
		var ports []string
		for i := 0; i+1 < len(words); i++ {
			switch {
			case words[i] == "port" && i > at:
				port, _ := parsePort(words[i+1])
				r.to = netip.AddrPortFrom(a, port)
			case words[i] == "port" && words[i+1] == "=" && i+2 < len(words) && i < at:
				ports = append(ports, words[i+2])
			case words[i] == "user" && i+2 < len(words) && (words[i+1] == "=" || words[i+1] == "!="):
				m := always(maybe)
				if ranges, ok := parseNumbers([]string{words[i+2]}); ok {
					m = uidIn(ranges)
				}
				if words[i+1] == "!=" {
					m = negated(m)
				}
				r.matches = append(r.matches, m)
			case words[i] == "proto":
				r.matches = append(r.matches, protocols([]string{words[i+1]}))
			}
		}
		if ranges, ok := parsePorts(ports, ":"); ok && len(ranges) > 0 {
			r.matches = append(r.matches, portIn(ranges))
		}
		c.rules = append(c.rules, r)
		f = append(f, c)
	}
	return f
}
