package control

import (
	"net/netip"
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// guard is whom a packet filter must never block, though a lock may keep them from us: who
// is protected by the configuration, this machine's loopback, the servers of live
// sessions, who is exempt from locks. This file owns that nobody of them is forgotten.
type guard struct {
	addrs  []netip.Addr // in order
	exempt []netip.Prefix
}

// livePage is how many live sessions are looked at at once: their table is locked meanwhile.
const livePage = 512

// guard finds out who that is now.
func (s *Service) guard() *guard {
	cfg := s.House.Overview().Config
	g := &guard{addrs: slices.Clone(cfg.Protected), exempt: append(s.Exempt.Networks(imsg.ExemptLock), cfg.ProxyFrom...)}
	servers := make(map[netip.Addr]struct{})
	for after, more := uint64(0), true; more; {
		page := s.House.LiveAfter(after, livePage)
		for i := range page {
			after = page[i].Number
			if t := page[i].Target; t.IsValid() {
				servers[t.Addr()] = struct{}{}
			}
		}
		more = len(page) == livePage
	}
	for a := range servers {
		g.addrs = append(g.addrs, a)
	}
	slices.SortFunc(g.addrs, netip.Addr.Compare)
	return g
}

// protects tells whether one of them is in a network.
func (g *guard) protects(network netip.Prefix) bool {
	i, _ := slices.BinarySearchFunc(g.addrs, network.Masked().Addr(), netip.Addr.Compare)
	return network.Addr().IsLoopback() || i < len(g.addrs) && network.Contains(g.addrs[i]) || slices.ContainsFunc(g.exempt, network.Overlaps)
}
