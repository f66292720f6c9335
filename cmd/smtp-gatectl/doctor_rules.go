// Rules of a firewall in one form, whatever program printed them, and what they do to a
// packet. Much of a rule is not known to us: then it may be that it applies. This file owns
// that judgement; it reads nothing.

package main

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// likely is whether something holds, as far as we can know.
type likely int

const (
	no likely = iota
	maybe
	yes
)

func (t likely) not() likely { return yes - t }

func truly(b bool) likely {
	if b {
		return yes
	}
	return no
}

// verdict is what a rule does with what it applies to.
type verdict int

const (
	goOn     verdict = iota // the next rule is asked
	accept                  // no more of this chain is asked
	toReturn                // no more of a chain that another leads to
	toChain                 // the chain of that name is asked
	redirect                // to us, or others
	drop
)

// fwRule is one.
type fwRule struct {
	matches []func(*packet) likely // all must apply
	verdict verdict
	chain   string         // of toChain
	back    bool           // toChain comes back
	to      netip.AddrPort // of redirect; an invalid address is this machine, port 0 the one it has
	tproxy  bool           // a redirect by TPROXY
	byNAT   bool           // one by REDIRECT or DNAT
	mark    uint32         // that it gives a packet, 0: none
	keeps   uint32         // which bits of the mark that it had stay
	shown   string         // for people
}

// fwChain is a list of rules. One with a hook is where packets come in.
type fwChain struct {
	table, name string
	hook        string // prerouting, output, or empty
	reroutes    bool   // a packet whose mark it changes is routed anew
	priority    int
	families    fwFamilies
	rules       []fwRule
}

// fwFamilies is which families of addresses a chain is for.
type fwFamilies struct{ four, six bool }

// firewall is all there is.
type firewall []*fwChain

// packet is the first of a connection. What is nil or invalid is not known.
type packet struct {
	to       netip.Addr
	six      bool
	port     uint16
	uid      *int
	mark     uint32
	marked   bool     // mark is known
	others   []uint32 // marks that it may have instead
	incoming bool     // it came from outside: it has an input interface
}

// hit is a rule that redirects a packet.
type hit struct {
	fwRule
	sure likely
}

// routing is a mark by which a packet is routed, or may be.
type routing struct {
	mark uint32
	sure likely
}

// hits are the rules of a hook that redirect a packet, or may.
func (f firewall) hits(hook string, p packet) (all []hit) {
	all, _ = f.follow(hook, p)
	return all
}

// follow follows a packet through a hook: which rules redirect it, and by which marks it is
// routed.
func (f firewall) follow(hook string, p packet) (all []hit, by []routing) {
	by = []routing{{p.mark, yes}}
	p.others = slices.Clone(p.others)
	chains := slices.Clone(f)
	slices.SortStableFunc(chains, func(a, b *fwChain) int { return a.priority - b.priority })
	for _, c := range chains {
		if c.hook != hook || p.six && !c.families.six || !p.six && !c.families.four {
			continue
		}
		before, others := p.mark, len(p.others)
		f.walk(c, &p, yes, 0, &all)
		if !c.reroutes {
			continue
		}
		if p.mark != before {
			by = []routing{{p.mark, yes}}
		}
		for _, mark := range p.others[min(others, len(p.others)):] {
			by = append(by, routing{mark, maybe})
		}
	}
	return all, by
}

// remark gives a packet a rule's mark, or perhaps.
func (p *packet) remark(r *fwRule, applies likely) {
	const most = 16 // marks; more may come of no ruleset that is meant
	given := func(had uint32) uint32 { return had&r.keeps | r.mark }
	if applies == yes {
		p.mark = given(p.mark)
		for i := range p.others {
			p.others[i] = given(p.others[i])
		}
		return
	}
	for _, had := range append([]uint32{p.mark}, p.others...) {
		if n := given(had); n != p.mark && !slices.Contains(p.others, n) && len(p.others) < most {
			p.others = append(p.others, n)
		}
	}
}

