// What is answered to whom. This file decides who may ask, and about what: about
// connections between itself and the asking address, and no other.

package main

import (
	"encoding/hex"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/smtp-gated/smtp-gated/lookupd/wire"
)

// origin is a connection as it was before the router translated it.
type origin struct{ client, server netip.AddrPort }

// A finder finds what the connection from client, an address of this router, to
// proxy was. Its errors wrap wire.ErrNotFound if there is no such translation.
type finder func(client, proxy netip.AddrPort) (origin, error)

type helper struct {
	allowed []netip.Prefix
	secret  uint32
	find    finder
	log     *slog.Logger
	limits  *limits
}

// admits tells whether proxy may ask at all. How often is a matter of limits: they
// come last, so that nobody can use them up in a proxy's name.
func (h *helper) admits(proxy netip.Addr) bool {
	return slices.ContainsFunc(h.allowed, func(p netip.Prefix) bool { return p.Contains(proxy) })
}

// answer finds what a proxy asks for. It reports whether there is an answer.
func (h *helper) answer(client, proxy netip.AddrPort) (wire.Answer, bool) {
	o, err := h.find(client, proxy)
	if err != nil {
		h.log.Debug("not found", "client", client, "proxy", proxy, "error", err)
		return wire.Answer{}, false
	}
	if o.server.Addr().BitLen() != client.Addr().BitLen() {
		h.log.Debug("translated between IPv4 and IPv6, which no answer can say", "client", client, "proxy", proxy, "target", o.server)
		return wire.Answer{}, false
	}
	a := wire.Answer{Target: o.server}
	// Who is behind this router is not seen in the address the proxy knows.
	if o.client.IsValid() && o.client.Addr() != client.Addr() {
		a.Ident = ident(o.client.Addr())
	}
	h.log.Debug("found", "client", client, "proxy", proxy, "target", a.Target, "ident", a.Ident)
	return a, true
}

// ident names an address in at most 32 octets, which an IPv6 address as it is
// usually written exceeds.
func ident(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	return hex.EncodeToString(a.AsSlice())
}
