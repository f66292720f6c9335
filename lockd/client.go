// Clients as the live table knows them. Their names are of lockd/locks.

package lockd

import (
	"net/netip"

	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

func clip(s string, n int) string { return s[:min(len(s), n)] }

// naming is what makes one client of many addresses today. k.mu is held.
func (k *keeper) naming() locks.Naming {
	return locks.Naming{Mode: k.config.Mode, PrefixIPv6: k.config.ClientPrefixIPv6}
}

// host returns the address that stands for all of one client's.
func (k *keeper) host(a netip.Addr) netip.Addr { return k.naming().Host(a) }

// clientName is the name of s's client.
func (k *keeper) clientName(s *session) string { return k.naming().Name(s.client.Addr(), s.ident) }