// walk follows the rules of a chain. left tells whether the packet comes out behind it.
func (f firewall) walk(c *fwChain, p *packet, reached likely, depth int, all *[]hit) (left likely) {
	const deepest = 16
	if depth > deepest {
		return reached
	}
	begun := reached
	// rest is what comes of a packet behind the chain, if it is not certain that none does.
	rest := func() likely {
		if reached < begun {
			return maybe
		}
		return yes
	}
	for i := range c.rules {
		r := &c.rules[i]
		applies := reached
		for _, m := range r.matches {
			applies = min(applies, m(p))
		}
		if applies == no {
			continue
		}
		if r.mark != 0 {
			p.remark(r, applies)
		}
		switch r.verdict {
		case redirect:
			*all = append(*all, hit{*r, applies})
			if applies == yes {
				return no
			}
		case accept, drop:
			if applies == yes {
				return no
			}
			reached = min(reached, maybe)
		case toReturn:
			if applies == yes {
				return rest() // to who led here
			}
			reached = min(reached, maybe)
		case toChain:
			next := f.chain(c.table, r.chain)
			if next == nil {
				continue
			}
			after := f.walk(next, p, applies, depth+1, all)
			if applies == yes && (after == no || !r.back) {
				return no
			}
			if after != yes {
				reached = min(reached, maybe)
			}
		}
	}
	return rest()
}

func (f firewall) chain(table, name string) *fwChain {
	i := slices.IndexFunc(f, func(c *fwChain) bool { return c.table == table && c.name == name })
	if i < 0 {
		return nil
	}
	return f[i]
}

// What rules match by.

func always(t likely) func(*packet) likely { return func(*packet) likely { return t } }

func portIn(ranges [][2]uint16) func(*packet) likely {
	return func(p *packet) likely {
		return truly(slices.ContainsFunc(ranges, func(r [2]uint16) bool { return r[0] <= p.port && p.port <= r[1] }))
	}
}

func uidIn(ranges [][2]uint32) func(*packet) likely {
	return func(p *packet) likely {
		if p.uid == nil {
			return no // there is no socket of ours
		}
		return truly(slices.ContainsFunc(ranges, func(r [2]uint32) bool { return r[0] <= uint32(*p.uid) && uint32(*p.uid) <= r[1] }))
	}
}

func markIs(mark, mask uint32) func(*packet) likely {
	return func(p *packet) likely {
		if !p.marked {
			return maybe
		}
		is := truly(p.mark&mask == mark)
		for _, other := range p.others {
			if truly(other&mask == mark) != is {
				return maybe
			}
		}
		return is
	}
}

func destinationIn(prefixes []netip.Prefix) func(*packet) likely {
	return func(p *packet) likely {
		if !p.to.IsValid() {
			return maybe
		}
		return truly(slices.ContainsFunc(prefixes, func(n netip.Prefix) bool { return n.Contains(p.to) }))
	}
}

func ofFamily(six bool) func(*packet) likely {
	return func(p *packet) likely { return truly(p.six == six) }
}

func negated(m func(*packet) likely) func(*packet) likely {
	return func(p *packet) likely { return m(p).not() }
}

// parsePrefix reads an address or a network.
func parsePrefix(s string) (netip.Prefix, bool) {
	if n, err := netip.ParsePrefix(s); err == nil {
		return n.Masked(), true
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	return netip.Prefix{}, false
}

// servicePorts are names that programs print for the ports that mail has.
var servicePorts = map[string]uint16{"smtp": 25, "submission": 587, "smtps": 465, "submissions": 465}

// parsePort reads a port's number or name.
func parsePort(s string) (uint16, bool) {
	if n, ok := servicePorts[s]; ok {
		return n, true
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil
}

// parsePorts reads ports or ranges of them, written with a separator.
func parsePorts(words []string, between string) (ranges [][2]uint16, ok bool) {
	for _, w := range words {
		first, last, found := strings.Cut(w, between)
		if !found {
			last = first
		}
		a, ok1 := parsePort(first)
		b, ok2 := parsePort(last)
		if !ok1 || !ok2 {
			return nil, false
		}
		ranges = append(ranges, [2]uint16{a, b})
	}
	return ranges, true
}
