// The rules of iptables, as iptables-save and ip6tables-save print them.

package main

import (
	"net/netip"
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
		case len(words) == 0 || words[0] == "" || words[0][0] == '#' || words[0] == "COMMIT":
		case words[0][0] == '*':
			table = words[0][1:]
		case words[0][0] == ':':
			c := &fwChain{table: prefix + " " + table, name: words[0][1:], priority: iptablesPriority[table], families: fwFamilies{four: !six, six: six}}
			if c.name == "PREROUTING" || c.name == "OUTPUT" {
				c.hook = strings.ToLower(c.name)
			}
			c.reroutes = table == "mangle" && c.hook == "output"
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
	not, marks := false, false
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
			marks = value == "MARK" || value == "TPROXY"
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
			if marks { // CONNMARK's is another
				mark, mask, masked := strings.Cut(value, "/")
				n, _ := strconv.ParseUint(mark, 0, 32)
				r.mark = uint32(n)
				if m, err := strconv.ParseUint(mask, 0, 32); masked && err == nil {
					r.keeps = ^uint32(m)
				}
			}
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
		r.verdict, r.byNAT = redirect, true
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
