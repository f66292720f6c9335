// A DNS block list as it is configured: its zone, and which of its answers list a
// client. This file owns the form in which lists are written and matched, and what of an
// answer is an entry.

package imsg

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

var (
	// RFC 5782 section 2.1: list entries are in this network. An answer outside
	// comes from somebody who rewrites what does not exist.
	listEntries = netip.MustParsePrefix("127.0.0.0/8")
	// The large lists say here that they do not answer us: too many queries, or
	// asked through a public resolver. It would list the whole world.
	listRefusals = netip.MustParsePrefix("127.255.255.0/24")
	// 127.0.0.1 is what white lists answer, and lists that refuse; the network
	// itself is nobody's code.
	listAbsences = netip.MustParsePrefix("127.0.0.0/31")
)

// BlockList is a DNS block list (RFC 5782).
type BlockList struct {
	Zone  string
	Codes [][]Octets // one set for each octet of an answer; none: every entry lists
}

// MaxLists is how many block lists there may be. It bounds the questions that one
// connection can cost.
const MaxLists = 32

// ListCount is how often a block list has answered, and how often not.
type ListCount struct {
	Zone     string `rule:"1..255 word"`
	Answered uint64 `rule:"..MaxReport"`
	Silent   uint64 `rule:"..MaxReport"`
}

// Zones names the lists.
func Zones(lists []BlockList) (names []string) {
	for _, l := range lists {
		names = append(names, l.Zone)
	}
	return names
}

// Octets are the values from First to Last, both included.
type Octets struct{ First, Last uint8 }

// Wants tells whether a is one of the answers that list a client.
func (l BlockList) Wants(a netip.Addr) bool {
	if len(l.Codes) == 0 {
		return true
	}
	octets := a.Unmap().AsSlice()
	if len(octets) != len(l.Codes) {
		return false
	}
	for i, octet := range octets {
		if !anyOf(l.Codes[i], octet) {
			return false
		}
	}
	return true
}

// Judge returns the entry among the addresses that a list has answered, invalid if there
// is none; the error is a StrayAnswer if there is something else in its place.
func (l BlockList) Judge(answers []netip.Addr) (entry netip.Addr, err error) {
	answers = slices.SortedFunc(slices.Values(answers), netip.Addr.Compare)
	for _, a := range answers {
		switch a = a.Unmap(); {
		case !listEntries.Contains(a), listRefusals.Contains(a), listAbsences.Contains(a):
			err = StrayAnswer{a}
		case l.Wants(a):
			return a, nil
		}
	}
	return netip.Addr{}, err
}

// StrayAnswer is an answer that is no list's entry.
type StrayAnswer struct{ Answer netip.Addr }

func (e StrayAnswer) Error() string {
	switch {
	case listRefusals.Contains(e.Answer):
		return "the list refuses to answer our name server: too many queries, or a public resolver"
	case listEntries.Contains(e.Answer):
		return "what white lists answer, and lists that refuse"
	}
	return "outside " + listEntries.String() + ": the list is gone, or somebody rewrites what does not exist"
}

// ListName returns the name under which zone would list a: octets in reverse (RFC 5782
// section 2.1), nibbles in reverse for IPv6 (section 2.4). It ends in a dot, so that no
// search list applies.
func ListName(a netip.Addr, zone string) string {
	var name strings.Builder
	for _, octet := range slices.Backward(a.AsSlice()) {
		if a.Is4() {
			fmt.Fprintf(&name, "%d.", octet)
		} else {
			fmt.Fprintf(&name, "%x.%x.", octet&0xf, octet>>4)
		}
	}
	return name.String() + strings.TrimSuffix(zone, ".") + "."
}

func anyOf(set []Octets, octet uint8) bool {
	for _, s := range set {
		if s.First <= octet && octet <= s.Last {
			return true
		}
	}
	return false
}

// String writes l as postscreen_dnsbl_sites of postconf(5) has it, without weights:
// zone=127.0.0.[2;4..11].
func (l BlockList) String() string {
	var b strings.Builder
	b.WriteString(l.Zone)
	for i, set := range l.Codes {
		b.WriteByte("=..."[i])
		if len(set) == 1 && set[0].First == set[0].Last {
			b.WriteString(set[0].String())
			continue
		}
		for j, s := range set {
			b.WriteByte("[;"[min(j, 1)])
			b.WriteString(s.String())
		}
		b.WriteByte(']')
	}
	return b.String()
}

func (o Octets) String() string {
	if o.First == o.Last {
		return strconv.Itoa(int(o.First))
	}
	return strconv.Itoa(int(o.First)) + ".." + strconv.Itoa(int(o.Last))
}
