package config

import (
	"net/netip"
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// protected is whom a packet filter must never block, whoever is locked: what mail, or we,
// cannot do without. This file owns who of the configuration that is. Targets of sessions
// only lockd knows. A router that the remote modes ask is locked by an ident, never as an
// address.
func (c *Config) protected(f Facts) []netip.Addr {
	all := []netip.Addr{c.SPFFixedIP, c.AntivirusSocket.Address.Addr(), c.AntispamSocket.Address.Addr()}
	all = append(all, c.SessionConfig.Outgoing...)
	for _, at := range slices.Concat(c.MailServers(), c.Lookupd(f).Nameservers, f.Listeners) {
		all = append(all, at.Addr())
	}
	all = slices.DeleteFunc(append(all, f.Own...), func(a netip.Addr) bool { return !a.IsValid() || a.IsUnspecified() })
	for i, a := range all {
		all[i] = a.Unmap().WithZone("")
	}
	all = all[:min(len(all), imsg.MaxProtected)] // our own are the many
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}
