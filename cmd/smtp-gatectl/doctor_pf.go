// The rules of pf, as pfctl prints them (pf.conf(5)).

package main

import (
	"net/netip"
	"slices"
	"strings"
)

// parsePf reads what pfctl prints of translations and rules. Of translations the first that
// applies decides. Of rules the first with the word quick does, and if none applies the last
// one: so they are put in that order here. What is in an anchor is not printed.
func parsePf(text string) (f firewall) {
	chain := func(hook, name string) *fwChain {
		return &fwChain{table: "pf", name: name, hook: hook, families: fwFamilies{four: true, six: true}}
	}
	in, out, translated := chain("prerouting", "in"), chain("output", "out"), chain("prerouting", "rdr")
	quick, slow := map[*fwChain][]fwRule{}, map[*fwChain][]fwRule{}
	for line := range strings.Lines(text) {
		words := strings.Fields(strings.NewReplacer("{", " ", "}", " ", ",", " ").Replace(line))
		if len(words) == 0 {
			continue
		}
		r, leads := pfRule(words)
		r.shown = "pf rule " + strings.TrimSpace(line)
		switch words[0] {
		case "rdr":
			if leads {
				translated.rules = append(translated.rules, r)
			}
		case "no":
			if len(words) > 1 && words[1] == "rdr" {
				translated.rules = append(translated.rules, r)
			}
		case "pass", "block", "match":
			if words[0] == "match" && !leads {
				continue // it decides nothing
			}
			for _, c := range []*fwChain{in, out} {
				if slices.Contains(words, map[*fwChain]string{in: "out", out: "in"}[c]) {
					continue
				}
				if slices.Contains(words, "quick") || words[0] == "match" { // what a match leads elsewhere stays so
					quick[c] = append(quick[c], r)
				} else {
					slow[c] = append(slow[c], r)
				}
			}
		}
	}
	for _, c := range []*fwChain{in, out} {
		slices.Reverse(slow[c])
		c.rules = append(quick[c], slow[c]...)
	}
	for _, c := range []*fwChain{translated, in, out} {
		if len(c.rules) > 0 {
			f = append(f, c)
		}
	}
	return f
}

// pfRule reads a rule, and tells whether it leads packets elsewhere. What it says of where a
// packet comes from is not known of ours: it may be so.
func pfRule(words []string) (r fwRule, leads bool) {
	r.verdict = accept
	if words[0] == "block" {
		r.verdict = drop
	}
	add := func(m func(*packet) likely, not bool) {
		if not {
			m = negated(m)
		}
		r.matches = append(r.matches, m)
	}
	var ports []string
	side := "" // from or to
	for i := 1; i < len(words); i++ {
		// after reads the word behind an operator that compares with it.
		after := func() (value string, not, ok bool) {
			if i+2 < len(words) && (words[i+1] == "=" || words[i+1] == "!=") {
				return words[i+2], words[i+1] == "!=", true
			}
			return "", false, false
		}
		next := ""
		if i+1 < len(words) {
			next = words[i+1]
		}
		switch words[i] {
		case "divert-to", "rdr-to", "->":
			leads, r.verdict = true, redirect
			a, _ := netip.ParseAddr(strings.Trim(next, "()"))
			r.to = netip.AddrPortFrom(a, 0)
			if i+3 < len(words) && words[i+2] == "port" {
				port, _ := parsePort(words[i+3])
				r.to = netip.AddrPortFrom(a, port)
			}
			i = len(words) // what follows is of no interest
		case "inet", "inet6":
			add(ofFamily(words[i] == "inet6"), false)
		case "proto":
			add(protocols([]string{next}), false)
		case "on", "group", "tagged", "probability", "received-on", "os", "tos", "prio", "max-pkt-rate", "rtable":
			add(always(maybe), false)
			i++
		case "label", "tag", "queue": // whose value may be any word
			i++
		case "from", "to":
			side = words[i]
			switch n, ok := parsePrefix(next); {
			case next == "any":
			case ok && side == "to":
				add(destinationIn([]netip.Prefix{n}), false)
			default:
				add(always(maybe), false)
			}
		case "port":
			if value, not, ok := after(); ok && side == "to" && !not {
				ports = append(ports, value)
			} else {
				add(always(maybe), false)
			}
		case "user":
			m := always(maybe)
			value, not, ok := after()
			if ranges, number := parseNumbers([]string{value}); ok && number {
				m = uidIn(ranges)
			}
			add(m, not)
		}
	}
	if len(ports) > 0 {
		m := always(maybe)
		if ranges, ok := parsePorts(ports, ":"); ok {
			m = portIn(ranges)
		}
		add(m, false)
	}
	return r, leads
}
