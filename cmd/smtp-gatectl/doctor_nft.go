// The rules of nftables, as `nft -j list ruleset` prints them (libnftables-json(5)).

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// nftObject is one of the list: of its fields only one is there.
type nftObject struct {
	Chain *struct {
		Family, Table, Name, Type, Hook string
		Prio                            int
	}
	Rule *struct {
		Family, Table, Chain string
		Expr                 []map[string]json.RawMessage
	}
	Set *nftSet
	Map *nftSet
}

type nftSet struct {
	Family, Table, Name string
	Elem                []json.RawMessage
}

// parseNft reads a ruleset.
func parseNft(text string) (firewall, error) {
	var all struct{ Nftables []nftObject }
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("what nft prints: %w", err)
	}
	var f firewall
	sets := map[string][]json.RawMessage{}
	for _, o := range all.Nftables {
		if c := o.Chain; c != nil {
			chain := &fwChain{table: c.Family + " " + c.Table, name: c.Name, hook: c.Hook, priority: c.Prio}
			chain.reroutes = c.Type == "route"
			chain.families = fwFamilies{four: c.Family == "ip" || c.Family == "inet", six: c.Family == "ip6" || c.Family == "inet"}
			f = append(f, chain)
		}
		if s := o.Set; s != nil {
			sets[s.Family+" "+s.Table+" "+s.Name] = s.Elem
		}
	}
	for _, o := range all.Nftables {
		if r := o.Rule; r != nil {
			if c := f.chain(r.Family+" "+r.Table, r.Chain); c != nil {
				n := nftReader{sets, c.table}
				c.rules = append(c.rules, n.rule(r.Expr, fmt.Sprintf("nft table %s, chain %s", c.table, c.name)))
			}
		}
	}
	return f, nil
}

// nftReader reads the rules of a table.
type nftReader struct {
	sets  map[string][]json.RawMessage
	table string
}

func (n nftReader) rule(expr []map[string]json.RawMessage, shown string) fwRule {
	r := fwRule{shown: shown}
	for _, statement := range expr {
		for kind, raw := range statement {
			n.statement(&r, kind, raw)
		}
	}
	return r
}

func (n nftReader) statement(r *fwRule, kind string, raw json.RawMessage) {
	switch kind {
	case "match":
		r.matches = append(r.matches, n.match(raw))
	case "accept":
		if r.verdict != redirect { // TPROXY is no end of a rule
			r.verdict = accept
		}
	case "drop", "reject", "queue":
		r.verdict = drop
	case "return":
		r.verdict = toReturn
	case "jump", "goto":
		var to struct{ Target string }
		json.Unmarshal(raw, &to)
		r.verdict, r.chain, r.back = toChain, to.Target, kind == "jump"
	case "redirect", "dnat", "tproxy":
		var to struct {
			Addr, Port json.RawMessage
			Family     string
		}
		json.Unmarshal(raw, &to)
		r.verdict, r.tproxy, r.byNAT = redirect, kind == "tproxy", kind != "tproxy"
		var address string
		json.Unmarshal(to.Addr, &address)
		a, _ := netip.ParseAddr(strings.Trim(address, "[]"))
		var port uint16
		json.Unmarshal(to.Port, &port)
		r.to = netip.AddrPortFrom(a, port)
		if to.Family != "" {
			r.matches = append(r.matches, ofFamily(to.Family == "ip6"))
		}
	case "mangle":
		var set struct{ Key, Value json.RawMessage }
		json.Unmarshal(raw, &set)
		if metaKey(set.Key) == "mark" {
			var mark uint32
			if json.Unmarshal(set.Value, &mark) != nil {
				mark, r.keeps = orMark(set.Value), ^uint32(0)
			}
			r.mark = mark
		}
	case "vmap", "xt": // xt is what iptables made: its own program prints that
		r.matches = append(r.matches, always(maybe))
	}
}

// orMark is what {"|": [{"meta": {"key": "mark"}}, ...]} adds to a mark, 0 for anything else.
func orMark(raw json.RawMessage) (mark uint32) {
	var or map[string][]json.RawMessage
	if json.Unmarshal(raw, &or) == nil && len(or["|"]) == 2 && metaKey(or["|"][0]) == "mark" {
		json.Unmarshal(or["|"][1], &mark)
	}
	return mark
}

// metaKey is the key of {"meta": {"key": ...}}, empty for anything else.
func metaKey(raw json.RawMessage) string {
	var left struct{ Meta *struct{ Key string } }
	if json.Unmarshal(raw, &left) != nil || left.Meta == nil {
		return ""
	}
	return left.Meta.Key
}

