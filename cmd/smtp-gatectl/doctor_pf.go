// The rules of pf, as pfctl prints them.

package main

import (
	"net/netip"
	"slices"
	"strings"
)

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
