// Where a client wanted to go. This file owns the answers that need no other
// room: a configured server, the socket's own address, the kernel's memory of it.

package session

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
)

var errMode = errors.New("this mode finds no targets")

// target returns the server of an accepted connection.
func target(cfg *imsg.SessionConfig, conn *net.TCPConn, src, local netip.AddrPort) (netip.AddrPort, error) {
	switch cfg.Mode {
	case imsg.ModeFixed, imsg.ModeFixedXclient:
		return cfg.FixedServer, nil
	case imsg.ModeGetsockname, imsg.ModeIpfw, imsg.ModeTproxy:
		return local, nil
	case imsg.ModeNetfilter:
		return originalDst(conn, local.Addr().Is6())
	case imsg.ModeTproxyNetfilter:
		if inTheirName(cfg.Mode, src.Addr()) {
			return local, nil
		}
		return originalDst(conn, local.Addr().Is6())
	}
	return netip.AddrPort{}, errMode
}

// loops tells whether a session would come back to us: its target is one of our
// own listeners, or its client is its server or this machine. In fixed mode a
// client may well run here, or on the server's host.
func loops(cfg *imsg.SessionConfig, src, local, dst netip.AddrPort) bool {
	if !cfg.Mode.Fixed() && (src.Addr() == dst.Addr() || isOurs(cfg, src.Addr())) {
		return true
	}
	for _, l := range cfg.Listeners {
		if l == dst {
			return true
		}
		// A wildcard listener takes every local address; the one this
		// client reached us by is certainly one.
		if l.Addr().IsUnspecified() && l.Port() == dst.Port() && (dst.Addr() == local.Addr() || isOurs(cfg, dst.Addr())) {
			return true
		}
	}
	return false
}

// isOurs tells whether an address is this machine's.
func isOurs(cfg *imsg.SessionConfig, a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	_, found := slices.BinarySearchFunc(cfg.Own, a.WithZone(""), netip.Addr.Compare)
	return found
}