func (n nftReader) match(raw json.RawMessage) func(*packet) likely {
	var m struct {
		Op          string
		Left, Right json.RawMessage
	}
	var left struct {
		Payload *struct{ Protocol, Field string }
	}
	if json.Unmarshal(raw, &m) != nil {
		return always(maybe)
	}
	json.Unmarshal(m.Left, &left)
	var test func(*packet) likely
	given := func(*packet) likely { return yes } // what a match takes for granted, negated or not
	values := n.values(m.Right)
	switch key := metaKey(m.Left); {
	case left.Payload != nil && left.Payload.Field == "dport" && left.Payload.Protocol != "udp":
		if ranges, ok := parsePorts(values, "-"); ok {
			test = portIn(ranges)
		}
	case left.Payload != nil && left.Payload.Field == "daddr":
		given, test = ofFamily(left.Payload.Protocol == "ip6"), nftAddresses(values)
	case key == "skuid":
		if ranges, ok := parseNumbers(values); ok {
			test = uidIn(ranges)
		}
	case key == "mark":
		if ranges, ok := parseNumbers(values); ok && len(ranges) == 1 && ranges[0][0] == ranges[0][1] {
			test = markIs(ranges[0][0], ^uint32(0))
		}
	case key == "iif" || key == "iifname" || key == "iifgroup":
		test = func(p *packet) likely { return min(truly(p.incoming), maybe) }
	case key == "l4proto", key == "nfproto", key == "protocol":
		test = protocols(values)
	}
	switch {
	case test == nil || m.Op != "==" && m.Op != "!=" && m.Op != "in":
		test = always(maybe)
	case m.Op == "!=":
		test = negated(test)
	}
	return func(p *packet) likely { return min(given(p), test(p)) }
}

// values are the right side of a match, as words; ranges and networks as one word each. A
// word nobody can read stands for what is not known.
func (n nftReader) values(raw json.RawMessage) (words []string) {
	var text string
	var number json.Number
	var list []json.RawMessage
	switch {
	case json.Unmarshal(raw, &number) == nil && number != "":
		return []string{number.String()}
	case json.Unmarshal(raw, &text) == nil:
		if name, ok := strings.CutPrefix(text, "@"); ok {
			for _, e := range n.sets[n.table+" "+name] {
				words = append(words, n.values(e)...)
			}
			return words
		}
		return []string{text}
	case json.Unmarshal(raw, &list) == nil:
		for _, e := range list {
			words = append(words, n.values(e)...)
		}
		return words
	}
	var o struct {
		Set    json.RawMessage
		Elem   *struct{ Val json.RawMessage }
		Range  []json.RawMessage
		Prefix *struct {
			Addr string
			Len  int
		}
	}
	json.Unmarshal(raw, &o)
	switch {
	case o.Set != nil:
		return n.values(o.Set)
	case o.Elem != nil:
		return n.values(o.Elem.Val)
	case o.Prefix != nil:
		return []string{o.Prefix.Addr + "/" + strconv.Itoa(o.Prefix.Len)}
	case len(o.Range) == 2:
		return []string{strings.Join(append(n.values(o.Range[0]), n.values(o.Range[1])...), "-")}
	}
	return []string{"?"}
}

func nftAddresses(words []string) func(*packet) likely {
	var prefixes []netip.Prefix
	for _, w := range words {
		n, ok := parsePrefix(w)
		if !ok {
			return nil
		}
		prefixes = append(prefixes, n)
	}
	return destinationIn(prefixes)
}

func parseNumbers(words []string) (ranges [][2]uint32, ok bool) {
	for _, w := range words {
		first, last, found := strings.Cut(w, "-")
		if !found {
			last = first
		}
		a, err1 := strconv.ParseUint(first, 0, 32)
		b, err2 := strconv.ParseUint(last, 0, 32)
		if err1 != nil || err2 != nil {
			return nil, false
		}
		ranges = append(ranges, [2]uint32{uint32(a), uint32(b)})
	}
	return ranges, true
}

// protocols matches what a packet of TCP is; a word that it does not know may be one.
func protocols(words []string) func(*packet) likely {
	return func(p *packet) likely {
		t := no
		for _, w := range words {
			switch w {
			case "tcp", "6":
				t = yes
			case "ipv4", "ip", "2":
				t = max(t, truly(!p.six))
			case "ipv6", "ip6", "10":
				t = max(t, truly(p.six))
			case "udp", "17", "icmp", "1", "ipv6-icmp", "icmpv6", "58", "sctp":
			default:
				t = max(t, maybe)
			}
		}
		return t
	}
}
