// A DNS block list as it is configured: its zone, and which of its answers list a
// client. This file owns the form in which lists are written and matched.

package imsg

import (
	"net/netip"
	"strconv"
	"strings"
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
