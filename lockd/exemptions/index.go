package exemptions

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns which exemptions an address has.

// index is what stands for all exemptions where it is asked who has which. It is never
// changed.
type index struct {
	sorted    []*imsg.Exemption // by name
	nets      map[netip.Prefix]*imsg.Exemption
	lengths   [2][]int // of nets, the longest first: IPv4, IPv6
	servers   map[netip.Addr]*imsg.Exemption
	logins    map[string]*imsg.Exemption
	ofServers imsg.ExemptSet // what any of those is from
}

// rebuild makes the index anew; mu is held.
func (l *List) rebuild() {
	x := &index{nets: make(map[netip.Prefix]*imsg.Exemption), servers: make(map[netip.Addr]*imsg.Exemption), logins: make(map[string]*imsg.Exemption)}
	for who, e := range l.all {
		x.sorted = append(x.sorted, &e)
		if who.login != "" {
			x.logins[who.login] = &e
			continue
		}
		if who.server {
			x.servers[who.net.Addr()] = &e
			x.ofServers |= e.From
			continue
		}
		x.nets[who.net] = &e
		if of := &x.lengths[family(who.net.Addr())]; !slices.Contains(*of, who.net.Bits()) {
			*of = append(*of, who.net.Bits())
		}
	}
	slices.SortFunc(x.sorted, func(a, b *imsg.Exemption) int { return cmp.Compare(a.Who, b.Who) })
	for _, of := range x.lengths {
		slices.SortFunc(of, func(a, b int) int { return b - a })
	}
	l.index.Store(x)
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// each visits those of a client, of a server, and of a login. Each may be none.
func (x *index) each(client, server netip.Addr, login string, visit func(*imsg.Exemption)) {
	if client.IsValid() && len(x.nets) > 0 {
		client = plain(client)
		for _, bits := range x.lengths[family(client)] {
			if n, err := client.Prefix(bits); err == nil {
				if e := x.nets[n]; e != nil {
					visit(e)
				}
			}
		}
	}
	if e := x.logins[login]; e != nil {
		visit(e)
	}
	if server.IsValid() && len(x.servers) > 0 {
		if e := x.servers[plain(server)]; e != nil {
			visit(e)
		}
	}
}
